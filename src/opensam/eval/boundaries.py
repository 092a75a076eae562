"""The boundary benchmark of BSDS500: maps of edges against the boundaries that several people drew.

A map is cut at many thresholds and thinned. At each, its pixels are matched one to one with those of each annotator,
at most a small distance apart (Martin et al. 2004). A pixel is right if any annotator has it (precision); recall adds
up over the annotators. The figures are those of `edgesEvalDir` and of `collect_eval_bdry`, the original programs:

- ODS: the best F-measure over the thresholds, one threshold for all pictures;
- OIS: with the best threshold of each picture, counts added up before F;
- AP: the mean precision over recalls 0, 0.01, ... 1, where recalls that no threshold reaches count as 0;
- R50: the recall at a precision of one half.

Letters: A annotators, K thresholds, N pixels of a map, M pixels of an annotator, (H, W) the picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

THRESHOLDS = 99
"""How many, evenly spaced inside (0, 1), as in the original."""
MAX_DISTANCE = 0.0075
"""How far apart matched pixels may be, as a share of the diagonal of the picture, as in the original."""

_TINY = 2.0**-52  # where the original divides, it divides by this at least
_STEPS = 100  # between neighbouring thresholds, where the original looks for the best F


class Counts(TypedDict):
    """What is counted on one picture, as JSON holds it; lists have an element per threshold.

    Attributes:
        annotated: pixels of all annotators together.
        recalled: how many of them were matched.
        predicted: pixels of the thinned map.
        right: how many of them were matched with a pixel of any annotator.
    """

    annotated: int
    recalled: list[int]
    predicted: list[int]
    right: list[int]


@dataclass(frozen=True)
class BoundaryScores:
    """The result over all pictures; see the top of this module.

    Attributes:
        ods, ois, ap, r50: the four figures.
        threshold, precision, recall: where ODS was found.
        precisions, recalls: K each, over all pictures: the curve.
        best_f: by picture, the F of its best threshold.
    """

    ods: float
    ois: float
    ap: float
    r50: float
    threshold: float
    precision: float
    recall: float
    precisions: list[float]
    recalls: list[float]
    best_f: list[float]


def thresholds(number: int = THRESHOLDS) -> Floats:
    """Thresholds (K,), rising, as the original spaces them: for 99 they are 0.01, 0.02, ... 0.99."""
    return np.linspace(1 / (number + 1), 1 - 1 / (number + 1), number)


def count_matches(
    edges: NDArray[np.floating],
    boundaries: NDArray[np.bool_],
    number: int = THRESHOLDS,
    max_distance: float = MAX_DISTANCE,
) -> Counts:
    """Match the map of one picture with the boundaries of each annotator at each threshold.

    Args:
        edges: (H, W) in [0, 1].
        boundaries: (A, H, W) bool, as people drew them; they are not thinned, as in the original.
        number: of thresholds.
        max_distance: see `MAX_DISTANCE`.

    Raises:
        ValueError: no annotator, sizes that differ, or values outside [0, 1].
    """
    _check(edges, boundaries)
    # A Python number is compared in the precision of the map: a value that was meant to be on a threshold is.
    maps = [thin(edges >= threshold) for threshold in thresholds(number).tolist()]
    numbers = np.flatnonzero(np.logical_or.reduce(maps))  # of the pixels that any of them has
    rows = np.full(edges.size, -1)
    rows[numbers] = np.arange(len(numbers))
    parts = [rows[np.flatnonzero(one)] for one in maps]
    right = [np.zeros(len(part), dtype=np.bool_) for part in parts]
    recalled = np.zeros(number, dtype=np.int64)
    points = np.column_stack(np.unravel_index(numbers, edges.shape))
    reach = max_distance * math.hypot(*edges.shape)
    for one in boundaries:
        pairs = _Pairs(np.argwhere(one), points, reach)
        for k, part in enumerate(parts):
            matched = pairs.match(part)
            right[k] |= matched
            recalled[k] += np.count_nonzero(matched)
    return {
        "annotated": int(np.count_nonzero(boundaries)),
        "recalled": recalled.tolist(),
        "predicted": [len(part) for part in parts],
        "right": [int(np.count_nonzero(one)) for one in right],
    }


def count_agreement(boundaries: NDArray[np.bool_], max_distance: float = MAX_DISTANCE) -> Counts:
    """Match what each annotator drew with what the others drew: how good people are, at one threshold.

    Args:
        boundaries: (A, H, W) bool; with fewer than two annotators nothing is counted.
        max_distance: see `MAX_DISTANCE`.
    """
    total: Counts = {"annotated": 0, "recalled": [0], "predicted": [0], "right": [0]}
    for one in range(len(boundaries) if len(boundaries) > 1 else 0):
        edges, others = boundaries[one].astype(np.float32), np.delete(boundaries, one, axis=0)
        counts = count_matches(edges, others, 1, max_distance)
        total["annotated"] += counts["annotated"]
        for name in ("recalled", "predicted", "right"):
            total[name] = [total[name][0] + counts[name][0]]
    return total


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Lines of one pixel where there were thicker ones: `bwmorph(mask, 'thin', Inf)` of MATLAB.

    That is the first algorithm of Lam, Lee and Suen (1992), until nothing changes. scikit-image has the same, which
    takes half of the time of the whole benchmark; the tests compare the two.

    Args:
        mask: (H, W); what lies outside of it is empty.
    """
    pixels = mask.astype(np.uint8)
    while True:
        before = pixels
        for stays in _STAYS:
            code = cv2.filter2D(pixels, -1, _CODE, borderType=cv2.BORDER_CONSTANT)
            pixels = pixels & np.asarray(cv2.LUT(code, stays), dtype=np.uint8)
        if np.array_equal(pixels, before):
            return pixels.astype(np.bool_)


def _thinning_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Of both halves of a step, by the eight neighbours of a pixel as bits: 1 where it stays.

    The neighbours are numbered from the right one on, counterclockwise, as in the paper.
    """
    x = (np.arange(256)[:, None] >> np.arange(8)) & 1 == 1
    corner, side = x[:, 1::2], np.roll(x[:, ::2], -1, axis=1)  # each corner with the side that comes next
    crossings = (~x[:, ::2] & (corner | side)).sum(axis=1)
    pairs = np.minimum((x[:, ::2] | corner).sum(axis=1), (corner | side).sum(axis=1))
    goes = (crossings == 1) & (pairs >= 2) & (pairs <= 3)
    first = goes & ~((x[:, 1] | x[:, 2] | ~x[:, 7]) & x[:, 0])
    second = goes & ~((x[:, 5] | x[:, 6] | ~x[:, 3]) & x[:, 4])
    return (~first).astype(np.uint8), (~second).astype(np.uint8)


_STAYS = _thinning_tables()
_CODE = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], dtype=np.float32)


class _Pairs:
    """Which pixels (M, 2) of an annotator may be matched with which (N, 2) of a map: those within reach.

    The original solves an assignment: as many pairs as possible, then as near as possible. Here there are as many
    pairs, by a maximum flow that offers the near pixels of both sides first. So recall is that of the original.
    Precision depends on which of equally many pairs are chosen, and comes out higher by half a percent of its value:
    on ten maps of BSDS500 ODS, OIS and AP were 0.002 higher. The assignment takes ten times as long.
    (Hopcroft and Karp's algorithm in scipy can take forever: its issue 26147.)
    """

    def __init__(self, drawn: Ints, found: Ints, reach: float) -> None:
        from scipy.spatial import KDTree

        pairs = KDTree(drawn).sparse_distance_matrix(KDTree(found), reach, output_type="ndarray")
        sources = _ranks(pairs["i"], pairs["v"], len(drawn))[pairs["i"]]
        self.ranks = _ranks(pairs["j"], pairs["v"], len(found))
        targets = self.ranks[pairs["j"]]
        order = np.lexsort((targets, sources))
        self.sources, self.targets = sources[order], targets[order]
        self.counts = len(drawn), len(found)

    def match(self, part: Ints) -> NDArray[np.bool_]:
        """Which pixels of the map, of those with the numbers (n,), find a partner if as many as possible do."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_flow

        drawn, found = self.counts
        there = np.zeros(found, dtype=np.bool_)
        there[self.ranks[part]] = True
        places = np.cumsum(there) - 1  # among those that are there
        usable = there[self.targets]
        number, source, sink = len(part), drawn + len(part), drawn + len(part) + 1
        # Rows of the graph: the annotator's pixels, those of the map, the source, the sink.
        arcs = np.ones(sink + 1, dtype=np.int32)
        arcs[:drawn] = np.bincount(self.sources[usable], minlength=drawn)
        arcs[source:] = drawn, 0
        starts = np.concatenate([[0], np.cumsum(arcs)], dtype=np.int32)
        ends = [drawn + places[self.targets[usable]], np.full(number, sink), np.arange(drawn)]
        heads = np.concatenate(ends, dtype=np.int32)
        graph = csr_array((np.ones(len(heads), np.int32), heads, starts), shape=(sink + 1, sink + 1))
        flow = maximum_flow(graph, source, sink).flow
        arrived = np.zeros(number, dtype=np.bool_)
        arrived[flow[[sink], :].indices - drawn] = flow[[sink], :].data < 0
        return arrived[places[self.ranks[part]]]


def _ranks(numbers: Ints, distances: Floats, count: int) -> Ints:
    """The place of each of `count` pixels when they are sorted by the distance to the nearest of the other side."""
    nearest = np.full(count, np.inf)
    np.minimum.at(nearest, numbers, distances)
    return np.argsort(np.argsort(nearest, kind="stable"), kind="stable")


def summarise(counts: Sequence[Counts]) -> BoundaryScores:
    """The figures from the counts of all pictures.

    Raises:
        ValueError: no pictures, or pictures with different numbers of thresholds.
    """
    sizes = {len(one["right"]) for one in counts}
    if len(sizes) != 1 or not max(sizes):
        raise ValueError(f"expected counts of pictures at the same thresholds, got the numbers {sorted(sizes)}.")
    at = thresholds(sizes.pop())
    tables = np.array([[one["recalled"], one["right"], one["predicted"]] for one in counts], dtype=np.int64)
    annotated = np.array([one["annotated"] for one in counts], dtype=np.int64)
    recalls, precisions = _curve(tables.sum(axis=0), annotated.sum())
    ods, recall, precision, threshold = _best(recalls, precisions, at)
    chosen, best_f = [], []
    for table, total in zip(tables, annotated, strict=True):
        own_recalls, own_precisions = _curve(table, total)
        chosen.append(table[:, int(_f(own_recalls, own_precisions).argmax())])
        best_f.append(_best(own_recalls, own_precisions, at)[0])
    sums = np.sum(chosen, axis=0)
    return BoundaryScores(
        ods=ods,
        ois=float(_f(*_curve(sums, annotated.sum()))),
        ap=_average_precision(recalls, precisions),
        r50=_recall_at_half(recalls, precisions),
        threshold=threshold,
        precision=precision,
        recall=recall,
        precisions=precisions.tolist(),
        recalls=recalls.tolist(),
        best_f=best_f,
    )


def _curve(table: Ints, annotated: int) -> tuple[Floats, Floats]:
    """Recall and precision from rows of what was recalled, right and predicted."""
    recalled, right, predicted = table
    return recalled / max(annotated, _TINY), right / np.maximum(predicted, _TINY)


def _f(recall: Floats, precision: Floats) -> Floats:
    return 2 * recall * precision / np.maximum(recall + precision, _TINY)


def _best(recalls: Floats, precisions: Floats, at: Floats) -> tuple[float, float, float, float]:
    """The best F, with its recall, precision and threshold, on straight lines between neighbouring thresholds."""
    share = np.linspace(0, 1, _STEPS)
    between = [
        (values[:-1, None] * (1 - share) + values[1:, None] * share).ravel() if len(values) > 1 else values
        for values in (recalls, precisions, at)
    ]
    f = _f(between[0], between[1])
    best = int(f.argmax())
    return float(f[best]), *(float(values[best]) for values in between)  # type: ignore[return-value]


def _average_precision(recalls: Floats, precisions: Floats) -> float:
    recalls, first = _unique(recalls)
    if len(recalls) < 2:
        return 0.0
    # The original divides 101 values by 100.
    return float(np.interp(np.arange(101) / 100, recalls, precisions[first], left=0, right=0).sum() / 100)


def _recall_at_half(recalls: Floats, precisions: Floats) -> float:
    """0 where the precision never reaches one half: the original has no answer there."""
    precisions, first = _unique(precisions)
    if precisions[-1] < 0.5:
        return 0.0
    return float(np.interp(max(precisions[0], 0.5), precisions, recalls[first]))


def _unique(values: Floats) -> tuple[Floats, Ints]:
    """The different values, rising, and where each stands; as in MATLAB of today, of equals the first."""
    different, first = np.unique(values, return_index=True)
    return different, first


def _check(edges: NDArray[np.floating], boundaries: NDArray[np.bool_]) -> None:
    if boundaries.ndim != 3 or not len(boundaries) or edges.shape != boundaries.shape[1:]:
        raise ValueError(
            "expected a map of edges (H, W) and boundaries (annotators, H, W) of the same picture, "
            f"got {edges.shape} and {boundaries.shape}; a map has the size of its picture."
        )
    if not (edges.min() >= 0 and edges.max() <= 1):  # NaN fails both
        raise ValueError(f"expected edges in [0, 1], got values from {edges.min()} to {edges.max()}.")
