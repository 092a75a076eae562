"""The pictures of a job: found, named and numbered once and for all, whoever works on which of them."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opensam.data.dataset import PICTURE_SUFFIXES, Names, as_names, is_picture, list_files, read_at, shown, stem
from opensam.data.folders import name_of
from opensam.data.sa1b import dataset_name
from opensam.data.tars import index_tar

# What Pillow calls a format -> the suffix of its files; of a picture in a tar only the bytes are at hand.
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}


@dataclass(frozen=True)
class Picture:
    """One picture to work on; small, so that it can be sent to a worker.

    Attributes:
        number: from 1, in the order of the job.
        stem: what its files are called: a path without suffix, relative to the folder of the job; unique.
        path: the file of the picture, or the tar that holds it.
        place: offset and size in bytes in the tar.
        suffix: of the file; None in a tar.
    """

    number: int
    stem: str
    path: Path
    place: tuple[int, int] | None
    suffix: str | None

    def read(self) -> bytes:
        """The encoded picture. Raises OSError or ValueError where it cannot be read."""
        return self.path.read_bytes() if self.place is None else read_at(self.path, *self.place)

    def file_name(self, content: bytes) -> str:
        """The stem with the suffix of the file, or with the usual one of what the bytes are."""
        if self.suffix is not None:
            return self.stem + self.suffix
        with Image.open(BytesIO(content)) as picture:
            return self.stem + SUFFIXES.get(picture.format or "", ".img")


@dataclass(frozen=True)
class _Part:
    """Pictures of one folder, or of one tar.

    Attributes:
        prefix: of their stems: "" or what ends in a slash.
        path: the folder or the tar.
        names: paths in the folder, or names in the tar without folder and suffix.
        places: (pictures, 2) offset and size in the tar.
    """

    prefix: str
    path: Path
    names: Names
    places: NDArray[np.int64] | None

    def stem(self, i: int) -> str:
        """Of picture i."""
        name = os.fsdecode(bytes(self.names[i]))
        return self.prefix + shown(name if self.places is not None else stem(name))


class Inputs:
    """All pictures of a job, by number from 1.

    Attributes:
        others: how many files were passed over because their suffix is not that of a picture.
    """

    def __init__(self, parts: Sequence[_Part], others: int) -> None:
        self.parts, self.others = list(parts), others
        self.starts = np.cumsum([0, *(len(part.names) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, number: int) -> Picture:
        if not 1 <= number <= len(self):
            raise IndexError(f"expected a picture from 1 to {len(self)}, got {number}")
        row = int(np.searchsorted(self.starts, number - 1, side="right")) - 1
        part, i = self.parts[row], number - 1 - int(self.starts[row])
        if part.places is not None:
            offset, size = map(int, part.places[i])
            return Picture(number, part.stem(i), part.path, (offset, size), None)
        name = os.fsdecode(bytes(part.names[i]))
        return Picture(number, part.stem(i), part.path / name, None, os.path.splitext(name)[1])

    def __iter__(self) -> Iterator[Picture]:
        return (self[number] for number in range(1, len(self) + 1))

    def stems(self) -> Iterator[str]:
        """What the files of the pictures are called, in their order."""
        return (part.stem(i) for part in self.parts for i in range(len(part.names)))

    def digest(self) -> str:
        """A number (SHA-256) by which another list of pictures is noticed; numbers hang on the list."""
        digest = hashlib.sha256()
        for name in self.stems():
            digest.update(name.encode() + b"\n")
        return digest.hexdigest()


def find_pictures(paths: Sequence[Path], out: Path) -> Inputs:
    """List pictures, folders of pictures with the folders in them, tars, and folders of tars.

    A folder that holds tars counts as these alone. First come single pictures, then folders and tars, each kind
    by name; the pictures of a folder by the bytes of their paths, those of a tar as they lie in it.

    Their stems are paths in the folder; of several folders with the folder's name in front. Of a picture in a tar it
    is `DATASET/NAME`, where the data set is the name of the tar without a `-000` number. Hidden files are left
    out, and so is the folder `out` of the job where it lies in a folder of pictures.

    Raises:
        ValueError: a path leads nowhere, there is no picture, two have one stem, or `out` is a folder of pictures.
    """
    files, folders, tars, others = list[Path](), list[Path](), list[Path](), 0
    for path in dict.fromkeys(paths):
        if not path.exists():
            raise ValueError(f"expected a picture, a folder or a tar, got {path}, which does not exist; check the path")
        if path.is_dir():
            found = sorted(path.glob("*.tar"))
            tars += found
            folders += [] if found else [path]
        elif path.suffix.lower() == ".tar":
            tars.append(path)
        else:
            files.append(path)
    parts = [_Part("", file.parent, as_names([file.name]), None) for file in sorted(files, key=_by_name)]
    for folder in sorted(folders, key=lambda folder: (os.fsencode(name_of(folder)), os.fsencode(folder))):
        part, passed_over = _folder(folder, f"{name_of(folder)}/" if len(paths) > 1 else "", out)
        parts.append(part)
        others += passed_over
    parts += [_tar(tar) for tar in sorted(tars, key=_by_name)]
    inputs = Inputs(parts, others)
    if not len(inputs):
        suffixes = ", ".join(sorted(PICTURE_SUFFIXES))
        places = ", ".join(map(str, paths)) or "nothing"
        passed = f" among {others} files" if others else ""
        raise ValueError(f"expected pictures ({suffixes}), got none{passed} in {places}; check the path")
    check_names(inputs.stems)
    return inputs


def _by_name(path: Path) -> tuple[bytes, bytes]:
    return os.fsencode(path.name), os.fsencode(path)


def _folder(folder: Path, prefix: str, out: Path) -> tuple[_Part, int]:
    """The pictures of a folder, and how many other files it holds."""
    inside = os.path.relpath(out.resolve(), folder.resolve())
    if inside == ".":
        raise ValueError(f"expected another folder than that of the pictures as --out, got {out} for both")
    files = [file for file in list_files(folder) if not file.startswith(f"{inside}{os.sep}")]
    pictures = sorted(filter(is_picture, files), key=os.fsencode)
    return _Part(prefix, folder, as_names(pictures), None), len(files) - len(pictures)


def _tar(tar: Path) -> _Part:
    table: NDArray[Any] = index_tar(tar)
    table = table[table["picture"][:, 0] > 0]
    return _Part(f"{dataset_name(tar)}/", tar, table["name"], table["picture"])


def check_names(names: Callable[[], Iterable[str]]) -> None:
    """Refuse a name that comes twice, in any case of its letters: not every disk tells them apart.

    Raises:
        ValueError: it does.
    """
    # As numbers: the names of millions of pictures would not fit into memory.
    codes = np.fromiter((hash(name.casefold()) for name in names()), np.int64)
    values, counts = np.unique(codes, return_counts=True)
    if (counts > 1).any():
        twice = values[counts.argmax()]
        name = next(name for name in names() if hash(name.casefold()) == twice)
        raise ValueError(
            f"expected pictures whose names differ in more than the suffix or the case of letters, got {name} "
            "twice, so that the masks of both would have one name; rename one of them"
        )
