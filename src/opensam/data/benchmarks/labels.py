"""What one file of labels says: the masks in a label map, a binary image, a `.mat` or HDF5 file, a list of outlines.

Each function takes a path and gives the masks in a fixed order; each raises ValueError, naming the file, where it
cannot be read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opensam.data.benchmarks.json_files import read_json
from opensam.data.folders import read_labels
from opensam.data.polygons import encode_labels, encode_polygons
from opensam.masks import Rle, encode_rle

CITYSCAPES_STUFF = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23)
CITYSCAPES_THINGS = (24, 25, 26, 27, 28, 31, 32, 33)
"""The label ids that Cityscapes evaluates; all others are void (cityscapesScripts, helpers/labels.py)."""
_SEGMENTS = np.zeros(35_000, dtype=bool)  # by the values of `instanceIds`: an object is class * 1000 + number
_SEGMENTS[list(CITYSCAPES_STUFF)] = True
_SEGMENTS.reshape(35, 1000)[list(CITYSCAPES_THINGS)] = True


def regions(path: Path, without: Sequence[int] = ()) -> list[Rle]:
    """One mask for each value but 0, or each colour but black; `without` these values."""
    labels = read_labels(path)
    return _encode(path, np.where(np.isin(labels, without), 0, labels) if without else labels)


def inside(path: Path) -> list[Rle]:
    """One mask: all that is not 0 or black; none if there is nothing."""
    mask = read_labels(path) != 0
    return [encode_rle(mask)] if mask.any() else []


def bright(path: Path) -> list[Rle]:
    """One mask: all that is brighter than 128, which is the grey of pixels that nobody decided on."""
    try:
        with Image.open(path) as picture:
            mask = np.asarray(picture.convert("L")) > 128
    except Exception as error:  # a decoder raises nearly anything when it meets a damaged file
        raise ValueError(f"cannot read the mask {path}: {error}") from error
    return [encode_rle(mask)] if mask.any() else []


def panoptic(path: Path) -> list[Rle]:
    """The segments of Cityscapes' `instanceIds`: each object, and each class of what cannot be counted.

    A countable class without a number is a crowd, and left out.
    """
    labels = read_labels(path)
    return _encode(path, np.where(_SEGMENTS[np.clip(labels, 0, len(_SEGMENTS) - 1)], labels, 0))


def hdf5(path: Path) -> list[Rle]:
    """One mask for each value above 0 of the array `dataset` in an HDF5 file.

    Raises:
        ModuleNotFoundError: h5py is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise _missing("h5py") from None
    try:
        with h5py.File(path, "r") as file:
            labels = np.asarray(file["dataset"])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"cannot read the array `dataset` of {path}: {error}") from error
    return _encode(path, np.maximum(labels, 0))


def sbd(path: Path) -> list[Rle]:
    """One mask for each object of a `.mat` file of SBD, which has them as label map `GTinst.Segmentation`.

    Raises:
        ModuleNotFoundError: SciPy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError:
        raise _missing("scipy") from None
    try:
        labels = loadmat(str(path), squeeze_me=True)["GTinst"]["Segmentation"].item()
    except Exception as error:  # a damaged file raises nearly anything
        raise ValueError(f"cannot read GTinst.Segmentation of {path}: {error}") from error
    return _encode(path, np.asarray(labels))


def woodscape(path: Path) -> list[Rle]:
    """One mask for each outline, a list of points, in a JSON file of WoodScape; void is one of its classes."""
    try:
        (entry,) = read_json(path).values()
        size = int(entry["image_height"]), int(entry["image_width"])
        outlines = [np.asarray(one["segmentation"], np.float64).ravel() for one in entry["annotation"]]
        masks = [encode_polygons([outline], size) for outline in outlines]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected outlines as WoodScape writes them in {path}, got: {error!r}") from error
    return [mask for mask in masks if mask]


def _missing(package: str) -> ModuleNotFoundError:
    sentence = f"expected the package {package}, which is not installed; run pip install 'opensam[eval]'"
    return ModuleNotFoundError(sentence, name=package)


def _encode(path: Path, labels: NDArray[Any]) -> list[Rle]:
    if labels.ndim != 2:
        raise ValueError(f"expected a label map (H, W) in {path}, got shape {labels.shape}")
    try:
        return encode_labels(labels.astype(np.int64))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
