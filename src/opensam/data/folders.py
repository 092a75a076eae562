"""Folders of pictures with labels beside them: SA-1B records, mask images, YOLO polygons."""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opensam import image
from opensam.data.dataset import Dataset, Folder, as_names, is_picture, list_files, stem
from opensam.data.polygons import encode_labels
from opensam.data.yolo import read_yolo
from opensam.masks import Rle, encode_rle
from opensam.records import ImageRecord, read_image_record

MASK_SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".gif"}  # those that keep every value


class RecordFolder(Folder, Dataset):
    """NAME.jpg and NAME.json side by side, as SA-1B's tars unpack; pictures without a record are left out."""

    def __init__(self, folder: Path) -> None:
        """List the folder.

        Raises:
            ValueError: no picture has a record, or two have one name.
        """
        files = list_files(folder)
        records = {stem(file) for file in files if file.endswith(".json")}
        files = [file for file in files if is_picture(file) and stem(file) in records]
        if not files:
            raise ValueError(f"expected NAME.json beside NAME.jpg in {folder}, got no such pair")
        super().__init__(name_of(folder), folder, files)

    def record(self, i: int) -> ImageRecord:
        """All that is said of picture i. Raises OSError or ValueError where it cannot be read."""
        return read_image_record(self.path(i).with_suffix(".json"))

    def masks(self, i: int) -> tuple[Rle, ...]:
        """Those of the record."""
        return tuple(annotation.segmentation for annotation in self.record(i).annotations)


class MaskFolder(Folder, Dataset):
    """images/NAME.jpg with masks/NAME.png, or with a folder masks/NAME/ of one image per mask.

    masks/NAME.png is a label map: each value but 0, or each colour but black, is a mask. In a folder, all that is not
    0 in an image is one mask. Pictures without either are left out.
    """

    def __init__(self, folder: Path) -> None:
        """List the folder.

        Raises:
            ValueError: no picture has masks, or two have one name.
        """
        found = [file for file in list_files(folder / "masks") if os.path.splitext(file)[1].lower() in MASK_SUFFIXES]
        places = {os.path.dirname(file): os.path.dirname(file) for file in found} | {stem(file): file for file in found}
        files = [file for file in list_files(folder / "images") if is_picture(file) and stem(file) in places]
        if not files:
            suffixes = ", ".join(sorted(MASK_SUFFIXES))
            raise ValueError(f"expected masks/NAME ({suffixes}) for pictures images/NAME in {folder}, got none")
        super().__init__(name_of(folder), folder / "images", files)
        self.labels = as_names([places[stem(file)] for file in files])
        self.label_folder = folder / "masks"

    def masks(self, i: int) -> tuple[Rle, ...]:
        """Of the label map, or of the images of its folder in sorted order."""
        place = self.label_folder / os.fsdecode(self.labels[i])
        if not place.is_dir():
            return tuple(encode_labels(read_labels(place)))
        files = sorted(file for file in place.iterdir() if file.suffix.lower() in MASK_SUFFIXES)
        return tuple(encode_rle(read_labels(file) != 0) for file in files if not file.name.startswith("."))


class YoloFolder(Folder, Dataset):
    """images/NAME.jpg with labels/NAME.txt: `class x1 y1 x2 y2 ...` a line, in shares of width and height.

    Boxes (`class x y width height`) are left out, and pictures without a file.
    """

    def __init__(self, folder: Path) -> None:
        """List the folder.

        Raises:
            ValueError: no picture has labels, or two have one name.
        """
        labels = {stem(file) for file in list_files(folder / "labels") if file.endswith(".txt")}
        files = [file for file in list_files(folder / "images") if is_picture(file) and stem(file) in labels]
        if not files:
            raise ValueError(f"expected labels/NAME.txt for pictures images/NAME in {folder}, got none")
        super().__init__(name_of(folder), folder / "images", files)
        self.label_folder = folder / "labels"

    def masks(self, i: int) -> tuple[Rle, ...]:
        """One per line."""
        text = (self.label_folder / f"{stem(os.fsdecode(self.files[i]))}.txt").read_text(encoding="utf-8-sig")
        return tuple(mask.rle for mask in read_yolo(text, image.size(self.path(i))))


def read_labels(path: Path | BinaryIO) -> NDArray[np.int64]:
    """The values of a label map, (H, W): palette indices, grey levels, or colours as one number; 0 is no region.

    Raises:
        ValueError: no image that can be read.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            if picture.mode in ("1", "L", "P", "I") or picture.mode.startswith("I;16"):
                return np.asarray(picture).astype(np.int64)
            colours = np.asarray(picture.convert("RGBA")).astype(np.int64)
    except Exception as error:  # a decoder raises nearly anything when it meets a damaged file
        name = path if isinstance(path, Path) else "that was given"
        raise ValueError(f"cannot read the mask {name}: {error}") from error
    values: NDArray[np.int64] = (colours[..., :3] << np.array([16, 8, 0])).sum(axis=2)
    return np.where(colours[..., 3] > 0, values, 0)


def name_of(folder: Path) -> str:
    """What a data set in a folder is called; of `.` too."""
    return folder.resolve().name
