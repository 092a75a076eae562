"""Masks as run lengths: placed, cropped, scaled, joined and compared without ever being unpacked.

An `Rle` is COCO's compressed text. What these functions cost grows with the runs of a mask (two for each column
that it covers, more where it has holes), not with the picture: a mask in 20,000 x 20,000 pixels costs as much as
in a small picture. Coordinates are (x, y) in pixels; sizes are (H, W). No function changes its arguments; each one
raises ValueError where the runs of an RLE do not fill its `size` exactly.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco
from typing_extensions import TypedDict

_MOST = 2**32 - 1  # pixels: pycocotools counts in 32 bits

Ints = NDArray[np.int64]


class Rle(TypedDict):
    """COCO's compressed run-length encoding: `size` is [H, W], `counts` the runs column by column as text."""

    size: list[int]
    counts: str


def place_rle(rle: Rle, origin: Sequence[int], size: Sequence[int]) -> Rle:
    """The mask of a part of a picture as mask of the whole picture; outside the part is outside.

    Args:
        rle: of size (h, w).
        origin: (x, y) of the part's top left pixel in the picture.
        size: (H, W) of the picture.

    Raises:
        ValueError: the part leaves the picture, or a damaged RLE.
    """
    columns, tops, bottoms = _spans(rle)
    x, y = _inside(origin, rle["size"], size)
    return _from_spans(columns + x, tops + y, bottoms + y, size)


def crop_rle(rle: Rle, origin: Sequence[int], size: Sequence[int]) -> Rle:
    """The part of a mask inside a window of its picture.

    Args:
        rle: of the whole picture.
        origin: (x, y) of the window's top left pixel in the picture.
        size: (h, w) of the window.

    Raises:
        ValueError: the window leaves the picture, or a damaged RLE.
    """
    columns, tops, bottoms = _spans(rle)
    x, y = _inside(origin, size, rle["size"])
    tops, bottoms = (tops - y).clip(min=0), (bottoms - y).clip(max=size[0])
    kept = (columns >= x) & (columns < x + size[1]) & (tops < bottoms)
    return _from_spans(columns[kept] - x, tops[kept], bottoms[kept], size)


def resize_rle(rle: Rle, size: Sequence[int]) -> Rle:
    """A mask scaled to (H, W): each pixel is what lies under its centre, so enlarged outlines have steps.

    Raises:
        ValueError: a side below 1, or a damaged RLE.
    """
    columns, tops, bottoms = _spans(rle)
    _inside((0, 0), (1, 1), size)
    (height, width), (old_height, old_width) = size, rle["size"]
    tops, bottoms = _scaled(tops, old_height, height), _scaled(bottoms, old_height, height)
    lefts = _scaled(columns, old_width, width)
    copies = np.where(tops < bottoms, _scaled(columns + 1, old_width, width) - lefts, 0)
    columns = np.repeat(lefts, copies) + _places(copies)
    order = np.argsort(columns, kind="stable")  # within a column the spans stay in their order, from top to bottom
    return _from_spans(columns[order], np.repeat(tops, copies)[order], np.repeat(bottoms, copies)[order], size)


def rle_to_box(rle: Rle) -> Ints:
    """The tight box of a mask, (4,) XYXY with both corners inside as in `mask_to_box`; zeros if it is empty."""
    columns, tops, bottoms = _spans(rle)
    if columns.size == 0:
        return np.zeros(4, dtype=np.int64)
    return np.array([columns[0], tops.min(), columns[-1], bottoms.max() - 1])


def rle_union(rles: Sequence[Rle]) -> Rle:
    """What lies inside at least one mask.

    Raises:
        ValueError: no mask, masks of different sizes, or a damaged RLE.
    """
    return _merged(rles, intersect=False)


def rle_intersection(rles: Sequence[Rle]) -> Rle:
    """What lies inside all masks.

    Raises:
        ValueError: no mask, masks of different sizes, or a damaged RLE.
    """
    return _merged(rles, intersect=True)


def rle_iou(rles: Sequence[Rle], others: Sequence[Rle]) -> NDArray[np.float64]:
    """Intersection over union of each pair of masks, (N, M) in [0, 1]; 0 for two empty masks.

    Raises:
        ValueError: masks of different sizes, or a damaged RLE.
    """
    _check_same_size([*rles, *others])
    if not rles or not others:
        return np.zeros((len(rles), len(others)))
    return np.asarray(coco.iou(list(rles), list(others), [False] * len(others)), dtype=np.float64)


def join_edges(parts: Sequence[Ints]) -> Ints:
    """The edges of one mask from those of its columns, from left to right; runs that meet become one.

    Edges are the numbers of the pixels, counted column by column, at which a mask begins, ends, begins again and so on.
    """
    edges = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    meets = np.flatnonzero(edges[1:] == edges[:-1])  # ends at the bottom of a column, begins at the top of the next
    return np.delete(edges, np.concatenate([meets, meets + 1]))


def encode_edges(edges: Ints, size: Sequence[int]) -> Rle:
    """The RLE of a mask with these edges (see `join_edges`) in a picture of `size` (H, W).

    Raises:
        ValueError: the picture has more pixels than an RLE can count.
    """
    height, width = (int(side) for side in size)
    if height * width > _MOST:
        raise ValueError(f"expected a picture of at most {_MOST} pixels for an RLE, got {height} x {width}; cut it up.")
    runs = np.diff(np.concatenate([[0], edges, [height * width]]))
    runs = runs[:-1] if runs[-1] == 0 else runs  # the last run is inside: no empty one follows
    counts = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)["counts"]
    return {"size": [height, width], "counts": counts.decode("ascii")}


def read_runs(rle: Rle) -> Ints:
    """The lengths of the runs, outside and inside in turn, checked to fill `size`.

    pycocotools reads them too, but answers runs that do not fill the picture with uninitialised memory.
    """
    size, counts = rle["size"], rle["counts"]
    runs = _parse_counts(counts)
    pixels = size[0] * size[1] if len(size) == 2 and min(size) > 0 else -1
    # Each for itself, too: the sum of long runs goes round in 64 bits, and can come out right.
    if runs.min(initial=0) < 0 or runs.max(initial=0) > pixels or runs.sum() != pixels:
        raise ValueError(
            f"expected a compressed COCO RLE whose runs fill its size, got size {size} and "
            f"{runs.sum()} pixels of runs; the record is damaged or belongs to another picture."
        )
    return runs


def _parse_counts(counts: str) -> Ints:
    """The runs written in `counts`; none at all when it is not such a text.

    A run is written in groups of 5 bits, lowest first, as characters from "0" on; the sixth bit says that
    another group follows, the fifth of the last group is the sign. From the fourth on, a run is written as
    its difference to the one two before.
    """
    codes = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero((codes & 32) == 0)
    if ends.size == 0 or ends[-1] != codes.size - 1 or codes.min() < 0 or codes.max() > 63:
        return np.zeros(0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, ends - starts + 1))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, 32 << shifts[ends], 0)
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs


def _spans(rle: Rle) -> tuple[Ints, Ints, Ints]:
    """The mask as vertical spans (column, first row, row after the last), ordered by column, then row.

    A run goes on from the bottom of a column at the top of the next; here it is cut there.
    """
    edges = read_runs(rle).cumsum()
    ends = edges[1::2]
    starts = edges[0::2][: ends.size]
    starts, ends = starts[starts < ends], ends[starts < ends]  # some encoders write runs of length 0
    height = rle["size"][0]
    first = starts // height
    pieces = (ends - 1) // height - first + 1
    columns = np.repeat(first, pieces) + _places(pieces)
    tops = (np.repeat(starts, pieces) - columns * height).clip(min=0)
    bottoms = (np.repeat(ends, pieces) - columns * height).clip(max=height)
    return columns, tops, bottoms


def _from_spans(columns: Ints, tops: Ints, bottoms: Ints, size: Sequence[int]) -> Rle:
    """The RLE of spans that are not empty, do not overlap, and have the order of `_spans`."""
    height = int(size[0])
    edges = np.column_stack([columns * height + tops, columns * height + bottoms]).ravel()
    return encode_edges(join_edges([edges]), size)


def _places(copies: Ints) -> Ints:
    """0, 1, ... within each group of `copies` repeated elements."""
    return np.arange(copies.sum()) - np.repeat(copies.cumsum() - copies, copies)


def _scaled(edges: Ints, old: int, new: int) -> Ints:
    """The first pixel of a side of length `new` whose centre lies at or behind these edges of one of length `old`."""
    return -((old - 2 * edges * new) // (2 * old))


def _inside(origin: Sequence[int], part: Sequence[int], whole: Sequence[int]) -> tuple[int, int]:
    """The origin, checked: a part of that size lies inside the whole."""
    (x, y), (h, w), (height, width) = origin, part, whole
    if min(x, y) < 0 or min(h, w) < 1 or x + w > width or y + h > height:
        raise ValueError(
            f"expected a part inside the picture of size (H, W) = {(height, width)}, "
            f"got {(h, w)} from (x, y) = {(x, y)} on; origins are (x, y), sizes (H, W)."
        )
    return int(x), int(y)


def _merged(rles: Sequence[Rle], intersect: bool) -> Rle:
    if not rles:
        raise ValueError("expected at least one RLE to join, got none.")
    _check_same_size(rles)
    merged = coco.merge(list(rles), intersect=intersect)
    return {"size": [int(side) for side in merged["size"]], "counts": merged["counts"].decode("ascii")}


def _check_same_size(rles: Sequence[Rle]) -> None:
    # pycocotools answers different sizes with an empty mask or -1, and damaged runs with whatever is in memory.
    for rle in rles:
        read_runs(rle)
        if list(rle["size"]) != list(rles[0]["size"]):
            raise ValueError(
                f"expected masks of one picture, got the sizes {rles[0]['size']} and {rle['size']}; "
                "bring crops into the picture with place_rle."
            )
