"""The text files of YOLO's segmentation: polygons in shares of width and height, and the names of classes."""

import json
import re
from typing import NamedTuple

import numpy as np

from opensam.data.polygons import encode_polygons
from opensam.masks import Rle

_NAMES = re.compile(r"^names:[ \t]*(.*)$((?:\n(?:[ \t]+|-).*|\n[ \t]*)*)", re.MULTILINE)
_ENTRY = re.compile(r"^[ \t]*(?:-|(\d{1,6})[ \t]*:)[ \t]*(.+?)[ \t]*$", re.MULTILINE)


class YoloMask(NamedTuple):
    """A line of a label file; the class counts from 0, and is -1 where there is no number."""

    number: int
    rle: Rle


def read_yolo(text: str, size: tuple[int, int]) -> list[YoloMask]:
    """The masks of a label file: `class x1 y1 x2 y2 ...` a line. Boxes (`class x y width height`) are left out.

    Args:
        text: of the file.
        size: (H, W) of the picture.

    Raises:
        ValueError: a line of something else.
    """
    height, width = size
    masks = []
    for number, line in enumerate(text.splitlines(), start=1):
        first, *values = line.split() or [""]
        try:
            shares = [float(value) for value in values]
        except ValueError as error:
            raise ValueError(f"expected `class x1 y1 x2 y2 ...`, got line {number}: {line[:60]}") from error
        if shares and not -0.5 <= min(shares) <= max(shares) <= 1.5:
            raise ValueError(f"expected shares of width and height from 0 to 1, got line {number}: {line[:60]}")
        # Of an odd number the last is the confidence of a model that wrote the line.
        points = np.array(shares[: len(shares) // 2 * 2]).reshape(-1, 2) * (width, height)
        if len(shares) > 4 and (rle := encode_polygons([points.ravel()], size)):
            masks.append(YoloMask(int(first[:9]) if re.fullmatch("[0-9]+", first) else -1, rle))
    return masks


def read_yolo_names(text: str) -> dict[int, str]:
    """The names of the classes that a data.yaml lists, by number: in brackets, with dashes, or with their numbers.

    Only this part of YAML is read. Nothing is found where it is written in another way.
    """
    found = _NAMES.search(text)
    if found is None:
        return {}
    inline, block = found.group(1).strip(), found.group(2)
    if inline.startswith("[") and inline.endswith("]"):
        return {number: _bare(name) for number, name in enumerate(_split(inline[1:-1])) if name.strip()}
    entries = enumerate(_ENTRY.finditer(block))
    return {int(one.group(1)) if one.group(1) else place: _bare(one.group(2)) for place, one in entries}


def _split(names: str) -> list[str]:
    """At commas outside of quotes."""
    return re.findall(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,]+)\s*,?""", names)


def _bare(name: str) -> str:
    """Without its quotes."""
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        try:
            return str(json.loads(name))  # the way that we write them; YAML knows more escapes
        except ValueError:
            return name[1:-1]
    return name[1:-1].replace("''", "'") if len(name) > 1 and name[0] == name[-1] == "'" else name
