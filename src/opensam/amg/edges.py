"""Masks as the places where they begin and end: what a run-length encoding says, easy to place in a larger picture.

The pixels of a picture of height H are numbered column by column, pixel (x, y) has the number x * H + y, as in
COCO's encoding. `edges` are the numbers at which a mask begins, ends, begins again and so on: rising, int64, an even
number of them. `opensam.rle` joins and encodes them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from opensam.masks import Mask
from opensam.rle import join_edges

Edges = NDArray[np.int64]


def find_edges(mask: Mask, x0: int, y0: int, height: int) -> Edges:
    """The edges of a mask (h, w) whose first pixel is pixel (x0, y0) of a picture of this height."""
    h, w = mask.shape
    if not mask.size:
        return np.zeros(0, dtype=np.int64)
    framed = np.zeros((h + 2, w), dtype=np.uint8)  # nothing above and below: no run goes on in the next column
    framed[1:-1] = mask
    pixels = cv2.transpose(framed).reshape(-1)  # the transposed copy of numpy takes five times as long
    columns, rows = np.divmod(np.flatnonzero(pixels[1:] != pixels[:-1]), h + 2)
    return join_edges([(columns + x0) * height + rows + y0])


def paint_edges(edges: Edges, box: tuple[int, int, int, int], height: int) -> Mask:
    """The part of a mask in a box, XYXY half open, of a picture of this height."""
    x0, y0, x1, y1 = box
    marks = np.concatenate([[x0 * height], edges.clip(x0 * height, x1 * height), [x1 * height]])
    runs = np.diff(marks)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(x1 - x0, height)
    return np.ascontiguousarray(columns[:, y0:y1].T)
