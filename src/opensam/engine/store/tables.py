"""The tables of the store, and how a row becomes a value.

Rows of annotations are never taken away: a deleted one keeps its row and its count of versions, so that whoever still
holds an old version of it is told so, and a delete can be undone under the same id. Times are POSIX seconds.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sql

from opensam.rle import Rle, read_runs, rle_to_box

LAYOUT = 1
"""Version of the tables; a store with a higher one was written by a newer opensam."""

METADATA = sql.MetaData()
_NUMBER = sql.BigInteger().with_variant(sql.Integer, "sqlite")  # SQLite counts up in INTEGER only

NUMBERS = sql.Table(
    "opensam",
    METADATA,
    sql.Column("name", sql.String(32), primary_key=True),
    sql.Column("value", sql.BigInteger, nullable=False),
)
"""`layout` and `labels`: the versions of the tables, and of the list of labels."""

IMAGES = sql.Table(
    "images",
    METADATA,
    sql.Column("id", sql.String(64), primary_key=True),
    sql.Column("file_name", sql.Text, nullable=False, index=True),
    sql.Column("width", sql.Integer, nullable=False),
    sql.Column("height", sql.Integer, nullable=False),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("changed", sql.Double, nullable=False),
)

ANNOTATIONS = sql.Table(
    "annotations",
    METADATA,
    sql.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(64), nullable=False, unique=True),
    sql.Column("image_id", sql.ForeignKey("images.id"), nullable=False, index=True),
    sql.Column("version", sql.Integer, nullable=False),
    sql.Column("deleted", sql.Boolean, nullable=False),
    sql.Column("counts", sql.Text, nullable=False),
    sql.Column("bbox", sql.JSON, nullable=False),
    sql.Column("area", sql.BigInteger, nullable=False),
    sql.Column("label", sql.Text, nullable=True, index=True),
    sql.Column("predicted_iou", sql.Double, nullable=False),
    sql.Column("stability_score", sql.Double, nullable=False),
    sql.Column("prompt", sql.JSON, nullable=False),
    sql.Column("source", sql.String(16), nullable=False),
    sql.Column("author", sql.Text, nullable=False),
    sql.Column("created", sql.Double, nullable=False),
    sql.Column("changed", sql.Double, nullable=False),
)

LABELS = sql.Table(
    "labels",
    METADATA,
    sql.Column("name", sql.Text, primary_key=True),
    sql.Column("position", sql.Integer, nullable=False),
    sql.Column("color", sql.String(7), nullable=False),
    sql.Column("shortcut", sql.String(16), nullable=False),
)


@dataclass(frozen=True)
class Picture:
    """A picture as the store knows it; the pixels are elsewhere.

    Attributes:
        id: the same for the same file, whoever opens it.
        file_name: relative to the folder of pictures, with "/".
        width: in pixels, upright.
        height: likewise.
    """

    id: str
    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class Content:
    """What somebody says about one object: everything but what the store adds.

    Attributes:
        segmentation: COCO compressed RLE of the picture's size.
        label: a name, or None.
        predicted_iou: the model's estimate; 1.0 where a person drew.
        stability_score: likewise.
        prompt: what the model was asked with, as JSON.
        source: "manual", "interactive" or "automatic".
        author: who or what made it: a person, a model, an imported file.
    """

    segmentation: Rle
    label: str | None = None
    predicted_iou: float = 1.0
    stability_score: float = 1.0
    prompt: dict[str, Any] = field(default_factory=dict)
    source: str = "manual"
    author: str = ""


@dataclass(frozen=True)
class Annotation:
    """A saved object.

    Attributes:
        number: counts annotations of the store in the order they came; stays the same when one is deleted and restored.
        id: chosen by whoever made it.
        version: counts changes, deleting included.
        bbox: XYWH, computed from the mask; zeros of an empty one.
        area: pixels, likewise.
        created: POSIX seconds.
        changed: likewise.
    """

    number: int
    id: str
    image_id: str
    version: int
    content: Content
    bbox: list[int]
    area: int
    created: float
    changed: float


@dataclass(frozen=True)
class Label:
    """A label: its name, "#rrggbb", and a key or ""."""

    name: str
    color: str
    shortcut: str = ""


def values_of(content: Content) -> dict[str, Any]:
    """The columns that a content fills, with `bbox` and `area` counted from the mask.

    Raises:
        ValueError: the runs do not fill the picture exactly.
    """
    columns = asdict(content)
    rle = columns.pop("segmentation")
    pixels = int(read_runs(rle)[1::2].sum())
    x0, y0, x1, y1 = rle_to_box(rle).tolist()
    bbox = [x0, y0, x1 - x0 + 1, y1 - y0 + 1] if pixels else [0, 0, 0, 0]
    return {"counts": rle["counts"], "bbox": bbox, "area": pixels, **columns}


def annotation_of(row: sql.Row[Any]) -> Annotation:
    """Of a row of ANNOTATIONS with `height` and `width` of its picture."""
    content = Content(
        segmentation={"size": [row.height, row.width], "counts": row.counts},
        label=row.label,
        predicted_iou=row.predicted_iou,
        stability_score=row.stability_score,
        prompt=row.prompt,
        source=row.source,
        author=row.author,
    )
    return Annotation(
        row.number, row.id, row.image_id, row.version, content, row.bbox, row.area, row.created, row.changed
    )


def living(columns: Iterable[sql.ColumnElement[Any]] | None = None) -> sql.Select[Any]:
    """A SELECT of annotations that are not deleted, with the sizes of their pictures."""
    wanted = columns or (ANNOTATIONS, IMAGES.c.height, IMAGES.c.width)
    return sql.select(*wanted).join_from(ANNOTATIONS, IMAGES).where(~ANNOTATIONS.c.deleted)
