"""What detections are measured against: pictures, everything annotated in them, and the categories.

Training wants masks alone (`dataset`). Here crowds and pictures without annotations count too, and of LVIS it is known
which categories were looked for in a picture. In memory is an index; a picture and its annotations are read when they
are asked for.
"""

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from opensam import image
from opensam.data.coco import encode
from opensam.data.dataset import Pictures
from opensam.data.sa1b import dataset_name, list_shards
from opensam.data.specs import parse
from opensam.data.tars import LabelledTars
from opensam.masks import Rle, area
from opensam.records import ImageRecord

UNNAMED = "object"
"""The category of masks without one, as in `opensam.records.formats`."""

FREQUENCIES = ("r", "c", "f")
"""Rare, common, frequent: how many training pictures of LVIS have a category (below 10, below 100, more)."""


@dataclass(frozen=True)
class Category:
    """What a mask may show; `frequency` is one of FREQUENCIES where the data says it."""

    id: int
    name: str
    frequency: str | None = None


@dataclass(frozen=True)
class Annotation:
    """One thing in a picture.

    Attributes:
        id: as in the file.
        category: the id of its category.
        segmentation: its mask.
        bbox: XYWH; x and y are edges of pixels, so a box around one pixel has width 1.
        area: in pixels, as the file says it: of COCO that of the polygon. It decides whether the thing is small.
        crowd: a group that nobody took apart; it is not looked for, and what is found in it is not counted.
    """

    id: int
    category: int
    segmentation: Rle
    bbox: tuple[float, float, float, float]
    area: float
    crowd: bool = False


@dataclass(frozen=True)
class Truth:
    """What is known about one picture.

    Attributes:
        id: of the picture, as results files name it.
        size: (H, W).
        annotations: in the order of the file.
        negatives: ids of categories that are not in the picture (LVIS: verified by people).
        not_exhaustive: ids of categories of which not every instance is annotated (LVIS).
    """

    id: int
    size: tuple[int, int]
    annotations: tuple[Annotation, ...]
    negatives: frozenset[int] = frozenset()
    not_exhaustive: frozenset[int] = frozenset()


class GroundTruth(Pictures):
    """Pictures with everything that is known about them, by rising id where they come from one file.

    Attributes:
        categories: by id, rising.
        federated: as in LVIS, only some categories were looked for in a picture; `Truth` says which.
    """

    categories: dict[int, Category]
    federated: bool = False

    @abstractmethod
    def image_id(self, i: int) -> int:
        """The id of picture i; in tars that were made apart from each other an id may come twice."""

    @abstractmethod
    def size(self, i: int) -> tuple[int, int]:
        """(H, W) of picture i. Raises OSError or ValueError where it cannot be read."""

    @abstractmethod
    def read(self, i: int) -> Truth:
        """What is known about picture i. Raises OSError or ValueError where that cannot be read."""


def open_ground_truth(specs: Sequence[str]) -> GroundTruth:
    """Open one `ANNOTATIONS.json:IMAGES/` in the layout of COCO or LVIS, or tars and folders of tars.

    Raises:
        ValueError: a spec of another kind, or data that cannot be used; the message names the file.
    """
    parsed = [parse(spec) for spec in specs]
    if len(parsed) == 1 and parsed[0].images and parsed[0].weight is None:
        return CocoTruth(parsed[0].path, parsed[0].images)
    if not parsed or any(spec.images or spec.weight is not None for spec in parsed):
        raise ValueError(
            "expected one ANNOTATIONS.json:IMAGES/, or tars in the SA-1B layout, without a weight, got "
            f"{' '.join(specs) or 'nothing'}; measure files of annotations one at a time"
        )
    shards = [shard for spec in parsed for shard in list_shards(spec.path)]
    return TarTruth(sorted(shards, key=lambda shard: (dataset_name(shard), shard)))


class CocoTruth(GroundTruth):
    """A file in the layout of COCO or LVIS, pictures in a folder."""

    def __init__(self, annotations: Path, images: Path) -> None:
        """Read the file, which is in memory meanwhile; afterwards its annotations are there as text.

        Raises:
            ValueError: no such file or folder, another layout, an id twice, or an annotation of an unknown picture.
        """
        if not images.is_dir():
            raise ValueError(f"expected the folder of the pictures of {annotations}, got {images}; check the path")
        self.name, self.file, self.images = annotations.stem, annotations, images
        content = _load(annotations)
        try:
            self.categories = _categories(content["categories"])
            self.entries = sorted(content["images"], key=lambda entry: int(entry["id"]))
            ids = [self.image_id(i) for i in range(len(self.entries))]
            grouped = _group(content["annotations"], ids, self.categories)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"expected the layout of COCO or LVIS in {annotations}, got: {_reason(error)}") from error
        if not ids:
            raise ValueError(f"expected pictures in {annotations}, got none")
        self.texts = [json.dumps(grouped[image_id]).encode() for image_id in ids]
        looked_for = all("neg_category_ids" in entry for entry in self.entries)
        self.federated = looked_for and all(one.frequency for one in self.categories.values())

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, i: int) -> str:
        """The name of the file, in the folder."""
        entry = self.entries[i]
        # LVIS gives an address; its last two parts are the folder and the file.
        return str(entry.get("file_name") or "/".join(str(entry.get("coco_url", "")).split("/")[-2:]))

    def image_id(self, i: int) -> int:
        """As in the file."""
        return int(self.entries[i]["id"])

    def size(self, i: int) -> tuple[int, int]:
        """As the file says it, else that of the picture."""
        height, width = (int(self.entries[i].get(side) or 0) for side in ("height", "width"))
        return (height, width) if height > 0 and width > 0 else image.size(self._path(i))

    def picture(self, i: int) -> bytes:
        """The content of the file."""
        return self._path(i).read_bytes()

    def read(self, i: int) -> Truth:
        """Its annotations, polygons as RLE."""
        entry, size = self.entries[i], self.size(i)
        found = []
        for annotation in json.loads(self.texts[i]):
            try:
                found.append(_annotation(annotation, size))
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"annotation {annotation['id']} of {self.file}: {_reason(error)}") from error
        negatives, not_exhaustive = (
            frozenset(entry.get(name, ())) for name in ("neg_category_ids", "not_exhaustive_category_ids")
        )
        return Truth(self.image_id(i), size, tuple(found), negatives, not_exhaustive)

    def _path(self, i: int) -> Path:
        """In the folder under its whole name, or under its last part: folders were moved, or several made one."""
        name = PurePosixPath(self.key(i))
        inside = not name.is_absolute() and ".." not in name.parts
        return self.images / name if inside and (self.images / name).exists() else self.images / name.name


class TarTruth(GroundTruth):
    """Records of SA-1B's layout in tars; the categories are those that they name, and UNNAMED, by rising name."""

    def __init__(self, shards: Sequence[Path]) -> None:
        """Read all records once.

        Raises:
            ValueError: a tar or a record that cannot be read.
        """
        groups = groupby(shards, key=dataset_name)
        self.parts = [_Records(name, list(group)) for name, group in groups]
        self.rows = [(part, row) for part in self.parts for row in range(len(part))]
        self.name = self.parts[0].name if len(self.parts) == 1 else f"{len(self.parts)} data sets"
        self.ids, self.sizes, names = list[int](), list[tuple[int, int]](), set[str]()
        for part, row in self.rows:
            record = part.record(row)
            self.ids.append(record.image.image_id)
            self.sizes.append((record.image.height, record.image.width))
            names |= {mask.category or UNNAMED for mask in record.annotations}
        self.categories = {number: Category(number, name) for number, name in enumerate(sorted(names), start=1)}
        self.numbers = {category.name: number for number, category in self.categories.items()}

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, i: int) -> str:
        """The name, with the data set before it where there are several."""
        part, row = self.rows[i]
        return part.key(row) if len(self.parts) == 1 else f"{part.name}/{part.key(row)}"

    def image_id(self, i: int) -> int:
        """As in the record."""
        return self.ids[i]

    def size(self, i: int) -> tuple[int, int]:
        """As in the record."""
        return self.sizes[i]

    def picture(self, i: int) -> bytes:
        """The member of the tar."""
        part, row = self.rows[i]
        return part.picture(row)

    def read(self, i: int) -> Truth:
        """The masks of the record that are not empty."""
        part, row = self.rows[i]
        record = part.record(row)
        found = [
            Annotation(mask.id, self.numbers[mask.category or UNNAMED], mask.segmentation, _xywh(mask.bbox), pixels)
            for mask in record.annotations
            if (pixels := area(mask.segmentation))
        ]
        return Truth(self.ids[i], self.sizes[i], tuple(found))


class _Records(LabelledTars):
    def record(self, i: int) -> ImageRecord:
        try:
            return super().record(i)
        except ValueError as error:
            raise ValueError(f"{self.key(i)} in {self._row(i)[0]}: {error}") from error


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise ValueError(f"expected a JSON file in the layout of COCO or LVIS, got {file}: {error}") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in lists):
        raise ValueError(f"expected lists of {', '.join(lists)}, as COCO and LVIS have them, in {file}, got others")
    return content


def _categories(entries: list[Any]) -> dict[int, Category]:
    found = [Category(int(entry["id"]), str(entry["name"]), entry.get("frequency")) for entry in entries]
    if strange := [one for one in found if one.frequency not in (None, *FREQUENCIES)]:
        raise ValueError(f"category {strange[0].name} has the frequency {strange[0].frequency!r}, not r, c or f")
    if len({one.id for one in found}) < len(found):
        raise ValueError("two categories have one id")
    return {one.id: one for one in sorted(found, key=lambda one: one.id)}


def _group(
    annotations: list[Any], ids: Sequence[int], categories: dict[int, Category]
) -> dict[int, list[dict[str, Any]]]:
    """The annotations of each picture, in the order of the file."""
    grouped: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in ids}
    if len(grouped) < len(ids):
        raise ValueError("two pictures have one id")
    for annotation in annotations:
        for field, known in (("image_id", grouped), ("category_id", categories)):
            if annotation[field] not in known:
                raise ValueError(f"annotation {annotation['id']} has the unknown {field} {annotation[field]!r}")
        grouped[annotation["image_id"]].append(annotation)
    return grouped


def _annotation(entry: dict[str, Any], size: tuple[int, int]) -> Annotation:
    segmentation = encode(entry.get("segmentation") or [], size)
    if segmentation is None:
        raise ValueError("expected a segmentation, got none; masks cannot be measured against boxes")
    pixels = float(entry["area"]) if "area" in entry else float(area(segmentation))
    bbox = _xywh(entry["bbox"])
    return Annotation(
        int(entry["id"]), entry["category_id"], segmentation, bbox, pixels, bool(entry.get("iscrowd", False))
    )


def _xywh(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = (float(side) for side in bbox)
    return x, y, width, height


def _reason(error: Exception) -> str:
    return f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
