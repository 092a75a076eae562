"""Masks from clicks and boxes, with baselines beside them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from opensam.data.benchmarks import benchmark_names, sampled
from opensam.data.dataset import Dataset
from opensam.data.specs import open_datasets
from opensam.eval.baselines import GrabCut
from opensam.eval.comparison import COLUMNS, dataset_table, mean_table, size_table
from opensam.eval.metrics import MethodScores
from opensam.eval.report import Headline, Report, Table
from opensam.eval.runner import list_items
from opensam.eval.seeded import random_walker, watershed
from opensam.eval.segmenters import BoxSegmenter
from opensam.eval.single_point import PAPER, ClicksConfig, scoring, summarise
from opensam.recipes.evaluation.click_figures import draw_curve, draw_failures, failure_table, played
from opensam.recipes.evaluation.session import ModelChoice, Session, Setting
from opensam.recipes.evaluation.sheets import SheetMode

POINTS_NOTES = {
    "center": "Every click is the deepest point of its region.",
    "random_first": "The first click is anywhere in the mask, each next one the deepest point of the error.",
    "random": "Every click is anywhere in its region.",
}

BASELINES: dict[str, tuple[str, Callable[[], BoxSegmenter]]] = {
    "grabcut": ("GrabCut", GrabCut),
    "watershed": ("watershed", watershed),
    "random_walker": ("random walker", random_walker),
}
"""By the name on the command line: the one in the report, and how it is made."""


def clicks(
    config: ClicksConfig,
    choice: ModelChoice,
    baselines: Sequence[str],
    setting: Setting,
    sheets: SheetMode = "photos",
) -> Report:
    """Measure a model and baselines on the same masks, and write the report.

    Args:
        config: what is measured.
        choice: the model.
        baselines: names of BASELINES.
        setting: where, and by whom.
        sheets: what is shown of the masks that fail.

    Raises:
        ValueError: a data set, the model or a picture cannot be used.
    """
    known = benchmark_names()
    opened = [dataset for dataset, _ in open_datasets(config.data)]
    datasets: list[Dataset] = [sampled(dataset) if dataset.name in known else dataset for dataset in opened]
    items = list_items(datasets, config.max_images)
    session = Session(setting, "clicks", config, choice, config.seed)
    ours = session.facts["model"]
    makers: dict[str, Callable[[], BoxSegmenter]] = {ours: choice.segmenter}
    makers |= {BASELINES[name][0]: BASELINES[name][1] for name in baselines}
    measured = {
        method: session.measure(method, items, partial(scoring, make, datasets, config))
        for method, make in makers.items()
    }
    methods = [summarise(method, values) for method, values in measured.items()]
    masks = played(measured[ours].values)
    tables = (mean_table(methods), dataset_table(methods), size_table(methods), failure_table(masks))
    report = Report(
        "clicks",
        "Masks from clicks and boxes",
        (*tables, *paper_table(methods[0])),
        {method.method: _as_json(method) for method in methods},
        session.config,
        session.facts,
        notes=_notes(config, methods, setting.workers),
        figures=(
            draw_curve(setting.out, methods),
            *draw_failures(setting.out, masks, datasets, choice.segmenter, sheets),
        ),
        skipped=session.skipped,
        headlines=_headlines(methods),
    )
    session.finish(report)
    return report


def paper_table(scores: MethodScores) -> tuple[Table, ...]:
    """What the paper found on the data sets that are evaluated here too; nothing if there is none."""
    rows = [(name, scores.datasets[name].scores["iou@1"], PAPER[name]) for name in scores.datasets if name in PAPER]
    if not rows:
        return ()
    heads = ("data set", "1 click, here", "paper: SAM minus RITM")
    note = "The paper gives no IoU of these, only how far SAM with ViT-H is ahead of RITM at one click (figure 9a)."
    return (Table("The paper's data sets", heads, tuple(rows), 3, note),)


def _headlines(methods: Sequence[MethodScores]) -> tuple[Headline, ...]:
    ours, *others = methods
    lines = []
    for score in (name for name in ("iou@1", "oracle@1", "iou@9", "box") if name in ours.mean):
        beside = max((one for one in others if score in one.mean), key=lambda one: one.mean[score], default=None)
        baseline = f"{beside.method} {beside.mean[score]:.3f}" if beside else ""
        lines.append(Headline(f"mean IoU, {COLUMNS[score][0]}", ours.mean[score], None, baseline))
    return tuple(lines)


def _notes(config: ClicksConfig, methods: Sequence[MethodScores], workers: int) -> tuple[str, ...]:
    speeds = ", ".join(
        f"{method.method} {method.images_per_second * workers:.2f} images/s ({method.images_per_second:.2f} per worker)"
        for method in methods
    )
    return (
        "IoU: mean over the masks of a data set. NoC: clicks to that IoU (%), 20 if it is never reached.",
        POINTS_NOTES[config.points],
        f"Speed, each picture embedded once for all its masks: {speeds}.",
    )


def _as_json(method: MethodScores) -> dict[str, Any]:
    return {
        "mean": method.mean,
        "images_per_second": method.images_per_second,
        "datasets": {name: asdict(one) for name, one in method.datasets.items()},
        "sizes": [asdict(one) for one in method.sizes],
    }
