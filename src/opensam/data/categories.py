"""What the masks of a data set show, where it says so: SA-1B records with `category`, COCO annotations."""

import json
import re
from pathlib import Path
from typing import Any

from opensam.data.coco import Coco, encode
from opensam.data.dataset import Dataset, Part, read_at
from opensam.data.folders import RecordFolder
from opensam.data.tars import LabelledTars
from opensam.masks import Rle

_LIST = re.compile(rb'"categories"\s*:\s*(?=\[)')

Labelled = list[tuple[Rle, str | None]]


class Categories:
    """The masks of a data set with their categories.

    Attributes:
        dataset: as given.
        names: every category once, sorted: those that an annotation file lists, else those that the records of the
            whole data set use, also if only a part of it is given. None for data that do not say what a mask shows.

    Raises:
        ValueError: a record or a list of categories cannot be read.
        OSError: likewise.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        whole, _ = _whole(dataset, 0)
        self._ids: dict[Any, str] = {}
        if isinstance(whole, Coco):
            self._ids = _read_list(whole.annotations)
            self.names: tuple[str, ...] = tuple(sorted(set(self._ids.values())))
        elif isinstance(whole, LabelledTars | RecordFolder):
            records = (whole.record(row) for row in range(len(whole)))
            used = {one.category for record in records for one in record.annotations}
            self.names = tuple(sorted(name for name in used if name is not None))
        else:
            self.names = ()

    def masks(self, i: int) -> Labelled:
        """The masks of picture i, as `Dataset.masks` has them, each with its category; None where it has none."""
        dataset, row = _whole(self.dataset, i)
        if isinstance(dataset, Coco):
            return self._of_coco(dataset, row)
        if isinstance(dataset, LabelledTars | RecordFolder):
            return [(one.segmentation, one.category) for one in dataset.record(row).annotations]
        return [(mask, None) for mask in dataset.masks(row)]

    def _of_coco(self, dataset: Coco, row: int) -> Labelled:
        if not (masks := dataset.masks(row)):
            return []
        height, width = masks[0]["size"]
        spans = dataset.spans[dataset.firsts[row] : dataset.firsts[row + 1]].tolist()
        annotations = [json.loads(read_at(dataset.annotations, *span)) for span in spans]
        covering = [one for one in annotations if encode(one["segmentation"], (height, width))]  # as `Coco.masks`
        names = [self._ids.get(one.get("category_id")) for one in covering]
        return list(zip(masks, names, strict=True))


def _whole(dataset: Dataset, i: int) -> tuple[Dataset, int]:
    """The data set that a part was taken of, and which picture i is in it."""
    while isinstance(dataset, Part):
        i = int(dataset.rows[i])
        dataset = dataset.dataset
    return dataset, i


def _read_list(annotations: Path) -> dict[Any, str]:
    """The names of an annotation file by their ids, without unpacking the rest."""
    content = annotations.read_bytes()
    for found in _LIST.finditer(content):
        try:
            listed, _ = json.JSONDecoder().raw_decode(content[found.end() :].decode("utf-8"))
        except ValueError as error:
            raise ValueError(f"expected a list of categories in UTF-8 in {annotations}, got {error}") from error
        if all(isinstance(one, dict) and {"id", "name"} <= one.keys() for one in listed):
            return {one["id"]: str(one["name"]) for one in listed}
    return {}
