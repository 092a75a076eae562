"""Tars in the SA-1B layout, read where they lie: each picture next to its JSON record."""

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opensam.data.dataset import PICTURE_SUFFIXES, Dataset, Pictures, read_at, shown
from opensam.data.sa1b import ShardError
from opensam.masks import Rle
from opensam.records import ImageRecord, read_image_record


class Tars(Pictures):
    """All pictures of some tars, with or without a record."""

    def __init__(self, name: str, shards: Sequence[Path]) -> None:
        """Read the headers of the tars.

        Raises:
            ShardError: a tar is compressed, damaged or without pictures, or two pictures have one name.
        """
        self.name, self.shards = name, list(shards)
        self.tables = [self._rows(index_tar(shard), shard) for shard in self.shards]
        self.starts = np.cumsum([0, *(len(table) for table in self.tables)])
        names, counts = np.unique(np.concatenate([table["name"] for table in self.tables]), return_counts=True)
        if counts.max() > 1:
            twice = shown(os.fsdecode(names[counts.argmax()]))
            where = self.shards[0] if len(self.shards) == 1 else f"the tars of {name}"
            raise ShardError(f"expected every name once in {where}, got {twice!r} twice; rename one of them")

    def __len__(self) -> int:
        return int(self.starts[-1])

    def key(self, i: int) -> str:
        """The file name inside the tar without folder and suffix."""
        return shown(os.fsdecode(bytes(self._row(i)[1]["name"].item())))

    def picture(self, i: int) -> bytes:
        """The member of the tar."""
        shard, row = self._row(i)
        return read_at(shard, *map(int, row["picture"]))

    def _rows(self, table: NDArray[Any], shard: Path) -> NDArray[Any]:
        """Which rows of the index of a tar are part of the data set."""
        table = table[table["picture"][:, 0] > 0]
        if not len(table):
            raise ShardError(f"expected pictures in {shard}, got none; check what the tar holds")
        return table

    def _row(self, i: int) -> tuple[Path, NDArray[Any]]:
        shard = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.shards[shard], self.tables[shard][i - self.starts[shard]]


class LabelledTars(Tars, Dataset):
    """All pictures of some tars that have a record."""

    def record(self, i: int) -> ImageRecord:
        """All that is said of picture i. Raises OSError or ValueError where it cannot be read."""
        shard, row = self._row(i)
        return read_image_record(read_at(shard, *map(int, row["record"])))

    def masks(self, i: int) -> tuple[Rle, ...]:
        """Those of the record."""
        return tuple(annotation.segmentation for annotation in self.record(i).annotations)

    def _rows(self, table: NDArray[Any], shard: Path) -> NDArray[Any]:
        pictures, records = table["picture"][:, 0] > 0, table["record"][:, 0] > 0
        for lonely, there, missing in ((~pictures, "record", "picture"), (~records, "picture", "record")):
            if lonely.any():
                name = shown(os.fsdecode(table["name"][lonely.argmax()]))
                raise ShardError(f"expected each {there} of {shard} with its {missing}, got {name} without a {missing}")
        return super()._rows(table, shard)


def index_tar(shard: Path) -> NDArray[Any]:
    """Where things lie in a tar, by one pass over its headers.

    Returns:
        One row a name, in the order of the tar: `name` (bytes), `picture` and `record` (offset, size in bytes; zeros
        where there is none).

    Raises:
        ShardError: compressed, damaged, cut short, or two pictures or two records have one name.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    try:
        with tarfile.open(shard, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                name, suffix = os.path.splitext(os.path.basename(member.name))
                slot = 0 if suffix.lower() in PICTURE_SUFFIXES else 1 if suffix.lower() == ".json" else None
                if slot is None or name.startswith(".") or not member.isreg() or member.issparse():
                    continue
                place = places.setdefault(name, [(0, 0), (0, 0)])
                if place[slot][0]:
                    raise ShardError(f"expected every name once in {shard}, got {shown(name)!r} twice; rename one")
                place[slot] = (member.offset_data, member.size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ShardError(f"expected a readable uncompressed tar, got {shard}: {error}") from error
    width = max((len(os.fsencode(name)) for name in places), default=1)
    columns = [("name", f"S{width}"), ("picture", "i8", 2), ("record", "i8", 2)]
    return np.array([(os.fsencode(name), *both) for name, both in places.items()], dtype=columns)
