"""BSDS500, pictures with the boundaries that several people drew, and maps of edges as files.

Two layouts are read: the published one (`images/test/ID.jpg`, `groundTruth/test/ID.mat`), and `ID.jpg` beside `ID.npz`
in a tar or a folder. The arrays of an NPZ are `boundaries`, (A, H, W) for A annotators, and others that are not read.
"""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opensam.data.dataset import PICTURE_SUFFIXES, Pictures, check_unique, read_at
from opensam.files import replacing

# Below the folder that somebody unpacked or named, the place of `images` and `groundTruth`.
_PUBLISHED = (".", "data", "BSDS500/data", "BSR/BSDS500/data")
_TRUTHS = {".npz", ".mat"}
_LARGEST = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


@dataclass(frozen=True)
class _Place:
    """A file, or a part of a tar that is one."""

    path: Path
    offset: int = 0
    size: int | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} of {self.path}" if self.name else str(self.path)

    def read(self) -> bytes:
        return self.path.read_bytes() if self.size is None else read_at(self.path, self.offset, self.size)


class Bsds(Pictures):
    """Pictures with boundaries, by name."""

    def __init__(self, path: Path, split: str = "test") -> None:
        """List the files.

        Args:
            path: a tar or a folder in one of the two layouts.
            split: train, val or test, of the published layout.

        Raises:
            ValueError: neither layout, a picture without boundaries or the other way round, or a name that comes twice.
        """
        self.name = "BSDS500"
        found = list(_published(path, split) or _members(path))
        pictures, truths = list[tuple[str, _Place]](), list[tuple[str, _Place]]()
        for place, suffix in found:
            (pictures if suffix in PICTURE_SUFFIXES else truths).append((_stem(place), place))
        if not pictures:
            raise ValueError(
                f"expected BSDS500 in {path}, as images/{split}/ID.jpg and groundTruth/{split}/ID.mat or as ID.jpg "
                "beside ID.npz in a tar or a folder, got neither; check the path"
            )
        for names in (pictures, truths):
            check_unique((name for name, _ in names), str(path))
        _check_pairs(dict(pictures), dict(truths))
        self.pictures, by_name = sorted(pictures, key=lambda pair: pair[0]), dict(truths)
        self.truths = [by_name[name] for name, _ in self.pictures]

    def __len__(self) -> int:
        return len(self.pictures)

    def key(self, i: int) -> str:
        """The ID."""
        return self.pictures[i][0]

    def picture(self, i: int) -> bytes:
        """The content of the file."""
        return self.pictures[i][1].read()

    def boundaries(self, i: int) -> NDArray[np.bool_]:
        """What each annotator drew, (A, H, W).

        Raises:
            ValueError: the file is damaged or holds something else.
            OSError: it cannot be read.
        """
        place = self.truths[i]
        content = place.read()
        try:
            drawn = _read_mat(content) if str(place.name or place.path).endswith(".mat") else _read_npz(content)
        except Exception as error:  # zip, numpy and scipy each have errors of their own for damaged files
            raise ValueError(f"expected the boundaries of a picture in {place}, got something else: {error}") from error
        if drawn.ndim != 3 or not len(drawn):
            raise ValueError(f"expected boundaries (annotators, H, W) in {place}, got an array of {drawn.shape}")
        return np.asarray(drawn != 0, dtype=np.bool_)


def read_map(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """A map of edges, (H, W) in [0, 1], from a grey PNG of 8 or 16 bits.

    Args:
        path: of the file.
        size: (H, W) that it must have, that of its picture.

    Raises:
        ValueError: no such file, no such picture, or another size.
    """
    try:
        with Image.open(path) as picture:
            levels = np.asarray(picture)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"expected a map of edges in {path}, got none: {reason}; every picture needs one") from error
    if levels.shape != size or levels.dtype not in _LARGEST:
        raise ValueError(
            f"expected {path} as a grey PNG of 8 or 16 bits and {size[1]} x {size[0]} pixels, as its picture has, "
            f"got {levels.dtype} of shape {levels.shape}"
        )
    return levels.astype(np.float32) / np.float32(_LARGEST[levels.dtype])


def write_map(path: Path, edges: NDArray[np.float32]) -> None:
    """Write a map of edges, (H, W) in [0, 1], as a grey PNG of 16 bits that appears complete or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(np.rint(edges * 65535).astype(np.uint16)).save(temporary, format="PNG")


def _published(path: Path, split: str) -> list[tuple[_Place, str]]:
    """The files of the layout in which BSDS500 is published; none if it is another."""
    for below in _PUBLISHED:
        folders = [path / below / kind / split for kind in ("images", "groundTruth")]
        if all(folder.is_dir() for folder in folders):
            return [one for folder in folders for one in _files(folder)]
    return []


def _files(folder: Path) -> Iterator[tuple[_Place, str]]:
    for file in sorted(folder.iterdir()):
        if (suffix := file.suffix.lower()) in PICTURE_SUFFIXES | _TRUTHS and not file.name.startswith("."):
            yield _Place(file), suffix


def _members(path: Path) -> Iterator[tuple[_Place, str]]:
    """The files of a tar, of the tars of a folder, or of the folder."""
    tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
    if not tars and path.is_dir():
        yield from _files(path)
    for tar in tars:
        try:
            with tarfile.open(tar, "r:") as members:
                for member in members:
                    name = Path(member.name)
                    suffix = name.suffix.lower()
                    if member.isreg() and suffix in PICTURE_SUFFIXES | _TRUTHS and not name.name.startswith("."):
                        yield _Place(tar, member.offset_data, member.size, name.name), suffix
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(f"expected a readable uncompressed tar, got {tar}: {error}") from error


def _stem(place: _Place) -> str:
    return Path(place.name or place.path).stem


def _check_pairs(pictures: dict[str, _Place], truths: dict[str, _Place]) -> None:
    for these, others, missing in ((pictures, truths, "boundaries"), (truths, pictures, "a picture")):
        for name, place in these.items():
            if name not in others:
                raise ValueError(f"expected each picture with its boundaries, got {place} without {missing}")


def _read_npz(content: bytes) -> NDArray[Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return np.asarray(arrays["boundaries"])


def _read_mat(content: bytes) -> NDArray[Any]:
    from scipy.io import loadmat

    annotators = loadmat(io.BytesIO(content))["groundTruth"].ravel()
    return np.stack([np.asarray(one["Boundaries"][0, 0]) for one in annotators])
