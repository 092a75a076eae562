"""What the evaluations measure: overlap, clicks to a target, means over masks and then over data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# What RITM, FocalClick and SimpleClick, the paper's baselines, count to.
CLICK_LIMIT = 20

# Upper bounds of the share of its picture that a mask covers; up to 12 %, its sides double from one to the
# next. COCO's small objects end at 0.3 % of a picture of 640 x 480, its medium ones at 3 %.
SIZES = (0.002, 0.008, 0.03, 0.12, 1.0)


@dataclass(frozen=True)
class DatasetScores:
    """One method on one data set.

    Attributes:
        images: how many were used.
        masks: how many were asked for.
        seconds: wall-clock time, reading included.
        scores: the mean of each score over the masks.
    """

    images: int
    masks: int
    seconds: float
    scores: dict[str, float]


@dataclass(frozen=True)
class SizeScores:
    """One method on the masks of one size, whatever data set they come from.

    Attributes:
        up_to: the largest share of its picture that a mask of this size covers; see `SIZES`.
        masks: how many there are.
        scores: the mean of each score over them.
    """

    up_to: float
    masks: int
    scores: dict[str, float]


@dataclass(frozen=True)
class MethodScores:
    """One method on several data sets, by their names, and by the size of the mask."""

    method: str
    datasets: dict[str, DatasetScores]
    sizes: list[SizeScores] = field(default_factory=list)

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each score over the data sets."""
        return mean_scores([dataset.scores for dataset in self.datasets.values()])

    @property
    def images_per_second(self) -> float:
        """Over all data sets, all prompts of an image included."""
        seconds = sum(dataset.seconds for dataset in self.datasets.values())
        return sum(dataset.images for dataset in self.datasets.values()) / max(seconds, 1e-9)


def iou(predictions: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union of masks with the one they should be.

    Args:
        predictions: (..., H, W) bool.
        truth: (H, W) bool.

    Returns:
        (...) in [0, 1]; 1 where both are empty, because nothing is wrong then.

    Raises:
        ValueError: the masks are not bool or differ in height or width.
    """
    if predictions.dtype != np.bool_ or truth.dtype != np.bool_ or predictions.shape[-2:] != truth.shape:
        raise ValueError(
            "iou expects bool masks over the same picture, "
            f"got {predictions.dtype} {predictions.shape} and {truth.dtype} {truth.shape}."
        )
    intersection = np.count_nonzero(predictions & truth, axis=(-2, -1))
    union = np.count_nonzero(predictions | truth, axis=(-2, -1))
    values: NDArray[np.float64] = np.where(union > 0, intersection / np.maximum(union, 1), 1.0)
    return values


def number_of_clicks(ious: Sequence[float], target: float, limit: int = CLICK_LIMIT) -> int:
    """NoC: the first click after which the IoU is at least `target`.

    Args:
        ious: the IoU after click 1, 2, ...; it may end before `limit`.
        target: 0.85 and 0.90 are usual.
        limit: also the answer where the target is never reached.
    """
    return next((click for click, value in enumerate(ious[:limit], start=1) if value >= target), limit)


def scores_by_size(masks: Sequence[tuple[float, Mapping[str, float]]]) -> list[SizeScores]:
    """Means over the masks of each size that occurs, from (share of its picture, scores) of each mask."""
    by_size: dict[float, list[Mapping[str, float]]] = {}
    for share, scores in masks:
        by_size.setdefault(next(bound for bound in SIZES if share <= bound), []).append(scores)
    return [SizeScores(up_to, len(rows), mean_scores(rows)) for up_to, rows in sorted(by_size.items())]


def mean_scores(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each score over rows that have the same ones: first over masks, then over data sets.

    So a data set with many masks counts as much as one with few (paper, section 7.1).

    Raises:
        ValueError: there are no rows, or they have different scores.
    """
    if not rows:
        raise ValueError("mean_scores expects at least one row of scores, got none.")
    names = list(rows[0])
    if any(list(row) != names for row in rows):
        raise ValueError(f"mean_scores expects rows with the same scores, got {[list(row) for row in rows]}.")
    return {name: float(np.mean([row[name] for row in rows])) for name in names}
