"""The annotations of a store as files, made while they are sent: what is in memory does not grow with the project."""

import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal
from urllib.parse import quote

from opensam.data.dataset import stem
from opensam.engine.store import Annotation, Saved, Store
from opensam.records import ImageInfo, ImageRecord, MaskRecord
from opensam.records.formats import FORMATS, OBJECT, coco_dataset, yolo
from opensam.serve.open_project import Project

Name = Literal["coco", "sa1b", "yolo", "labelme", "labelmap", "png"]
"""Formats of `opensam.records.formats`."""

_BLOCK = 1 << 16  # bytes sent at a time
_PACKED = (".png",)  # what does not get smaller


@dataclass(frozen=True)
class Export:
    """A file on its way: what a client is told about it, and its content in blocks."""

    file_name: str
    media_type: str
    content: Iterator[bytes]

    @property
    def disposition(self) -> str:
        """Content-Disposition (RFC 6266): a name in ASCII, and the one that is meant."""
        ascii_name = re.sub(r'[^ -~]|["\\%]', "_", self.file_name)
        return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(self.file_name, safe='')}"


def export(project: Project, form: Name) -> Export:
    """Everything that is saved: pictures that have annotations or are done, by file name.

    Categories are the labels in their order, then those that are no longer listed, then `object` for masks without one.

    Raises:
        StoreError: the store cannot be read. Later, it comes out of `content`.
    """
    categories = _categories(project.store)
    records = _records(project.store, frozenset(categories))
    if form == "coco":
        pieces = chain.from_iterable(content for _, content in coco_dataset(records, categories))
        return Export(f"{project.name}-coco.json", "application/json", _started(_blocks(pieces)))
    stems = Counter(stem(entry.file_name) for entry in project.pictures.entries())
    files = _files(records, form, categories, {name for name, times in stems.items() if times > 1})
    return Export(f"{project.name}-{form}.zip", "application/zip", _started(_blocks(_zipped(files))))


def _categories(store: Store) -> list[str]:
    """Names in the order in which they are numbered; at least one."""
    listed, used = [label.name for label in store.labels()[1]], store.used_labels()
    more = sorted(name for name in used if name is not None and name not in listed)
    return list(dict.fromkeys([*listed, *more, *([OBJECT] if None in used or not (listed or more) else [])]))


def _records(store: Store, categories: frozenset[str]) -> Iterator[ImageRecord]:
    for number, saved in enumerate(store.saved(), start=1):
        yield _record(saved, number, categories)


def _record(saved: Saved, number: int, categories: frozenset[str]) -> ImageRecord:
    picture = saved.picture
    info = ImageInfo(image_id=number, width=picture.width, height=picture.height, file_name=picture.file_name)
    # A label that came up after the export began has no number in it: its masks are of the next export.
    masks = [_mask(one) for one in saved.annotations if (one.content.label or OBJECT) in categories]
    return ImageRecord(image=info, annotations=masks)


def _mask(annotation: Annotation) -> MaskRecord:
    content = annotation.content
    height, width = content.segmentation["size"]
    prompt = content.prompt
    clicks = zip(prompt.get("point_coords", ()), prompt.get("point_labels", ()), strict=False)
    return MaskRecord(
        id=annotation.number,
        segmentation=content.segmentation,
        bbox=[float(side) for side in annotation.bbox],
        area=annotation.area,
        point_coords=[list(point) for point, label in clicks if label == 1],
        predicted_iou=content.predicted_iou,
        stability_score=content.stability_score,
        crop_box=[0, 0, width, height],
        category=content.label,
    )


def _files(
    records: Iterator[ImageRecord], form: str, categories: list[str], twice: set[str]
) -> Iterator[tuple[str, bytes]]:
    """Names in the archive, and contents: of farm/cow.jpg farm/cow, but with suffix where there is a farm/cow.png."""
    made = yolo(categories) if form == "yolo" else FORMATS[form]
    seen = set(twice)
    for record in records:
        name = record.image.file_name if stem(record.image.file_name) in seen else stem(record.image.file_name)
        seen.add(name)
        yield from made.files(record, name).items()
    if form == "yolo":
        for name, pieces in made.dataset(iter(())):
            yield name, b"".join(pieces)


class _Sink:
    """A file that only grows, and is emptied while it does."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, content: bytes) -> int:
        """Add."""
        self.written += content
        return len(content)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def take(self) -> bytes:
        """What was written since."""
        taken, self.written = bytes(self.written), bytearray()
        return taken


def _zipped(files: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    """A zip in pieces."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # it needs no more than write and flush
        for name, content in files:
            entry = zipfile.ZipInfo(name)  # of 1980: the same project gives the same file
            entry.external_attr = 0o644 << 16
            packed = name.endswith(_PACKED)
            archive.writestr(entry, content, zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED)
            yield sink.take()
    yield sink.take()


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces: each costs the server a change of threads."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _BLOCK:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _started(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same, with the first one made: what is wrong at once can still be answered with a status."""
    first = next(blocks, b"")
    return chain([first], blocks)
