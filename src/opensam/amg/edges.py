"""Masks as the places where they begin and end: what a run-length encoding says, easy to place in a larger picture.

The pixels of a picture of height H are numbered column by column, pixel (x, y) has the number x * H + y, as in
COCO's encoding. `edges` are the numbers at which a mask begins, ends, begins again and so on: rising, int64, an even
number of them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from opensam.masks import Mask, Rle

Edges = NDArray[np.int64]


def find_edges(mask: Mask, x0: int, y0: int, height: int) -> Edges:
    """The edges of a mask (h, w) whose first pixel is pixel (x0, y0) of a picture of this height."""
    framed = np.zeros((mask.shape[1], mask.shape[0] + 2), dtype=np.bool_)
    framed[:, 1:-1] = mask.T
    columns, rows = np.nonzero(framed[:, 1:] != framed[:, :-1])
    return join_edges([(columns + x0) * height + rows + y0])


def join_edges(parts: Sequence[Edges]) -> Edges:
    """The edges of one mask from those of its columns, from left to right; runs that meet become one."""
    edges = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    meets = np.flatnonzero(edges[1:] == edges[:-1])  # ends at the bottom of a column, begins at the top of the next
    return np.delete(edges, np.concatenate([meets, meets + 1]))


def count_runs(edges: Edges, size: tuple[int, int]) -> list[int]:
    """The lengths of the runs, outside and inside in turn, of a picture of `size` (H, W): COCO's uncompressed counts."""
    height, width = size
    runs: list[int] = np.diff(np.concatenate([[0], edges, [height * width]])).tolist()
    return runs[:-1] if runs[-1] == 0 else runs  # the mask has the last pixel


def encode_edges(edges: Edges, size: tuple[int, int]) -> Rle:
    """The COCO encoding for a picture of `size` (H, W), equal to that of `masks.encode_rle`."""
    height, width = size
    rle = coco.frPyObjects({"size": [height, width], "counts": count_runs(edges, size)}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def paint_edges(edges: Edges, box: tuple[int, int, int, int], height: int) -> Mask:
    """The part of a mask in a box, XYXY half open, of a picture of this height."""
    x0, y0, x1, y1 = box
    marks = np.concatenate([[x0 * height], edges.clip(x0 * height, x1 * height), [x1 * height]])
    runs = np.diff(marks)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(x1 - x0, height)
    return np.ascontiguousarray(columns[:, y0:y1].T)
