"""What a data set is to training: pictures with numbers, each read when it is drawn.

A data set keeps an index in memory (tens of bytes a picture), never pictures: SA-1B has 11 million. Every format is one
class, and reading is safe from many threads at once, because each read opens the file for itself.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opensam import image
from opensam.masks import Rle

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}

Names = NDArray[np.bytes_]
"""File names as bytes of one width: a fraction of what Python strings take."""


@dataclass(frozen=True)
class Source:
    """One labelled picture, still compressed."""

    dataset: str
    name: str
    picture: bytes
    masks: tuple[Rle, ...]

    @cached_property
    def rgb(self) -> image.Rgb:
        """The decoded picture, (H, W, 3) uint8; decoded once. Raises `opensam.image.ImageError`."""
        return image.read(self.picture)


class Pictures(ABC):
    """Pictures on disk, numbered from 0 in an order that does not depend on the file system."""

    name: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def key(self, i: int) -> str:
        """The name of picture i, unique in the data set: for a file, its path in the folder without the suffix."""

    @abstractmethod
    def picture(self, i: int) -> bytes:
        """The encoded picture i. Raises OSError or ValueError where it cannot be read."""


class Dataset(Pictures):
    """Pictures with masks."""

    @abstractmethod
    def masks(self, i: int) -> tuple[Rle, ...]:
        """The masks of picture i. Raises OSError or ValueError where they cannot be read."""

    def read(self, i: int) -> Source:
        """Picture i and its masks. Raises OSError or ValueError where they cannot be read."""
        return Source(self.name, self.key(i), self.picture(i), self.masks(i))


class InMemory(Dataset):
    """Sources that are there already, for tests and small things."""

    def __init__(self, name: str, sources: Sequence[Source]) -> None:
        self.name, self.sources = name, sources

    def __len__(self) -> int:
        return len(self.sources)

    def key(self, i: int) -> str:
        """Its name."""
        return self.sources[i].name

    def picture(self, i: int) -> bytes:
        """Its bytes."""
        return self.sources[i].picture

    def masks(self, i: int) -> tuple[Rle, ...]:
        """Its masks."""
        return self.sources[i].masks

    def read(self, i: int) -> Source:
        """A copy, so that decoded pictures do not gather in memory."""
        return replace(self.sources[i])


class Part(Dataset):
    """Some pictures of a data set, under its name.

    Attributes:
        dataset: the whole.
        rows: the numbers of the pictures in it.
    """

    def __init__(self, dataset: Dataset, rows: Sequence[int] | NDArray[np.int64]) -> None:
        self.name, self.dataset, self.rows = dataset.name, dataset, rows

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, i: int) -> str:
        """Its name in the whole."""
        return self.dataset.key(int(self.rows[i]))

    def picture(self, i: int) -> bytes:
        """Its bytes."""
        return self.dataset.picture(int(self.rows[i]))

    def masks(self, i: int) -> tuple[Rle, ...]:
        """Its masks."""
        return self.dataset.masks(int(self.rows[i]))

    def read(self, i: int) -> Source:
        """Both, as the data set reads them."""
        return self.dataset.read(int(self.rows[i]))


class Share(Part):
    """A part of a data set, to learn how much data matters: of two shares, the larger one has all of the smaller."""

    def __init__(self, dataset: Dataset, share: float) -> None:
        """Take `share` in (0, 1] of the pictures, at least one, drawn once and for all by the number of them."""
        count = max(1, round(share * len(dataset)))
        super().__init__(dataset, np.random.default_rng(0).permutation(len(dataset))[:count].copy())


class Folder(Pictures):
    """All pictures of a folder and the folders in it; hidden ones and links to folders are left out."""

    def __init__(self, name: str, folder: Path, files: Sequence[str] | None = None) -> None:
        """Take these files (paths in the folder, sorted), or all pictures of it.

        Raises:
            ValueError: there is none, or two differ in their suffix only.
        """
        self.name, self.folder = name, folder
        files = [f for f in list_files(folder) if is_picture(f)] if files is None else files
        if not files:
            suffixes = ", ".join(sorted(PICTURE_SUFFIXES))
            raise ValueError(f"expected pictures ({suffixes}) in {folder}, got none; check the path")
        self.files = as_names(files)
        check_unique((stem(file) for file in files), str(folder))

    def __len__(self) -> int:
        return len(self.files)

    def key(self, i: int) -> str:
        """The path in the folder, without suffix."""
        return shown(stem(os.fsdecode(self.files[i])))

    def path(self, i: int) -> Path:
        """Where picture i lies."""
        return self.folder / os.fsdecode(self.files[i])

    def picture(self, i: int) -> bytes:
        """The content of the file."""
        return self.path(i).read_bytes()


def list_files(folder: Path) -> list[str]:
    """Paths of all files of a folder and the folders in it, relative to it and sorted, without hidden ones.

    Raises:
        ValueError: a folder cannot be listed.
    """

    def stop(error: OSError) -> None:
        raise ValueError(f"cannot list {error.filename}: {error.strerror}; check path and permissions") from error

    found: list[str] = []
    for root, folders, files in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(root, folder)
        found += [os.path.normpath(os.path.join(inside, name)) for name in files if not name.startswith(".")]
    return sorted(found)


def is_picture(file: str) -> bool:
    """By its suffix."""
    return os.path.splitext(file)[1].lower() in PICTURE_SUFFIXES


def stem(file: str) -> str:
    """A path without its suffix."""
    return os.path.splitext(file)[0]


def as_names(files: Sequence[str]) -> Names:
    """Paths as an array of bytes; names that are no UTF-8 stay what they are on disk."""
    return np.array([os.fsencode(file) for file in files], dtype=np.bytes_)


def shown(file: str) -> str:
    """A path for messages and reports: bytes that are no UTF-8 are written as numbers."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def check_unique(names: Iterable[str], where: str) -> None:
    """Refuse a name that comes twice. Raises ValueError."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"expected every name once in {where}, got {shown(name)!r} twice; rename one of them")
        seen.add(name)


def read_at(path: Path, offset: int, size: int) -> bytes:
    """A part of a file. Raises ValueError if the file ends before."""
    # Opened anew: there may be more tars than a process can hold open, and no thread moves the position of another.
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise ValueError(f"expected {size} bytes at {offset} of {path}, got {len(content)}; the file was cut short")
    return content
