"""Which mask found which: the matching of COCO and LVIS, picture by picture, and average precision from all of them.

A picture is judged alone and becomes a value that JSON holds, so that pictures can be spread over processes. The
numbers equal those of pycocotools and of the package lvis; tests compare. The one difference: pycocotools takes
annotations with the id 0 for missed, whatever found them.

Letters: D detections, G annotations, T IoU thresholds, R recall levels, A ranges of area, K categories.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from opensam.data.ground_truth import FREQUENCIES, Annotation, Category, Truth
from opensam.image import Rgb
from opensam.masks import Rle, area

IOUS = np.linspace(0.5, 0.95, 10)
"""The thresholds that AP and AR are means over: .50, .55, ..., .95."""

AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Ranges of area in pixels, both ends inside, as COCO has them."""

PER_CATEGORY = 100
"""Of one category in one picture, COCO counts so many detections."""

PER_PICTURE = 300
"""Of one picture, LVIS counts so many detections."""

_RECALLS = np.linspace(0.0, 1.0, 101)
_FOUND, _WRONG, _IGNORED = b"+-."


@dataclass(frozen=True)
class Detection:
    """A mask that somebody found, what it is, and how sure that is."""

    category: int
    score: float
    segmentation: Rle


def check_size(picture: Rgb, truth: Truth) -> None:
    """Refuse a picture (H, W, 3) that is not of the size of its annotations. Raises ValueError."""
    if picture.shape[:2] != truth.size:
        raise ValueError(
            f"expected a picture of (H, W) = {truth.size}, as its annotations say, got {picture.shape[:2]}; "
            "they belong to another picture"
        )


def overlaps(masks: Sequence[Rle], annotations: Sequence[Annotation]) -> NDArray[np.float64]:
    """IoU (D, G) of masks with annotations; with a crowd, the part of the mask that lies in it."""
    if not masks or not annotations:
        return np.zeros((len(masks), len(annotations)))
    crowds = [int(one.crowd) for one in annotations]
    ious = coco.iou(list(masks), [one.segmentation for one in annotations], crowds)
    return np.asarray(ious, dtype=np.float64)


def in_range(pixels: float, name: str) -> bool:
    """Whether an area is in a range of AREAS."""
    low, high = AREAS[name]
    return low <= pixels <= high


def match(ious: NDArray[np.float64], ignored: Sequence[bool], crowds: Sequence[bool]) -> NDArray[np.int64]:
    """Which annotation each detection finds, if an overlap counts from each of IOUS on.

    One after the other takes what it overlaps most of what is left; an ignored annotation only where nothing else is.
    A crowd can be taken by many. Of equal overlaps the last annotation is taken, as in pycocotools.

    Args:
        ious: (D, G), detections by falling score.
        ignored: (G,) annotations that are not looked for, crowds among them.
        crowds: (G,).

    Returns:
        (T, D) the number of the annotation; -1: none.
    """
    found = np.full((len(IOUS), len(ious)), -1, dtype=np.int64)
    left, taken_once = np.ones((len(IOUS), ious.shape[1]), dtype=np.bool_), ~np.asarray(crowds, dtype=np.bool_)
    limits, rows = np.minimum(IOUS, 1 - 1e-10)[:, None], np.arange(len(IOUS))
    wanted = ~np.asarray(ignored, dtype=np.bool_)
    for number in np.flatnonzero(ious.max(axis=1, initial=0) >= limits[0]):
        possible = left & (ious[number] >= limits)
        for group in (possible & wanted, possible & ~wanted):
            values = np.where(group, ious[number], -1.0)[:, ::-1]
            best = ious.shape[1] - 1 - values.argmax(axis=1)
            chosen = group[rows, best] & (found[:, number] < 0)
            found[chosen, number] = best[chosen]
        hits = found[:, number] >= 0
        left[rows[hits], found[hits, number]] &= ~taken_once[found[hits, number]]
    return found


def counted(categories: Sequence[int], scores: Sequence[float], federated: bool) -> list[int]:
    """Which detections of one picture can count, by falling score: PER_CATEGORY of COCO, PER_PICTURE of LVIS."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable").tolist()
    if federated:
        return order[:PER_PICTURE]
    seen: Counter[int] = Counter()
    kept = []
    for number in order:
        seen[categories[number]] += 1
        if seen[categories[number]] <= PER_CATEGORY:
            kept.append(number)
    return kept


def judge(detections: Sequence[Detection], truth: Truth, federated: bool) -> dict[str, Any]:
    """What of the detections of a picture is right, for `average_precision`.

    Args:
        detections: of the picture.
        truth: what is in it.
        federated: as LVIS does it: a category counts only where it was looked for, and what nobody annotated is no
            mistake where not every instance is annotated.

    Returns:
        `truths`: for each category that is there its id and how many are looked for in each of AREAS.
        `detections`: for each that counts its category, its score, and a text for each of AREAS with a mark for each
        of IOUS: + found, - wrong, . not counted.
    """
    numbers = counted([one.category for one in detections], [one.score for one in detections], federated)
    by_category: dict[int, list[Detection]] = defaultdict(list)
    for number in numbers:
        if not federated or area(detections[number].segmentation):  # LVIS does not see an empty mask
            by_category[detections[number].category].append(detections[number])
    annotations: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in truth.annotations:
        annotations[annotation.category].append(annotation)
    looked_for = annotations.keys() | (truth.negatives if federated else by_category.keys())
    value: dict[str, Any] = {"truths": [], "detections": []}
    for category in sorted(looked_for):
        there, found = annotations[category], by_category[category]
        if there:
            sought = [sum(not one.crowd and in_range(one.area, name) for one in there) for name in AREAS]
            value["truths"].append([category, *sought])
        lenient = federated and category in truth.not_exhaustive
        value["detections"] += [
            [category, float(one.score), *marks]
            for one, marks in zip(found, _marks(found, there, lenient), strict=True)
        ]
    return value


def _marks(found: Sequence[Detection], there: Sequence[Annotation], lenient: bool) -> list[list[str]]:
    """For each of the detections of one category a text for each of AREAS; see `judge`."""
    ious = overlaps([one.segmentation for one in found], there)
    pixels = [area(one.segmentation) for one in found]
    columns = []
    for name in AREAS:
        ignored = np.array([one.crowd or not in_range(one.area, name) for one in there], dtype=np.bool_)
        matched = match(ious, ignored.tolist(), [one.crowd for one in there])
        hit = matched >= 0
        beside_the_point = np.array([lenient or not in_range(size, name) for size in pixels], dtype=np.bool_)
        of_ignored = np.append(ignored, False)[matched]  # -1 is the last
        codes = np.where(np.where(hit, of_ignored, beside_the_point), _IGNORED, np.where(hit, _FOUND, _WRONG))
        columns.append([bytes(row).decode() for row in codes.T.astype(np.uint8)])
    return [list(texts) for texts in zip(*columns, strict=True)]


def average_precision(values: Iterable[Mapping[str, Any]], categories: Mapping[int, Category]) -> dict[str, Any]:
    """AP and its kin from what `judge` gave for all pictures, in their order.

    Returns:
        `AP`, `AP50`, `AP75`, `AP small`, `AP medium`, `AP large`; `AP r`, `AP c`, `AP f` where categories have a
        frequency; `AR` at the number of detections that count; each in [0, 1], None where nothing is looked for.
        `categories`: the AP of each category by its name, of those that are looked for.
    """
    sought: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(len(AREAS), dtype=np.int64))
    scores: dict[int, list[float]] = defaultdict(list)
    texts: dict[int, list[str]] = defaultdict(list)
    for value in values:
        for category, *counts in value["truths"]:
            sought[category] += counts
        for category, score, *marks in value["detections"]:
            scores[category].append(score)
            texts[category].append("".join(marks))
    precision = np.full((len(IOUS), len(_RECALLS), len(categories), len(AREAS)), -1.0)
    recall = np.full((len(IOUS), len(categories), len(AREAS)), -1.0)
    for k, category in enumerate(categories):
        order = np.argsort(-np.array(scores[category]), kind="stable")
        marks = np.frombuffer("".join(texts[category]).encode(), dtype=np.uint8)
        marks = marks.reshape(-1, len(AREAS), len(IOUS))[order]
        for a, count in enumerate(sought[category].tolist()):
            if count:
                precision[:, :, k, a], recall[:, k, a] = _curves(marks[:, a], count)
    return _means(precision, recall, categories)


def _curves(marks: NDArray[np.uint8], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision (T, R) at levels of recall, and the recall (T,) of all, from marks (D, T) by falling score."""
    found, wrong = ((marks == mark).cumsum(axis=0).astype(np.float64).T for mark in (_FOUND, _WRONG))
    curve = found / (wrong + found + np.spacing(1))
    curve = np.maximum.accumulate(curve[:, ::-1], axis=1)[:, ::-1]  # a later precision may be higher: take it
    curve = np.pad(curve, ((0, 0), (0, 1)))  # beyond the recall that is reached, 0
    levels = [np.searchsorted(row / count, _RECALLS, side="left") for row in found]
    precision = np.stack([row[level] for row, level in zip(curve, levels, strict=True)])
    return precision, (found[:, -1] / count if len(marks) else np.zeros(len(IOUS)))


def _means(
    precision: NDArray[np.float64], recall: NDArray[np.float64], categories: Mapping[int, Category]
) -> dict[str, Any]:
    """What is reported, from precision (T, R, K, A) and recall (T, K, A)."""
    result = {"AP": _mean(precision[..., 0]), "AP50": _mean(precision[0, ..., 0]), "AP75": _mean(precision[5, ..., 0])}
    result |= {f"AP {name}": _mean(precision[..., a]) for a, name in enumerate(AREAS) if a}
    for frequency in FREQUENCIES:
        if rows := [k for k, one in enumerate(categories.values()) if one.frequency == frequency]:
            result[f"AP {frequency}"] = _mean(precision[:, :, rows, 0])
    each = {one.name: _mean(precision[:, :, k, 0]) for k, one in enumerate(categories.values())}
    return {
        **result,
        "AR": _mean(recall[..., 0]),
        "categories": {name: value for name, value in each.items() if value is not None},
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    """Over those that exist (not -1)."""
    return float(values[values > -1].mean()) if (values > -1).any() else None
