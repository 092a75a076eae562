"""Labelled pictures of several data sets, drawn by weight."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from opensam.data.dataset import Dataset, InMemory, Share, Source
from opensam.data.specs import open_datasets
from opensam.masks import area

__all__ = ["Mixture", "Source", "open_mixture"]

ATTEMPTS = 100
"""So many samples in a row that cannot be used are no accident."""


class Mixture:
    """Labelled pictures of several data sets, drawn by weight.

    A data set of n pictures weighs n ** `power`, times its factor: a power of 1 draws every picture equally often, 0
    every data set.

    Attributes:
        skipped: why a sample was passed over when it was drawn, by (data set, name of the picture).
    """

    def __init__(
        self, sources: Iterable[Source | Dataset], power: float, factors: Mapping[str, float] | None = None
    ) -> None:
        """Mix data sets, single pictures in memory, or both.

        Args:
            sources: pictures without masks are left out.
            power: see above.
            factors: by the name of the data set; 1 where there is none.

        Raises:
            ValueError: there is no picture with masks.
        """
        datasets: list[Dataset] = []
        in_memory: dict[str, list[Source]] = defaultdict(list)
        for source in sources:
            if isinstance(source, Dataset):
                datasets.append(source)
            elif source.masks:
                in_memory[source.dataset].append(source)
        datasets += [InMemory(name, group) for name, group in in_memory.items()]
        if not datasets:
            raise ValueError("expected pictures with masks, got none; check the data path")
        self.datasets = sorted(datasets, key=lambda dataset: dataset.name)
        self.skipped: dict[tuple[str, str], str] = {}
        weights = np.array([len(dataset) for dataset in self.datasets], dtype=np.float64) ** power
        weights *= [(factors or {}).get(dataset.name, 1.0) for dataset in self.datasets]
        self.weights = weights / weights.sum()

    @classmethod
    def from_shards(cls, path: str | Path, power: float = 0.5) -> "Mixture":
        """All data sets of a folder of tars; `open_mixture` reads other layouts too."""
        return open_mixture([str(path)], power)

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)

    def draw(self, rng: np.random.Generator) -> Source:
        """One picture that can be decoded (it is, see `Source.rgb`), with at least one mask, all of its size.

        Other samples go into `skipped`, and the next is drawn. What comes depends on `rng` and the files alone. Many
        threads may draw at once.

        Raises:
            ValueError: a hundred samples in a row could not be used.
        """
        for _ in range(ATTEMPTS):
            dataset = self.datasets[rng.choice(len(self.datasets), p=self.weights)]
            i = int(rng.integers(len(dataset)))
            try:
                return checked(dataset.read(i))
            except (ValueError, OSError) as error:
                sample, reason = (dataset.name, dataset.key(i)), str(error)
                self.skipped.setdefault(sample, reason)  # atomic, so threads need no lock
        raise ValueError(
            f"expected samples that can be read, got {ATTEMPTS} in a row that cannot; the last was "
            f"{sample[1]} of {sample[0]}: {reason}"
        )


def open_mixture(specs: Sequence[str], power: float, share: float = 1.0) -> Mixture:
    """The data sets that a user named, as one mixture.

    Args:
        specs: `PATH` or `ANNOTATIONS.json:IMAGES/`, each with `@WEIGHT` at the end or without (`opensam.data.specs`).
            A weight is a factor: `@2` has a data set drawn twice as often, against the others, as it would be without.
            The factor of a folder of tars goes to each data set in it.
        power: a data set of n pictures is drawn with weight WEIGHT * n ** power.
        share: of the pictures of each data set that take part, see `Share`.

    Raises:
        ValueError: a spec that leads nowhere, a layout that is not known, a data set without masks.
    """
    opened = open_datasets(specs)
    if share < 1:
        opened = [(Share(dataset, share), factor) for dataset, factor in opened]
    return Mixture([dataset for dataset, _ in opened], power, {dataset.name: factor for dataset, factor in opened})


def checked(source: Source) -> Source:
    """The same. Raises ValueError if training cannot use it."""
    if not source.masks:
        raise ValueError("it has no masks")
    size = list(source.rgb.shape[:2])
    for mask in source.masks:
        if list(mask["size"]) != size:
            raise ValueError(f"expected masks of the picture's size {size}, got {mask['size']}")
        area(mask)  # reads the runs, and so finds damaged ones
    return source
