"""The JSON files of LabelMe: the shapes that somebody drew on one picture."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from opensam.masks import Mask, Rle, encode_rle, fill_polygons
from opensam.rle import rle_union

_MOST_PIXELS = 200_000_000  # of a mask inside a file
_NO_AREA = ("point", "points", "line", "linestrip")


@dataclass(frozen=True)
class LabelMe:
    """What a file says.

    Attributes:
        file_name: of the picture, as the file has it; "" if it has none.
        size: (H, W) of the picture; None where the file does not say.
        masks: label and mask of each object: shapes of one `group_id` and one label are one object.
        left_out: shapes that cover nothing, such as points and lines.
    """

    file_name: str
    size: tuple[int, int] | None
    masks: list[tuple[str, Rle]]
    left_out: int


def read_labelme(content: bytes, size: tuple[int, int]) -> LabelMe:
    """Read a file.

    Args:
        content: of the file.
        size: (H, W) of the picture that it is about.

    Raises:
        ValueError: another kind of JSON, a shape that LabelMe does not have, or a picture of another size.
    """
    try:
        found = json.loads(content)
        shapes, height, width = found["shapes"], found.get("imageHeight"), found.get("imageWidth")
        stated = (int(height), int(width)) if height and width else None
        if stated not in (None, size):
            raise ValueError(f"the file is about a picture of {width} x {height} pixels, not {size[1]} x {size[0]}")
        objects: dict[Any, tuple[str, list[Rle]]] = {}
        for number, shape in enumerate(shapes):
            if shape["shape_type"] in _NO_AREA:
                continue
            label, group = str(shape["label"]), shape.get("group_id")
            key = (None, number) if group is None else (label, group)
            objects.setdefault(key, (label, []))[1].append(encode_rle(_mask(shape, size)))
        left_out = sum(shape["shape_type"] in _NO_AREA for shape in shapes)
        file_name = str(found.get("imagePath") or "")
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"expected a JSON file of LabelMe, got something else: {error!r}") from error
    masks = [(label, rle_union(parts)) for label, parts in objects.values()]
    return LabelMe(file_name, stated, masks, left_out)


def _mask(shape: dict[str, Any], size: tuple[int, int]) -> Mask:
    """One shape as a mask of the whole picture."""
    kind, points = shape["shape_type"], np.asarray(shape["points"], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError(f"expected points with finite coordinates, got {str(shape['points'])[:60]}")
    if kind == "mask":
        return _image(shape["mask"], points, size)
    if kind == "polygon" and len(points):
        return fill_polygons([points], size)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points.tolist()
        return fill_polygons([[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]], size)
    if kind == "circle" and len(points) == 2:
        radius = float(np.linalg.norm(points[1] - points[0]))
        turns = np.linspace(0, 2 * np.pi, 361)[:-1]
        return fill_polygons([points[0] + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)], size)
    raise ValueError(f"expected a polygon, rectangle, circle or mask, got {str(kind)[:40]!r} of {len(points)} points")


def _image(text: str, points: Any, size: tuple[int, int]) -> Mask:
    """A mask that is stored as an image, with the corner of its box first."""
    try:
        data = base64.b64decode(text, validate=True)
        levels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    except (binascii.Error, cv2.error) as error:
        raise ValueError("expected a mask as image in base64, got something else") from error
    if levels is None or levels.size > _MOST_PIXELS:
        raise ValueError("expected a mask as image in base64, got something else")
    x, y = (round(value) for value in points[0])
    whole = np.zeros(size, dtype=np.bool_)
    if x < 0 or y < 0 or x + levels.shape[1] > size[1] or y + levels.shape[0] > size[0]:
        raise ValueError("expected a mask inside the picture, got one that leaves it")
    whole[y : y + levels.shape[0], x : x + levels.shape[1]] = levels > 0
    return whole
