"""Pictures of what proposals and instances get wrong, and curves of recall."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opensam import image
from opensam.data.ground_truth import GroundTruth
from opensam.eval.matching import IOUS
from opensam.eval.proposals import LIMITS, average_recall
from opensam.files import replacing
from opensam.image import Rgb
from opensam.masks import Mask, Rle, decode_rle
from opensam.rle import rle_to_box

TRUTH, OURS, BOX = "#00d0e0", "#ff7a1a", "#ffe45c"
"""Colours that photographs rarely have; told apart by people who do not see red and green."""

COLUMNS = 6
_AROUND = 0.6  # of a thing's longer side is shown around it on each side, and at least so many pixels:
_AT_LEAST = 24


@dataclass(frozen=True)
class Tile:
    """A thing in a picture, to be shown.

    Attributes:
        title: a line above it.
        rgb: the part of the picture around it, (h, w, 3).
        truth: its mask there, (h, w) bool.
        ours: what came instead; None: nothing.
        box: XYXY there, what was asked; None: nothing.
    """

    title: str
    rgb: Rgb
    truth: Mask
    ours: Mask | None
    box: NDArray[np.float64] | None = None


def cut_tile(
    truth: GroundTruth, row: int, annotation: int, title: str, ours: Rle | None, box: Sequence[float] | None = None
) -> Tile:
    """A tile around an annotation, by its id, of picture `row`; box XYXY."""
    (sought,) = (one for one in truth.read(row).annotations if one.id == annotation)
    rgb, mask = image.read(truth.picture(row)), decode_rle(sought.segmentation)
    x0, y0, x1, y1 = rle_to_box(sought.segmentation).tolist()
    margin = max(_AT_LEAST, int(_AROUND * max(x1 - x0, y1 - y0)))
    left, top = max(0, x0 - margin), max(0, y0 - margin)
    window = np.s_[top : y1 + margin + 1, left : x1 + margin + 1]
    return Tile(
        title,
        rgb[window],
        mask[window],
        None if ours is None else decode_rle(ours)[window],
        None if box is None else np.array(box) - (left, top, left, top),
    )


def draw_sheet(path: Path, rows: Sequence[tuple[str, Sequence[Tile]]]) -> None:
    """Write rows of at most COLUMNS tiles, each with a word before it or none, as one PNG."""
    from matplotlib.figure import Figure

    width, height = 2.1 * COLUMNS + 0.4, 2.35 * len(rows)
    figure = Figure(figsize=(width, height))
    # Set by hand: matplotlib takes seconds to lay out so many axes.
    grid = figure.subplots(len(rows), COLUMNS, squeeze=False)
    figure.subplots_adjust(0.35 / width, 0.05 / height, 1, 1 - 0.25 / height, wspace=0.04, hspace=0.12)
    for line, (name, tiles) in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
        line[0].set_ylabel(name, fontsize=9)
        for axes, tile in zip(line, tiles, strict=False):
            _draw_tile(axes, tile)
    _write(path, figure)


def draw_recall(path: Path, summary: Mapping[str, Any], groups: Sequence[str]) -> None:
    """Write curves of the recall over the IoU that counts, and of AR over the number of proposals, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    over_iou, over_number = figure.subplots(1, 2, sharey=True)
    for group in groups:
        recall = summary["groups"][group]["recall"]
        over_iou.plot(IOUS, recall[-1], marker="o", markersize=3, label=group)
        over_number.plot(LIMITS, [average_recall(summary, group, limit) for limit in LIMITS], marker="o", markersize=3)
    over_iou.set(xlabel="IoU that counts as found", ylabel="recall", ylim=(0, 1), title=f"{LIMITS[-1]} proposals")
    over_number.set(xlabel="proposals", xscale="log", title="mean over IoU .50 to .95")
    for axes in (over_iou, over_number):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    over_iou.legend(frameon=False)
    _write(path, figure)


def _draw_tile(axes: Any, tile: Tile) -> None:
    axes.imshow(tile.rgb)
    for mask, colour in ((tile.truth, TRUTH), (tile.ours, OURS)):
        if mask is not None and mask.any():
            # With a frame around it, an outline is closed where the mask touches the edge.
            framed = np.pad(mask.astype(np.float32), 1)
            ys, xs = (np.arange(-1, side + 1) for side in mask.shape)
            axes.contour(xs, ys, framed, levels=[0.5], colors=[colour], linewidths=1.4)
    if tile.box is not None:
        x0, y0, x1, y1 = tile.box - 0.5
        axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=BOX, linewidth=1.2, linestyle=(0, (4, 3)))
    height, width = tile.truth.shape
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_title(tile.title, fontsize=8)


def _write(path: Path, figure: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
