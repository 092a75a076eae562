"""Pictures of what proposals and instances get wrong, and curves of recall."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opensam import image
from opensam.data.ground_truth import GroundTruth
from opensam.eval.matching import IOUS
from opensam.eval.proposals import LIMITS, average_recall
from opensam.eval.report import Figure
from opensam.masks import Rle, decode_rle
from opensam.recipes.evaluation.plots import Line, plot_lines
from opensam.recipes.evaluation.sheets import SheetMode, Tile, case

COLUMNS = 6  # of a sheet


def cut_tile(
    truth: GroundTruth,
    place: tuple[int, int],
    caption: str,
    ours: Rle | None,
    mode: SheetMode,
    box: Sequence[float] | None = None,
) -> Tile:
    """An annotation and what came instead of it.

    Args:
        truth: the data.
        place: the number of the picture, and the id of the annotation.
        caption: under it.
        ours: what came; None: nothing.
        mode: whether the photograph is shown.
        box: XYXY, what was asked; None: nothing.
    """
    row, annotation = place
    (sought,) = (one for one in truth.read(row).annotations if one.id == annotation)
    mask = decode_rle(sought.segmentation)
    shown = image.read(truth.picture(row)) if mode == "photos" else (mask.shape[0], mask.shape[1])
    return Tile(case(shown, mask, None if ours is None else decode_rle(ours), box=box), caption)


def draw_recall(out: Path, folder: str, summary: Mapping[str, Any], groups: Sequence[str]) -> tuple[Figure, ...]:
    """Write curves of the recall over the IoU that counts, and of AR over the number of proposals."""
    recalls = {group: summary["groups"][group]["recall"][-1] for group in groups}
    numbers = {group: [average_recall(summary, group, limit) or 0.0 for limit in LIMITS] for group in groups}
    figures = (
        Figure(f"{folder}/recall.png", f"Recall of {LIMITS[-1]} proposals over the IoU that counts as found."),
        Figure(f"{folder}/number.png", "AR, a mean over IoU .50 to .95, over the number of proposals."),
    )
    lines = [Line(group, [float(one) for one in IOUS], values) for group, values in recalls.items()]
    plot_lines(out / figures[0].file, lines, "IoU that counts as found", "recall", y_range=(0, 1))
    lines = [Line(group, LIMITS, values) for group, values in numbers.items()]
    plot_lines(out / figures[1].file, lines, "proposals", "average recall", y_range=(0, 1), x_scale="log")
    return figures
