"""Edges on BSDS500, with baselines, people and the paper beside them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from opensam import image
from opensam.config import Config
from opensam.data.bsds import Bsds, read_map, write_map
from opensam.eval.boundaries import (
    MAX_DISTANCE,
    THRESHOLDS,
    BoundaryScores,
    count_agreement,
    count_matches,
    summarise,
)
from opensam.eval.edge_baselines import canny, sobel_edges
from opensam.eval.edges import PAPER, Edges, EdgesConfig, find_edges
from opensam.eval.report import Cell, Figure, Headline, Report, Table
from opensam.eval.runner import Item, Measure, list_items
from opensam.files import replacing
from opensam.recipes.evaluation.session import ModelChoice, Session, Setting
from opensam.recipes.evaluation.sheets import Row, SheetMode, Tile, write_sheet

BASELINES: dict[str, tuple[str, Callable[[image.Rgb], Edges]]] = {
    "canny": ("Canny", canny),
    "sobel": ("Sobel", sobel_edges),
}
"""By the name on the command line: the one in the report, and what finds edges."""
PEOPLE = "people, each against the others"
HEADS = ("method", "ODS", "OIS", "AP", "R50")
CURVES, SHEET = "edges/curves.png", "edges/pictures.jpg"


class BenchmarkConfig(Config):
    """What is measured.

    Attributes:
        data: BSDS500 in one of the layouts of `opensam.data.bsds`.
        split: of the published layout.
        maps: a folder of maps `ID.png` of some other method; None: a model finds the edges.
        max_images: at most so many pictures, evenly spaced.
        thresholds: how many; the original has 99.
        max_distance: of matched pixels, as a share of the diagonal.
        edges: how a model finds them.
    """

    data: Path
    split: str = "test"
    maps: Path | None = None
    max_images: int | None = pydantic.Field(None, ge=1)
    thresholds: int = pydantic.Field(THRESHOLDS, ge=1)
    max_distance: float = pydantic.Field(MAX_DISTANCE, gt=0)
    edges: EdgesConfig = EdgesConfig()


def edges(
    config: BenchmarkConfig,
    choice: ModelChoice | None,
    baselines: Sequence[str],
    people: bool,
    setting: Setting,
    sheets: SheetMode = "photos",
) -> Report:
    """Measure a model or maps, and baselines, and write the report; the maps of a model are kept in `maps/`.

    Args:
        config: what is measured.
        choice: the model; None: the maps of the config.
        baselines: keys of `BASELINES`.
        people: whether the annotators are measured against each other.
        setting: where, and by whom.
        sheets: whether photographs are shown.

    Raises:
        ValueError: the data, the model, a picture or a map cannot be used.
    """
    data = Bsds(config.data, config.split)
    items = list_items([data], config.max_images)
    session = Session(setting, "edges", config, choice)
    folder = setting.out / "maps" if config.maps is None else config.maps
    if choice is None:
        ours, start = folder.resolve().name, partial(_from_maps, data, config, folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        ours, start = session.facts["model"], partial(_from_model, data, config, folder, choice)
    measured = {ours: session.measure(ours, items, start)}
    items = list(measured[ours].values)  # all methods on the same pictures
    for name in baselines:
        title, find = BASELINES[name]
        measured[title] = session.measure(title, items, partial(_from_pictures, data, config, find))
    if people:
        measured[PEOPLE] = session.measure(PEOPLE, items, partial(_from_people, data, config))
    scores = {name: summarise(list(one.values.values())) for name, one in measured.items()}
    (setting.out / CURVES).parent.mkdir(parents=True, exist_ok=True)
    draw_curves(setting.out / CURVES, scores)
    if sheets != "none":
        draw_sheet(setting.out / SHEET, data, folder, items, scores[ours].best_f, sheets)
    report = _report(session, config, scores, ours, sheets)
    session.finish(report)
    return report


def _from_model(data: Bsds, config: BenchmarkConfig, folder: Path, choice: ModelChoice) -> Measure:
    predictor = choice.predictor()

    def measure(item: Item) -> Any:
        found = find_edges(predictor, image.read(data.picture(item.place[1])), config.edges)
        write_map(folder / f"{item.name}.png", found)
        return _count_map(data, config, folder, item)

    return measure


def _from_maps(data: Bsds, config: BenchmarkConfig, folder: Path) -> Measure:
    return partial(_count_map, data, config, folder)


def _count_map(data: Bsds, config: BenchmarkConfig, folder: Path, item: Item) -> Any:
    boundaries = data.boundaries(item.place[1])
    found = read_map(folder / f"{item.name}.png", (boundaries.shape[1], boundaries.shape[2]))
    return count_matches(found, boundaries, config.thresholds, config.max_distance)


def _from_pictures(data: Bsds, config: BenchmarkConfig, find: Callable[[image.Rgb], Edges]) -> Measure:
    def measure(item: Item) -> Any:
        found = find(image.read(data.picture(item.place[1])))
        return count_matches(found, data.boundaries(item.place[1]), config.thresholds, config.max_distance)

    return measure


def _from_people(data: Bsds, config: BenchmarkConfig) -> Measure:
    return lambda item: count_agreement(data.boundaries(item.place[1]), config.max_distance)


def _report(
    session: Session, config: BenchmarkConfig, scores: dict[str, BoundaryScores], ours: str, sheets: SheetMode
) -> Report:
    rows: list[tuple[Cell, ...]] = [_row(name, one) for name, one in scores.items()]
    rows += [(name, *values) for name, values in PAPER.items()]
    note = (
        "ODS: best F over the thresholds, one for all pictures. OIS: with the best threshold of each picture. AP: mean "
        "precision over recalls. R50: recall at a precision of one half. People have one threshold, so ODS only."
    )
    figures: tuple[Figure, ...] = (
        Figure(CURVES, "Precision and recall; the grey lines have the F-measure written at their ends."),
    )
    if sheets != "none":
        words = f"The best, the median and the worst picture of {ours}: what people drew, what was found."
        figures += (Figure(SHEET, words),)
    best = scores[ours]
    others = {name: one.ods for name, one in scores.items() if name not in (ours, PEOPLE)}
    strongest = max(others, key=lambda name: others[name], default=None)
    return Report(
        "edges",
        "Edges on BSDS500",
        (Table("Edges on BSDS500", HEADS, tuple(rows), 3, note),),
        {name: asdict(one) for name, one in scores.items()},
        session.config,
        session.facts,
        notes=(
            f"{len(best.best_f)} pictures, {config.thresholds} thresholds, pixels matched within "
            f"{config.max_distance:g} of the diagonal. ODS of {ours} is at threshold {best.threshold:.3f}, precision "
            f"{best.precision:.3f}, recall {best.recall:.3f}.",
            "Recall is that of the original benchmark; precision may be off by up to 1 % of its value.",
        ),
        figures=figures,
        skipped=session.skipped,
        headlines=(
            Headline(
                "ODS",
                best.ods,
                PAPER["SAM ViT-H (paper)"][0],
                f"{strongest} {others[strongest]:.3f}" if strongest else "",
            ),
        ),
    )


def _row(name: str, one: BoundaryScores) -> tuple[Cell, ...]:
    single = len(one.recalls) == 1
    return (name, one.ods) + ((None, None, None) if single else (one.ois, one.ap, one.r50))


def draw_curves(path: Path, scores: dict[str, BoundaryScores]) -> None:
    """Draw precision over recall of several methods, over lines of equal F.

    Args:
        path: of the PNG.
        scores: by the name of the method; one threshold is a dot.
    """
    from matplotlib.figure import Figure as Plot

    plot = Plot(figsize=(6.4, 6), dpi=120, layout="constrained")
    axes = plot.subplots()
    for f in np.arange(0.1, 1, 0.1):
        recall = np.linspace(f / (2 - f), 1, 200)
        axes.plot(recall, f * recall / (2 * recall - f), color="0.85", linewidth=0.8, zorder=0)
        axes.annotate(f"{f:.1f}", (1, f / (2 - f)), color="0.5", fontsize=8, va="center")
    for name, one in scores.items():
        seen = [pair for pair in zip(one.recalls, one.precisions, strict=True) if pair[0] > 0]
        label, style = f"{name}, ODS {one.ods:.3f}", "o" if len(one.recalls) == 1 else "-"
        line = axes.plot([pair[0] for pair in seen], [pair[1] for pair in seen], style, label=label)
        if style == "-":
            axes.plot([one.recall], [one.precision], "o", color=line[0].get_color(), markersize=4)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="lower left", fontsize=8)
    with replacing(path) as temporary:
        plot.savefig(temporary, format="png")


def draw_sheet(
    path: Path, data: Bsds, folder: Path, items: Sequence[Item], best_f: Sequence[float], mode: SheetMode
) -> None:
    """Draw the best, the median and the worst picture: itself, what people drew, what was found.

    Args:
        path: of the JPEG.
        data: the pictures.
        folder: of the maps.
        items: those that were measured.
        best_f: by item.
        mode: whether the photograph is shown.
    """
    order, rows = np.argsort(best_f, kind="stable")[::-1], []
    for kind, number in zip(("best", "median", "worst"), order[[0, len(order) // 2, -1]], strict=True):
        item = items[number]
        boundaries = data.boundaries(item.place[1])
        found = read_map(folder / f"{item.name}.png", (boundaries.shape[1], boundaries.shape[2]))
        photo = [Tile(image.read(data.picture(item.place[1])), "")] if mode == "photos" else []
        drawn = [(boundaries.mean(axis=0), f"{len(boundaries)} people"), (found, f"found, F {best_f[number]:.2f}")]
        rows.append(Row([*photo, *(Tile(_on_paper(one), words) for one, words in drawn)], f"{kind}: {item.name}"))
    write_sheet(path, rows, side=400)


def _on_paper(edges: NDArray[Any]) -> image.Rgb:
    """Edges in [0, 1] as ink."""
    return np.repeat(np.rint(255 * (1 - edges)).astype(np.uint8)[..., None], 3, axis=2)
