"""Labelled pictures of several data sets, drawn by weight."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opensam.data.sa1b import list_shards, read_shard
from opensam.masks import Rle


@dataclass(frozen=True)
class Source:
    """One labelled picture, still compressed."""

    dataset: str
    name: str
    picture: bytes
    masks: tuple[Rle, ...]


class Mixture:
    """Labelled pictures of several data sets, drawn by weight.

    A data set of n pictures weighs n ** `power`: 1 draws every picture equally often, 0 every data set.
    """

    def __init__(self, sources: Iterable[Source], power: float) -> None:
        by_dataset: dict[str, list[Source]] = defaultdict(list)
        for source in sources:
            if source.masks:
                by_dataset[source.dataset].append(source)
        if not by_dataset:
            raise ValueError("expected pictures with masks, got none; check the data path")
        self.datasets = [by_dataset[name] for name in sorted(by_dataset)]
        weights = np.array([len(dataset) for dataset in self.datasets], dtype=np.float64) ** power
        self.weights = weights / weights.sum()

    @classmethod
    def from_shards(cls, path: str | Path, power: float = 0.5) -> "Mixture":
        """Read the labels and the compressed pictures of all shards of a folder into memory."""
        pairs = (pair for shard in list_shards(path) for pair in read_shard(shard))
        return cls((Source(p.dataset, p.name, p.picture, _rles(p.record)) for p in pairs), power)

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)

    def draw(self, rng: np.random.Generator) -> Source:
        """One picture."""
        dataset = self.datasets[rng.choice(len(self.datasets), p=self.weights)]
        return dataset[rng.integers(len(dataset))]


def _rles(record: Any) -> tuple[Rle, ...]:
    return tuple(annotation.segmentation for annotation in record.annotations)
