"""How many things automatic masks find."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from opensam.amg import MaskGenerator
from opensam.data.ground_truth import GroundTruth, open_ground_truth
from opensam.data.selection import evenly
from opensam.eval.matching import AREAS
from opensam.eval.proposals import (
    LIMIT,
    MISSED,
    PAPER,
    Generate,
    ProposalsConfig,
    average_recall,
    measuring,
    summarise,
)
from opensam.eval.report import Cell, Figure, Headline, Report, Table
from opensam.eval.runner import Item, list_items
from opensam.models.mask_decoder import Attended
from opensam.models.sam import Sam
from opensam.prompts import Prompts
from opensam.recipes.evaluation.detection_figures import COLUMNS, cut_tile, draw_recall
from opensam.recipes.evaluation.session import ModelChoice, Session, Setting
from opensam.recipes.evaluation.sheets import Row, SheetMode, Tile, write_sheet

NAME = "proposals"
_SHOWN = ("all", "small", "medium", "large", "f", "c", "r")
_HEADS = {"f": "frequent", "c": "common", "r": "rare"}


def proposals(config: ProposalsConfig, choice: ModelChoice, setting: Setting, sheets: SheetMode = "photos") -> Report:
    """Measure the automatic masks of a model, and write the report with curves and a sheet of what it misses.

    Raises:
        ValueError: the data, the model or a picture cannot be used.
    """
    truth = open_ground_truth(config.data)
    session = Session(setting, NAME, config, choice, config.seed)
    measured = session.measure(
        session.facts["model"],
        list_items([truth], config.max_images),
        partial(measuring, partial(_generator, choice, config), truth, config),
    )
    summary = summarise(measured.values.values())
    if "all" not in summary["groups"]:
        raise ValueError(f"expected annotations in {truth.name}, got none in {summary['pictures']} pictures")
    name = f"{session.facts['model']} here"
    figures = _figures(setting, truth, summary, measured.values, sheets)
    report = Report(
        NAME,
        "Object proposals",
        (recall_table(summary, name), group_table(summary)),
        summary,
        session.config,
        session.facts,
        notes=_notes(config, truth, summary, measured.images_per_second),
        figures=figures,
        skipped=session.skipped,
        headlines=(Headline(f"mask AR@{LIMIT}", average_recall(summary), PAPER["SAM"]["all"]),),
    )
    session.finish(report)
    return report


def recall_table(summary: Mapping[str, Any], name: str) -> Table:
    """AR@1000 beside the paper's."""
    measured: tuple[Cell, ...] = (name, *(average_recall(summary, group) for group in _SHOWN))
    published: list[tuple[Cell, ...]] = [
        (f"{row}, paper, LVIS v1 val", *(of[group] for group in _SHOWN)) for row, of in PAPER.items()
    ]
    note = (
        "The paper's rows are of SAM with ViT-H (table 4). Small is below 32 x 32 pixels, large above 96 x 96; "
        "frequencies are LVIS's."
    )
    heads = ("method", *(_HEADS.get(group, group) for group in _SHOWN))
    return Table(f"Mask AR@{LIMIT}", heads, (measured, *published), 3, note)


def group_table(summary: Mapping[str, Any]) -> Table:
    """How much was looked for, and how recall depends on the number of proposals and on the IoU."""
    rows: list[tuple[Cell, ...]] = []
    for group in (one for one in _SHOWN if one in summary["groups"]):
        found = summary["groups"][group]
        at = [average_recall(summary, group, limit) for limit in (10, 100, LIMIT)]
        rows.append((_HEADS.get(group, group), found["count"], *at, *(found["recall"][-1][k] for k in (0, 5, 8))))
    heads = ("", "masks", "AR@10", "AR@100", f"AR@{LIMIT}", "recall at .50", "at .75", "at .90")
    return Table("What was looked for, and found", heads, tuple(rows), 3, "AR: mean over IoU .50, .55, ..., .95.")


def _notes(
    config: ProposalsConfig, truth: GroundTruth, summary: Mapping[str, Any], speed: float | None
) -> tuple[str, ...]:
    grid = f"{config.amg.points_per_side} x {config.amg.points_per_side} clicks" if config.amg.points_per_side else ""
    sentences = [
        f"{summary['proposals']:.0f} proposals a picture on average, from {grid or 'grids of its own'}; "
        f"{100 * summary['missed']:.0f} % of the masks are missed (no proposal has an IoU of {MISSED:g})."
    ]
    if not truth.federated:
        sentences.append(f"The data is {truth.name}, not LVIS v1 val: the paper's numbers are for orientation only.")
    if config.single_output:
        sentences.append("A click was answered with one mask; proposals came in random order (paper, D.3).")
    if speed:
        sentences.append(f"{speed:.3f} images/s per worker.")
    return tuple(sentences)


def _figures(
    setting: Setting,
    truth: GroundTruth,
    summary: Mapping[str, Any],
    values: Mapping[Item, Mapping[str, Any]],
    sheets: SheetMode,
) -> tuple[Figure, ...]:
    curves = draw_recall(setting.out, NAME, summary, [group for group in AREAS if group in summary["groups"]])
    if sheets == "none":
        return curves
    rows = [
        Row([_tile(truth, *one, sheets) for one in missed], size)
        for size in AREAS
        if size != "all" and (missed := _missed(values, size))
    ]
    if not rows:
        return curves
    write_sheet(setting.out / NAME / "missed.jpg", rows)
    caption = "Missed, by size. Green: the annotation; blue: the proposal that overlaps it most."
    return (*curves, Figure(f"{NAME}/missed.jpg", caption))


def _missed(values: Mapping[Item, Mapping[str, Any]], size: str) -> list[tuple[Item, dict[str, Any]]]:
    """Some of the annotations of a size that no proposal reaches, evenly spaced."""
    found = [(item, row) for item, value in values.items() for row in value["truths"] if "missed" in row]
    found = [(item, row) for item, row in found if size in row["ranks"]]
    return [found[number] for number in evenly(len(found), COLUMNS)]


def _tile(truth: GroundTruth, item: Item, row: Mapping[str, Any], mode: SheetMode) -> Tile:
    caption = f"{item.name[-22:]}  IoU {row['iou']:.2f}"
    return cut_tile(truth, (item.place[1], row["id"]), caption, row["missed"], mode)


def _generator(choice: ModelChoice, config: ProposalsConfig) -> Generate:
    predictor = choice.predictor()
    if config.single_output:
        predictor.model = one_mask_per_click(predictor.model)
    return MaskGenerator(predictor, config.amg).generate


def one_mask_per_click(sam: Sam) -> Sam:
    """The same model, which always answers with the one mask that it gives for unambiguous prompts."""
    single = copy.copy(sam)
    single.attend = partial(_attend_once, sam)  # type: ignore[method-assign]
    return single


def _attend_once(sam: Sam, image_embeddings: Tensor, prompts: Prompts, multimask_output: bool) -> Attended:  # noqa: ARG001
    return sam.attend(image_embeddings, prompts, multimask_output=False)
