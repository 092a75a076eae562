"""Annotations of other programs, added to pictures of the same names.

Of a file everything is taken or nothing. A mask that a picture has already, with the same label, is not added again, so
that the same file can be imported twice.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Literal
from uuid import uuid4

from opensam import image
from opensam.data import coco
from opensam.data.dataset import stem
from opensam.data.folders import MASK_SUFFIXES, read_labels
from opensam.data.labelme import read_labelme
from opensam.data.polygons import encode_labels
from opensam.data.yolo import read_yolo, read_yolo_names
from opensam.engine.store import Content, Label, Picture, StoreError
from opensam.masks import Rle, area
from opensam.records import read_image_record
from opensam.records.formats import OBJECT
from opensam.serve import archives
from opensam.serve.annotation_models import MOST_COUNTS, Imported
from opensam.serve.folder import Entry, VanishedError
from opensam.serve.open_project import Project

Name = Literal["coco", "sa1b", "yolo", "labelme", "labelmap"]
"""Formats that can be imported."""

PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#88CCEE", "#DDCC77", "#AA4499", "#44AA99", "#999933",
)  # fmt: skip
"""Colours of new labels, told apart by people who see few: Okabe and Ito's without black, then those of Tol's muted
scheme that are not near one of them."""

_MOST_NOTES = 100
_MOST_LABEL = 200  # characters
_SUFFIXES: dict[str, set[str]] = {
    "coco": {".json"},
    "sa1b": {".json"},
    "labelme": {".json"},
    "yolo": {".txt"},
    "labelmap": set(MASK_SUFFIXES),
}


def import_files(project: Project, form: Name, uploads: Sequence[tuple[str, BinaryIO]]) -> Imported:
    """Import files, or zips of files; each is saved when it was read to its end.

    Args:
        project: whose pictures they are about.
        form: what kind of files.
        uploads: names, and streams that can be read from any place.

    Returns:
        What was added, and a sentence for what was not.

    Raises:
        ValueError: no file could be read at all.
        StoreError: nothing can be saved; what was saved of earlier files stays.
    """
    task = _Import(project, form)
    sent = list(archives.files(uploads))
    if form == "yolo":
        task.read_names(sent)
    for file in sent:
        if PurePosixPath(file.name).suffix.lower() in _SUFFIXES[form]:
            task.take(file)
    if not task.files:
        expected = ", ".join(sorted(_SUFFIXES[form]))
        reasons = task.sentences()
        raise ValueError(reasons[0] if reasons else f"expected files of {form} ({expected}) or a zip of them, got none")
    return Imported(annotations=task.annotations, images=len(task.images), skipped=task.sentences())


class _Import:
    """One import on its way.

    Attributes:
        files: how many were read to their end.
        annotations: how many were added.
        images: ids of the pictures to which they were added.
    """

    def __init__(self, project: Project, form: Name) -> None:
        self.project, self.read = project, _READERS[form]
        self.find = _Finder(project.pictures.entries())
        self.listed = [label.name for label in project.store.labels()[1]]
        self.names: dict[int, str] = dict(enumerate(self.listed))
        self.files, self.annotations, self.images = 0, 0, set[str]()
        self._notes: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def note(self, reason: str, example: str) -> None:
        """Something is left out: why, and what; only the first of each reason is named."""
        self._notes[reason] += 1
        self._examples.setdefault(reason, example)

    def sentences(self) -> list[str]:
        """What was left out, a sentence for each reason."""
        said = []
        for reason, times in self._notes.items():
            more = f" and {times - 1} more" if times > 1 else ""
            said.append(f"{self._examples[reason]}{more}: {reason}")
        rest = len(said) - _MOST_NOTES
        return said if rest <= 0 else [*said[:_MOST_NOTES], f"and {rest} more reasons"]

    def read_names(self, sent: Sequence[archives.Sent]) -> None:
        """Take the names of classes from a data.yaml; without one, they are the labels of the project in order."""
        for file in sent:
            if file.name.lower().endswith((".yaml", ".yml")):
                try:
                    self.names = read_yolo_names(file.read().decode("utf-8-sig")) or self.names
                except ValueError as error:
                    self.note(str(error), file.name)

    def take(self, file: archives.Sent) -> None:
        """Import a file, or note why not. Raises StoreError."""
        batch = _Batch(self, file.name)
        try:
            self.read(batch, file.name, file.read())
            labels = _new_labels(batch.labels, self.project.store.labels()[1])
            found = list(batch.pictures.values())
            saved = self.project.store.add_all(found, labels, self.project.clock()) if found else []
        except StoreError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            self.note(_reason(error), file.name)
            return
        self.files += 1
        for (picture, new), added in zip(found, saved, strict=True):
            self.annotations += added
            if added:
                self.images.add(picture.id)
            for _ in range(len(new) - added):
                self.note("the picture has this mask already", picture.file_name)


class _Batch:
    """What one file says, until it was read to its end."""

    def __init__(self, task: _Import, name: str) -> None:
        self.task, self.author = task, f"import of {PurePosixPath(name).name[:200]}"
        self.pictures: dict[str, tuple[Picture, dict[str, Content]]] = {}
        self.labels: dict[str, None] = {}

    def picture(self, entry: Entry | None, name: str, stated: tuple[int, int] | None = None) -> Picture | None:
        """The picture that a file is about, or None with a note: it is missing, unreadable or of another size."""
        if entry is None:
            self.task.note("no picture of that name is in the folder, or several are", name)
            return None
        try:
            picture = self.task.project.pictures.picture(entry)
        except (image.ImageError, VanishedError) as error:
            self.task.note(str(error), name)
            return None
        if stated not in (None, (picture.height, picture.width)):
            self.task.note("the file is about a picture of another size", name)
            return None
        return picture

    def add(
        self, picture: Picture, rle: Rle, label: str | None, scores: Sequence[Any] = (), prompt: Any = None
    ) -> None:
        """One object. Raises ValueError for a damaged mask."""
        if not area(rle):
            self.task.note("an empty mask is left out", picture.file_name)
            return
        if len(rle["counts"]) > MOST_COUNTS:
            raise ValueError(f"expected masks of at most {MOST_COUNTS} characters, got {len(rle['counts'])}")
        label = self._label(label)
        iou, stability = (*(_score(score) for score in scores), 1.0, 1.0)[:2]
        content = Content(rle, label, iou, stability, prompt or {}, "automatic", self.author)
        self.pictures.setdefault(picture.id, (picture, {}))[1][str(uuid4())] = content

    def _label(self, name: str | None) -> str | None:
        """A name as labels can have it; the category of what has none is no label, unless one is called so."""
        cleaned = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", name or "").strip()[:_MOST_LABEL]
        if not cleaned or (cleaned == OBJECT and OBJECT not in self.task.listed):
            return None
        self.labels.setdefault(cleaned)
        return cleaned


class _Finder:
    """Pictures by what files call them: by their path in the folder, or by its end where only one has that."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._by_name = {entry.file_name: entry for entry in entries}
        self._by_stem: dict[str, Entry | None] = {}
        self._by_last: dict[str, Entry | None] = {}
        for entry in entries:
            last = PurePosixPath(entry.file_name).name
            for table, key in (
                (self._by_stem, stem(entry.file_name)),
                (self._by_last, last),
                (self._by_last, stem(last)),
            ):
                table[key] = None if key in table and table[key] is not entry else entry

    def __call__(self, name: str) -> Entry | None:
        """A picture by its name, with or without suffix, and with other folders before it or none."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for first in range(len(parts)):
            path = "/".join(parts[first:])
            if found := self._by_name.get(path) or self._by_stem.get(path):
                return found
        return self._by_last.get(parts[-1]) if parts else None


def _read_coco(batch: _Batch, _name: str, content: bytes) -> None:
    text = content.decode("latin-1")  # one character a byte, as `elements` wants it
    pictures: dict[Any, Picture | None] = {}
    categories: dict[Any, str] = {}
    lists = set()
    for key, _, start, end in coco.elements(text, ("images", "annotations", "categories")):
        lists.add(key)
        if start == end or key == "annotations":
            continue
        entry = json.loads(text[start:end].encode("latin-1"))
        if key == "categories":
            categories[entry["id"]] = str(entry["name"])
        else:
            name = str(entry["file_name"])
            stated = (int(entry["height"]), int(entry["width"])) if entry.get("height") else None
            pictures[entry["id"]] = batch.picture(batch.task.find(name), name, stated)
    if not {"images", "annotations"} <= lists:
        raise ValueError("expected lists of images and of annotations, as COCO has them")
    for _, _, start, end in coco.elements(text, ("annotations",)):
        if start == end:
            continue
        found = json.loads(text[start:end].encode("latin-1"))
        picture = pictures.get(found["image_id"])
        if picture is None:
            continue
        if found.get("iscrowd"):
            batch.task.note("a crowd is left out", picture.file_name)
            continue
        rle = coco.encode(found.get("segmentation") or [], (picture.height, picture.width))
        if rle is None:
            batch.task.note("a mere box is left out", picture.file_name)
            continue
        scores = (found.get("predicted_iou"), found.get("stability_score"))
        batch.add(picture, rle, categories.get(found.get("category_id")), scores)


def _read_sa1b(batch: _Batch, _name: str, content: bytes) -> None:
    record = read_image_record(content)
    name = record.image.file_name
    picture = batch.picture(batch.task.find(name), name, (record.image.height, record.image.width))
    if picture is None:
        return
    for mask in record.annotations:
        points = [[float(x), float(y)] for x, y in mask.point_coords]
        prompt = {"point_coords": points, "point_labels": [1] * len(points)} if points else {}
        batch.add(picture, mask.segmentation, mask.category, (mask.predicted_iou, mask.stability_score), prompt)


def _read_labelme(batch: _Batch, name: str, content: bytes) -> None:
    stated = json.loads(content)
    beside = PurePosixPath(str(stated.get("imagePath") or "").replace("\\", "/")).name
    entry = batch.task.find(str(PurePosixPath(name).with_name(beside)) if beside else stem(name))
    picture = batch.picture(entry or batch.task.find(stem(name)), name)
    if picture:
        found = read_labelme(content, (picture.height, picture.width))
        for _ in range(found.left_out):
            batch.task.note("a point or a line is left out", picture.file_name)
        for label, rle in found.masks:
            batch.add(picture, rle, label)


def _read_yolo(batch: _Batch, name: str, content: bytes) -> None:
    picture = batch.picture(batch.task.find(stem(name)), name)
    if picture:
        for number, rle in read_yolo(content.decode("utf-8-sig"), (picture.height, picture.width)):
            batch.add(picture, rle, batch.task.names.get(number, f"class {number}"))


def _read_labelmap(batch: _Batch, name: str, content: bytes) -> None:
    with image.opened(content) as opened:
        stated = (opened.height, opened.width)
    picture = batch.picture(batch.task.find(stem(name)), name, stated)
    if picture:
        for rle in encode_labels(read_labels(BytesIO(content))):
            batch.add(picture, rle, None)


_READERS: dict[str, Callable[[_Batch, str, bytes], None]] = {
    "coco": _read_coco,
    "sa1b": _read_sa1b,
    "labelme": _read_labelme,
    "yolo": _read_yolo,
    "labelmap": _read_labelmap,
}


def _score(value: Any) -> float:
    """A score that a file gives; 1.0 where it gives none."""
    given = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if given else 1.0


def _new_labels(names: Sequence[str] | dict[str, None], there: Sequence[Label]) -> list[Label]:
    """Labels for names that have none, in colours that no other has as long as there are some."""
    known = {label.name for label in there}
    used = {label.color.upper() for label in there}
    free = [color for color in PALETTE if color not in used]
    new = [name for name in names if name not in known]
    return [Label(name, (free[k] if k < len(free) else PALETTE[k % len(PALETTE)])) for k, name in enumerate(new)]


def _reason(error: Exception) -> str:
    """In one short sentence."""
    if isinstance(error, ValueError):
        return " ".join(str(error).split())[:300]
    return "the file is cut short, or not of this format"
