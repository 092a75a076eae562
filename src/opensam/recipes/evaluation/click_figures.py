"""What a table of clicks does not show: the curve over clicks, and masks that went wrong, by size and by data set."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from opensam.data.dataset import Dataset
from opensam.data.selection import evenly
from opensam.eval.metrics import SIZES, MethodScores, iou
from opensam.eval.report import Cell, Figure, Table
from opensam.eval.runner import Item
from opensam.eval.segmenters import BoxSegmenter
from opensam.eval.single_point import REPORTED_CLICKS
from opensam.masks import decode_rle, mask_to_box
from opensam.recipes.evaluation.plots import COLORS, Line, plot_lines
from opensam.recipes.evaluation.sheets import Row, SheetMode, Tile, case, write_sheet

FAILED = 0.5
"""A mask is a failure below this IoU: half of it, or of what it should be, is wrong."""
TILES = 5  # of a row
WORST_DATASETS = 6


class Played(NamedTuple):
    """One mask with its scores: its picture, its number there, the share of the picture it covers."""

    item: Item
    mask: int
    share: float
    scores: Mapping[str, float]

    @property
    def size(self) -> float:
        """The one of `SIZES` that it belongs to."""
        return next(bound for bound in SIZES if self.share <= bound)


def played(values: Mapping[Item, Sequence[Mapping[str, Any]]]) -> list[Played]:
    """The masks of `score_source`'s values, in their order."""
    return [Played(item, row["mask"], row["share"], row["scores"]) for item, rows in values.items() for row in rows]


def failure_table(masks: Sequence[Played]) -> Table:
    """How many masks fail, by their size."""
    rows: list[tuple[Cell, ...]] = []
    for bound in SIZES:
        some = [one.scores for one in masks if one.size == bound]
        if some:
            shares = [_share(some, score) for score in ("iou@1", "oracle@1", "iou@3", "box")]
            rows.append((f"up to {100 * bound:g} % of the picture", len(some), *shares))
    heads = ("size of the mask", "masks", "1 click", "1 click, best of 3", "3 clicks", "box")
    return Table(f"Share of masks with an IoU below {FAILED:g}", heads, tuple(rows), (0, 3, 3, 3, 3))


def _share(rows: Sequence[Mapping[str, float]], score: str) -> float | None:
    known = [row[score] for row in rows if score in row]
    return float(np.mean([value < FAILED for value in known])) if known else None


def draw_curve(out: Path, methods: Sequence[MethodScores]) -> Figure:
    """Mean IoU over clicks, a line per method, with what boxes give and the best of three candidates as points."""
    lines = []
    for method, color in zip(methods, COLORS, strict=False):
        mean = method.mean
        clicks = [click for click in REPORTED_CLICKS if f"iou@{click}" in mean]
        if clicks:
            lines.append(Line(method.method, clicks, [mean[f"iou@{click}"] for click in clicks], color=color))
        if method is methods[0] and "oracle@1" in mean:
            lines.append(Line(f"{method.method}, best of 3", [1], [mean["oracle@1"]], "points", color))
        ends = (min(REPORTED_CLICKS), max(REPORTED_CLICKS))
        lines.append(Line(f"{method.method}, box", ends, [mean["box"]] * 2, "dashed", color))
    path = "clicks/curve.png"
    plot_lines(out / path, lines, "clicks", "mean IoU", x_ticks=REPORTED_CLICKS, y_range=(0, 1))
    return Figure(path, "Mean IoU over clicks, a mean over data sets of means over masks; dashed: from a box.")


def draw_failures(
    out: Path, masks: Sequence[Played], datasets: Sequence[Dataset], make: Callable[[], BoxSegmenter], mode: SheetMode
) -> tuple[Figure, ...]:
    """Sheets of masks that fail from a box: by size, and of the data sets with the lowest IoU.

    The answers are made again: only their scores were kept.
    """
    if mode == "none":
        return ()
    segmenter = make()
    failed = [one for one in masks if one.scores["box"] < FAILED]
    by_size = {f"up to {100 * bound:g} % of the picture": _of(failed, "size", bound) for bound in SIZES}
    means: dict[str, list[float]] = {}
    for one in masks:
        means.setdefault(one.item.dataset, []).append(one.scores["box"])
    worst = sorted(means, key=lambda name: np.mean(means[name]))[:WORST_DATASETS]
    by_dataset = {
        f"{name}: mean IoU {np.mean(means[name]):.2f}": [one for one in failed if one.item.dataset == name]
        for name in worst
    }
    figures = []
    for name, groups, caption in (
        ("sizes", by_size, "by the size of the mask"),
        ("datasets", by_dataset, "of the data sets with the lowest IoU"),
    ):
        rows = [
            Row([_tile(one, datasets, segmenter, mode) for one in _some(group)], heading)
            for heading, group in groups.items()
            if group
        ]
        if rows:
            path = f"clicks/failures_{name}.jpg"
            write_sheet(out / path, rows)
            words = f"Boxes whose mask fails (IoU below {FAILED:g}), {caption}."
            figures.append(Figure(path, f"{words} Green: the true outline; blue: the answer."))
    return tuple(figures)


def _of(masks: Sequence[Played], what: str, value: float) -> list[Played]:
    return [one for one in masks if getattr(one, what) == value]


def _some(masks: Sequence[Played]) -> list[Played]:
    """Evenly spaced from the worst to the best of them."""
    ranked = sorted(masks, key=lambda one: (one.scores["box"], one.item.key, one.mask))
    return [ranked[number] for number in evenly(len(ranked), TILES)]


def _tile(one: Played, datasets: Sequence[Dataset], segmenter: BoxSegmenter, mode: SheetMode) -> Tile:
    dataset, row = one.item.place
    source = datasets[dataset].read(row)
    image, truth = source.rgb, decode_rle(source.masks[one.mask])
    box = mask_to_box(truth).astype(np.float64)
    answer = segmenter.segment_boxes(segmenter.embed(image), box[None])[0]
    shown = image if mode == "photos" else (image.shape[0], image.shape[1])
    caption = f"{one.item.dataset}  IoU {float(iou(answer, truth)):.2f}\n{one.item.name} mask {one.mask}"
    return Tile(case(shown, truth, answer, box=box), caption)
