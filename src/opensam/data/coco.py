"""Masks in a JSON file in the layout of COCO or LVIS, pictures in a folder."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from opensam import image
from opensam.data.dataset import Dataset, as_names, check_unique, read_at, shown, stem
from opensam.data.polygons import encode_polygons, encode_runs
from opensam.masks import Rle

MAX_SIDE = 1_000_000
_SPACE = re.compile(r"[ \t\n\r]*")


class _Picture(NamedTuple):
    """An entry of `images`; the size is (H, W), zeros where the file does not say it."""

    file: str
    id: Any
    size: tuple[int, int]


class Coco(Dataset):
    """The pictures of an annotation file that have masks; crowds (`iscrowd`) and mere boxes are left out.

    In memory stay names and sizes of pictures and the places of annotations in the file, not the annotations.
    """

    def __init__(self, annotations: Path, images: Path) -> None:
        """Index the file, which is in memory meanwhile.

        Raises:
            ValueError: no COCO file, no masks, a picture that comes twice, or no folder of pictures.
        """
        if not images.is_dir():
            raise ValueError(f"expected the folder of the pictures of {annotations}, got {images}; check the path")
        self.name, self.annotations, self.images = annotations.stem, annotations, images
        pictures, spans = _index(annotations)
        check_unique((stem(picture.file) for picture in pictures), str(annotations))
        ids = {picture.id: row for row, picture in enumerate(pictures)}
        if len(ids) < len(pictures):
            raise ValueError(f"expected every picture of {annotations} with an id of its own, got one id twice")
        labelled = [(ids[image_id], *span) for image_id, *span in spans if image_id in ids]
        if not labelled:
            raise ValueError(f"expected pictures with segmentations in {annotations}, got none; are there only boxes?")
        table = np.array(sorted(labelled), dtype=np.int64)
        rows, firsts = np.unique(table[:, 0], return_index=True)
        self.spans, self.firsts = table[:, 1:], np.append(firsts, len(table))
        self.files = as_names([pictures[row].file for row in rows])
        self.sizes = np.array([pictures[row].size for row in rows])

    def __len__(self) -> int:
        return len(self.files)

    def key(self, i: int) -> str:
        """The file name, without suffix."""
        return shown(stem(os.fsdecode(self.files[i])))

    def picture(self, i: int) -> bytes:
        """The content of the file."""
        return self._path(i).read_bytes()

    def masks(self, i: int) -> tuple[Rle, ...]:
        """One per annotation, in the order of the file."""
        height, width = self.sizes[i].tolist()
        size = (height, width) if height and width else image.size(self._path(i))
        spans = self.spans[self.firsts[i] : self.firsts[i + 1]].tolist()
        found = (json.loads(read_at(self.annotations, *span))["segmentation"] for span in spans)
        return tuple(rle for segmentation in found if (rle := encode(segmentation, size)))

    def _path(self, i: int) -> Path:
        """In the folder under its whole name, or under its last part: folders were moved, or several made one."""
        whole = self.images / os.fsdecode(self.files[i])
        return whole if whole.exists() else self.images / whole.name


def encode(segmentation: Any, size: tuple[int, int]) -> Rle | None:
    """A segmentation of COCO: polygons, run lengths or compressed run lengths; None if it covers nothing.

    Raises:
        ValueError: none of them.
    """
    if isinstance(segmentation, list):
        return encode_polygons(segmentation, size)
    if isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        own, counts = segmentation["size"], segmentation["counts"]
        if own != list(size):
            raise ValueError(f"expected masks of the picture's size {list(size)}, got {own}")
        return {"size": own, "counts": counts} if isinstance(counts, str) else encode_runs(counts, size)
    raise ValueError(f"expected a segmentation as polygons or RLE, got {str(segmentation)[:60]}")


def _index(file: Path) -> tuple[list[_Picture], list[tuple[Any, int, int]]]:
    """Its pictures by file name, and of each annotation with a segmentation the image id and the place in the file."""
    pictures: list[_Picture] = []
    spans: list[tuple[Any, int, int]] = []
    lists: set[str] = set()
    try:
        # One character a byte, so that places in the text are places in the file.
        text = file.read_bytes().decode("latin-1")
        for key, value, start, end in elements(text, ("images", "annotations")):
            lists.add(key)
            if start == end:
                continue
            if key == "images":
                pictures.append(_picture(json.loads(text[start:end].encode("latin-1"))))
            elif value.get("segmentation") and not value.get("iscrowd"):
                spans.append((value["image_id"], start, end - start))
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}; check the path") from error
    except IndexError as error:
        raise ValueError(f"expected a JSON file in the layout of COCO, got {file}, which is cut short") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        reason = f"a field {error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"expected a JSON file in the layout of COCO, got {file}: {reason}") from error
    if len(lists) < 2:
        got = f"{min(lists)} only" if lists else "neither"
        raise ValueError(f"expected lists of images and of annotations, as COCO has them, in {file}, got {got}")
    return sorted(pictures, key=lambda picture: picture.file), spans


def elements(text: str, lists: Sequence[str]) -> Iterator[tuple[str, Any, int, int]]:
    """The elements of these top-level lists of a JSON object, with their places in the text.

    A list itself comes before its elements, with an empty place. One element is unpacked at a time: the annotations of
    COCO, unpacked together, are gigabytes.

    Args:
        text: one character a byte (latin-1), so that places in it are places in the file.
        lists: their keys.

    Raises:
        ValueError: it is no JSON object.
        IndexError: it is cut short.
    """
    decode = json.JSONDecoder().raw_decode
    at = _after(text, 3 if text.startswith("\xef\xbb\xbf") else 0)  # the mark that Windows programs put first
    if text[at : at + 1] != "{":
        raise ValueError("it is no JSON object")
    at = _after(text, at + 1)
    while text[at] != "}":
        key, at = decode(text, at)
        at = _after(text, at, ":")
        if key in lists and text[at] == "[":
            yield key, None, at, at
            at = _after(text, at + 1)
            while text[at] != "]":
                value, end = decode(text, at)
                yield key, value, at, end
                at = _after(text, end, ",")
            at += 1
        else:
            _, at = decode(text, at)
        at = _after(text, at, ",")


def _after(text: str, at: int, mark: str = "") -> int:
    """The next place that is no space, behind one `mark` if it stands there."""
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches everywhere
    if mark and text[at : at + 1] == mark:
        at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
    return at


def _picture(entry: dict[str, Any]) -> _Picture:
    # LVIS gives an address; its last two parts are the folder and the file.
    name = entry.get("file_name") or "/".join(str(entry.get("coco_url") or "").split("/")[-2:])
    if not isinstance(name, str) or not name:
        raise ValueError(f"the picture with id {entry['id']} has neither file_name nor coco_url")
    path = PurePosixPath(name)
    file = path.name if path.is_absolute() or ".." in path.parts else str(path)
    size = (int(entry.get("height") or 0), int(entry.get("width") or 0))
    if not 0 <= min(size) <= max(size) <= MAX_SIDE:
        raise ValueError(f"the picture with id {entry['id']} has height and width {size}")
    return _Picture(file, entry["id"], size)
