"""Plots of lines and points for reports, as PNG; matplotlib draws them without a screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opensam.files import replacing

DPI = 110
COLORS = ("#1f5fbf", "#d1495b", "#2e8b57", "#c98a1b", "#7a55b5", "#2a9aa8", "#6b6f76")
"""Of the lines, in turn; told apart in grey too, together with their markers."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Line:
    """Something with a name in the key of a plot.

    Attributes:
        name: in the key.
        xs: of its points.
        ys: as many.
        kind: "line" with a marker at each point, "curve" without (many points), "dashed" for what is only there
            to compare with, "points" alone.
        color: as matplotlib reads it; None: the next of `COLORS`.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    kind: Literal["line", "curve", "dashed", "points"] = "line"
    color: str | None = None


def plot_lines(
    path: Path,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    x_ticks: Sequence[float] | None = None,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    x_scale: Literal["linear", "log"] = "linear",
    size: tuple[float, float] = (6.4, 4.0),
) -> None:
    """Draw lines over each other; the key stands beside them where there are several.

    Args:
        path: of the PNG, whose folder is made if it is missing.
        lines: the important ones first.
        x_label: what lies to the right, with its unit.
        y_label: what goes up, with its unit.
        x_ticks: the values that are named; None: round ones.
        x_range: the ends of the axis; None: those of the points.
        y_range: likewise.
        x_scale: of the axis to the right.
        size: in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)  # draws without a screen
    axes = figure.subplots()
    for number, line in enumerate(lines):
        dashed, points, curve = (line.kind == kind for kind in ("dashed", "points", "curve"))
        axes.plot(
            line.xs,
            line.ys,
            color=line.color or COLORS[number % len(COLORS)],
            linestyle="none" if points else "--" if dashed else "-",
            linewidth=1.2 if dashed else 1.8,
            marker="" if curve or dashed else _MARKERS[number % len(_MARKERS)],
            markersize=7 if points else 4.5,
            label=line.name,
            zorder=3 + len(lines) - number,  # the first one lies on top
        )
    axes.set(xlabel=x_label, ylabel=y_label, xscale=x_scale)
    _quieten(axes)
    if x_ticks is not None:
        axes.set_xticks(list(x_ticks))
    if x_range is not None:
        axes.set_xlim(*x_range)
    if y_range is not None:
        axes.set_ylim(*y_range)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=9, loc="best")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        # Without the name of the program the same numbers give the same file everywhere.
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _quieten(axes: Any) -> None:
    """What is not data stays in the background."""
    axes.grid(visible=True, color="#e3e5e8", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa0a6")
    axes.tick_params(color="#9aa0a6", labelsize=9)
