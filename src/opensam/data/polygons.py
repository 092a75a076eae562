"""Polygons, run lengths and label maps, as data sets write them, to compressed RLE."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from opensam.masks import Rle

MAX_REGIONS = 10_000
"""A label map with more values is a photograph, or a map that lossy compression has blurred."""


def encode_polygons(polygons: Iterable[Any], size: tuple[int, int]) -> Rle | None:
    """The union of polygons as COCO counts pixels; None where no polygon has three points.

    Args:
        polygons: flat lists x1, y1, x2, y2, ... in pixels of the picture.
        size: (H, W) of the picture.

    Raises:
        ValueError: not numbers, an odd count, or a point that is farther outside than the picture is long.
    """
    height, width = size
    parts = []
    for polygon in polygons:
        try:
            points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected a polygon as numbers x1, y1, x2, y2, ..., got {str(polygon)[:60]}") from error
        far = max(size)
        if not ((points >= -far) & (points <= np.array([width, height]) + far)).all():  # pycocotools walks every pixel
            raise ValueError(f"expected a polygon in the picture of {width} x {height}, got {str(polygon)[:60]}")
        if len(points) > 2:
            parts.append(points.ravel().tolist())
    return _as_rle(coco.merge(coco.frPyObjects(parts, height, width))) if parts else None


def encode_runs(counts: Any, size: tuple[int, int]) -> Rle:
    """Uncompressed run lengths, outside and inside in turn, column by column.

    Raises:
        ValueError: they do not fill the picture exactly.
    """
    try:
        runs = np.asarray(counts, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"expected whole numbers as run lengths, got {str(counts)[:60]}") from error
    if runs.ndim != 1 or runs.min(initial=0) < 0 or runs.sum() != size[0] * size[1]:
        raise ValueError(f"expected run lengths that fill {size[0] * size[1]} pixels, got {runs.sum()} pixels")
    return _as_rle(coco.frPyObjects({"counts": runs.tolist(), "size": list(size)}, *size))


def encode_labels(labels: NDArray[np.int64]) -> list[Rle]:
    """One mask for every value but 0 of an (H, W) label map, in the order of the values.

    All are made from the runs of the map at once: a pass over the picture per value is slow where there are hundreds.

    Raises:
        ValueError: more than MAX_REGIONS values.
    """
    columns = labels.T.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(columns)) + 1])
    lengths = np.diff(np.append(starts, columns.size))
    values = columns[starts]
    order = np.argsort(values, kind="stable")
    found, first = np.unique(values[order], return_index=True)
    if len(found) > MAX_REGIONS:
        raise ValueError(f"expected a label map with at most {MAX_REGIONS} values, got {len(found)}; save it as PNG")
    masks = []
    for value, rows in zip(found, np.split(order, first[1:]), strict=True):
        if value:
            ends = starts[rows] + lengths[rows]
            outside = starts[rows] - np.concatenate([[0], ends[:-1]])
            runs = [*np.column_stack([outside, lengths[rows]]).ravel(), columns.size - ends[-1]]
            masks.append(encode_runs(runs if runs[-1] else runs[:-1], (labels.shape[0], labels.shape[1])))
    return masks


def _as_rle(rle: dict[str, Any]) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
