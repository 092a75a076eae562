"""Data sets that come as COCO files: one, or one for each of several parts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from opensam.data.coco import Coco
from opensam.data.dataset import Dataset
from opensam.masks import Rle


class Lvis05(Coco):
    """LVIS v0.5, which names pictures as COCO did in 2014; the pictures of 2017 have the number alone."""

    def _path(self, i: int) -> Path:
        path = super()._path(i)
        return path if path.exists() else path.with_name(path.name.rpartition("_")[2])


class Joined(Dataset):
    """Several data sets as one; a key begins with the name of the part."""

    def __init__(self, name: str, parts: Sequence[Dataset]) -> None:
        self.name, self.parts = name, parts
        self.starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def key(self, i: int) -> str:
        """Its part, and its key in that."""
        part, row = self._at(i)
        return f"{part.name}/{part.key(row)}"

    def picture(self, i: int) -> bytes:
        """As its part reads it."""
        part, row = self._at(i)
        return part.picture(row)

    def masks(self, i: int) -> tuple[Rle, ...]:
        """As its part reads them."""
        part, row = self._at(i)
        return part.masks(row)

    def _at(self, i: int) -> tuple[Dataset, int]:
        number = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.parts[number], int(i - self.starts[number])


def coco(
    name: str, root: Path, *, annotations: str | tuple[str, ...], images: str, reader: type[Coco] = Coco
) -> Dataset:
    """Read COCO files.

    Args:
        name: of the data set.
        root: folder to which all paths are relative.
        annotations: the JSON files; of several, all are taken.
        images: the folder of their pictures.
        reader: another kind of COCO file.

    Raises:
        ValueError: see `Coco`.
    """
    if isinstance(annotations, str):
        alone: Dataset = reader(root / annotations, root / images)
        alone.name = name
        return alone
    return Joined(name, [reader(root / file, root / images) for file in annotations])
