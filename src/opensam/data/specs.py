"""Data sets as a user names them: `PATH`, `ANNOTATIONS.json:IMAGES/` or `NAME:FOLDER`, with `@WEIGHT` or without.

A path is a tar or a folder of tars in the SA-1B layout, or a folder in one of the layouts of `opensam.data.folders`. A
name is one of `opensam.data.benchmarks`, whose published layout is known.
`synthetic`, `synthetic:N` and `synthetic:N:SEED` are N pictures (1000) that need no files; another seed, others.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from opensam.data.benchmarks import benchmark_names, open_benchmark
from opensam.data.coco import Coco
from opensam.data.dataset import Dataset, Folder, Pictures
from opensam.data.folders import MaskFolder, RecordFolder, YoloFolder, name_of
from opensam.data.sa1b import dataset_name, list_shards
from opensam.data.synthetic import Synthetic
from opensam.data.tars import LabelledTars, Tars

PROBED = 100
"""A data set is refused if none of so many of its samples has masks."""

LAYOUTS = (
    "a tar or a folder of tars, NAME.jpg beside NAME.json, images/ beside masks/ or labels/, "
    "or ANNOTATIONS.json:IMAGES/"
)

_NAMED = re.compile(r"([\w.-]+):(.+)")


@dataclass(frozen=True)
class Spec:
    """What a user typed, taken apart.

    Attributes:
        text: as typed.
        path: a tar, a folder, or the annotations.
        images: the folder of pictures that belongs to annotations.
        weight: a positive factor; None: not given.
        benchmark: the name of the layout that the folder `path` has.
    """

    text: str
    path: Path
    images: Path | None
    weight: float | None
    benchmark: str | None = None


def parse(text: str) -> Spec:
    """Take a spec apart; a path that exists is a path, whatever it ends in.

    Raises:
        ValueError: a weight that is no positive number, or annotations without pictures.
    """
    weighted = None if Path(text).exists() else re.fullmatch(r"(.+)@([-+.\de]+)", text)
    place, weight = (weighted[1], _weight(weighted[2], text)) if weighted else (text, None)
    named = None if Path(place).exists() else _NAMED.fullmatch(place)
    if named and named[1].lower() in benchmark_names():
        return Spec(text, Path(named[2]), None, weight, named[1].lower())
    annotations = re.fullmatch(r"(.+\.json):(.+)", place, re.IGNORECASE)
    if annotations:
        return Spec(text, Path(annotations[1]), Path(annotations[2]), weight)
    if place.lower().endswith(".json"):
        raise ValueError(f"expected annotations with the folder of their pictures, {place}:IMAGES/, got {text}")
    return Spec(text, Path(place), None, weight)


def open_datasets(specs: Sequence[str]) -> list[tuple[Dataset, float]]:
    """The data sets that specs name, each with its factor; every name is different and every one has masks.

    Raises:
        ValueError: a spec that leads nowhere, a layout that is not known, a data set without masks.
    """
    opened = [(dataset, spec) for spec in map(parse, specs) for dataset in _labelled(spec)]
    _tell_apart(opened)
    for dataset, _ in opened:
        _probe(dataset)
    return [(dataset, 1.0 if spec.weight is None else spec.weight) for dataset, spec in opened]


class PictureList:
    """The pictures of several data sets in a row, without masks."""

    def __init__(self, datasets: Sequence[Pictures]) -> None:
        self.datasets = list(datasets)
        self.starts = np.cumsum([0, *map(len, self.datasets)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def key(self, i: int) -> tuple[str, str]:
        """The name of the data set of picture i, and of the picture in it."""
        dataset, row = self._at(i)
        return dataset.name, dataset.key(row)

    def read(self, i: int) -> bytes:
        """The encoded picture i. Raises OSError or ValueError where it cannot be read; it may not be decodable."""
        dataset, row = self._at(i)
        return dataset.picture(row)

    def _at(self, i: int) -> tuple[Pictures, int]:
        if not 0 <= i < len(self):
            raise IndexError(f"expected a picture from 0 to {len(self) - 1}, got {i}")
        row = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.datasets[row], int(i - self.starts[row])


def open_pictures(specs: Sequence[str]) -> PictureList:
    """Pictures to learn from without masks: of any folder, with the folders in it, or of tars.

    Of a labelled data set the masks are ignored, of `ANNOTATIONS.json:IMAGES/` all pictures of the folder are taken.

    Raises:
        ValueError: a spec that leads nowhere or has a weight, or there is no picture.
    """
    parsed = [parse(text) for text in specs]
    if weighted := [spec.text for spec in parsed if spec.weight is not None]:
        raise ValueError(f"expected pictures without a weight, got {weighted[0]}; leave @WEIGHT away")
    opened = [(pictures, spec) for spec in parsed for pictures in _pictures(spec)]
    _tell_apart(opened)
    if not opened:
        raise ValueError("expected a folder or tar of pictures, got none")
    return PictureList([pictures for pictures, _ in sorted(opened, key=lambda pair: pair[0].name)])


def _labelled(spec: Spec) -> Sequence[Dataset]:
    path = spec.path
    if spec.benchmark:
        return [open_benchmark(spec.benchmark, path)]
    if synthetic := _synthetic(spec):
        return [synthetic]
    if spec.images:
        return [Coco(path, spec.images)]
    if shards := _shards(spec):
        return [LabelledTars(name, tars) for name, tars in shards.items()]
    parts = {name for name in ("images", "masks", "labels") if (path / name).is_dir()}
    if parts == {"images", "masks", "labels"}:
        raise ValueError(f"expected either masks/ or labels/ beside images/, got both in {path}; rename one")
    if "images" not in parts and (lonely := parts & {"masks", "labels"}):
        raise ValueError(f"expected images/ beside {min(lonely)}/, got none in {path}; rename the folder of pictures")
    if "masks" in parts:
        return [MaskFolder(path)]
    if "labels" in parts:
        return [YoloFolder(path)]
    try:
        return [RecordFolder(path)]
    except ValueError as error:
        if "no such pair" not in str(error):
            raise
        raise ValueError(f"expected {LAYOUTS}, got {path}; docs/guides/training-data.md shows them") from error


def _synthetic(spec: Spec) -> Synthetic | None:
    named = re.fullmatch(r"synthetic(?::(\d+))?(?::(\d+))?", str(spec.path))
    if not named or spec.path.exists():
        return None
    count = int(named[1] or 1000)
    if not count:
        raise ValueError(
            f"expected at least one synthetic picture, got {spec.text}; synthetic:1000 is the usual number"
        )
    return Synthetic(count, int(named[2] or 0))


def _pictures(spec: Spec) -> Sequence[Pictures]:
    if spec.benchmark:
        return [open_benchmark(spec.benchmark, spec.path)]
    if synthetic := _synthetic(spec):
        return [synthetic]
    if shards := {} if spec.images else _shards(spec):
        return [Tars(name, tars) for name, tars in shards.items()]
    labelled = any((spec.path / name).is_dir() for name in ("masks", "labels"))
    folder = spec.images or (spec.path / "images" if labelled else spec.path)
    if not folder.is_dir():
        raise ValueError(f"expected a folder of pictures, got {folder}; check the path")
    return [Folder(name_of(spec.images or spec.path), folder)]


def _shards(spec: Spec) -> dict[str, list[Path]]:
    """The tars of a path by data set; none if it is a folder without tars."""
    if not spec.path.exists():
        names = f"; the names before a colon are {', '.join(benchmark_names())}" if _NAMED.fullmatch(spec.text) else ""
        raise ValueError(f"expected a file or folder, got {spec.text}, which does not exist; check the path{names}")
    if spec.path.is_dir() and not any(spec.path.glob("*.tar")):
        return {}
    shards = sorted(list_shards(spec.path), key=lambda shard: (dataset_name(shard), shard))
    return {name: list(group) for name, group in groupby(shards, key=dataset_name)}


def _tell_apart(opened: Sequence[tuple[Pictures, Spec]]) -> None:
    """Give data sets of one name, from two places, names that say the place."""
    counts = Counter(dataset.name for dataset, _ in opened)
    for dataset, spec in opened:
        if counts[dataset.name] > 1:
            dataset.name = f"{dataset.name} of {spec.path.resolve()}"
    if twice := [spec for dataset, spec in opened if [other.name for other, _ in opened].count(dataset.name) > 1]:
        raise ValueError(f"expected each data set once, got {twice[0].text} twice; to draw it twice as often, write @2")


def _probe(dataset: Dataset) -> None:
    """Refuse a data set if none of some samples, evenly spaced, has masks. Raises ValueError."""
    reason = ""
    for i in np.linspace(0, len(dataset) - 1, min(PROBED, len(dataset))).astype(int).tolist():
        try:
            if dataset.read(i).masks:
                return
            reason = reason or f"{dataset.key(i)}: no masks"
        except (ValueError, OSError) as error:
            reason = reason or f"{dataset.key(i)}: {error}"
    tried = min(PROBED, len(dataset))
    raise ValueError(f"expected pictures with masks in {dataset.name}, got none among {tried} of them; {reason}")


def _weight(text: str, spec: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"expected a number above 0 behind the @ of {spec}, got {text!r}; 2 draws it twice as often")
    return weight
