"""Masks from clicks and boxes, with baselines beside them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from opensam.data.specs import open_datasets
from opensam.eval.baselines import GrabCut
from opensam.eval.comparison import dataset_table, size_table
from opensam.eval.metrics import MethodScores
from opensam.eval.report import Report
from opensam.eval.runner import list_items
from opensam.eval.segmenters import BoxSegmenter, SamSegmenter
from opensam.eval.single_point import ClicksConfig, scoring, summarise
from opensam.recipes.evaluation.session import ModelChoice, Session, Setting

BASELINES: dict[str, tuple[str, Callable[[], BoxSegmenter]]] = {"grabcut": ("GrabCut", GrabCut)}
"""By the name on the command line: the one in the report, and how it is made."""


def clicks(
    config: ClicksConfig, choice: ModelChoice, baselines: Sequence[str], setting: Setting
) -> tuple[Report, list[MethodScores]]:
    """Measure a model and baselines on the same masks, and write the report.

    Raises:
        ValueError: a data set, the model or a picture cannot be used.
    """
    datasets = [dataset for dataset, _ in open_datasets(config.data)]
    items = list_items(datasets, config.max_images)
    session = Session(setting, "clicks", config, choice, config.seed)
    ours = session.facts["model"]
    makers: dict[str, Callable[[], BoxSegmenter]] = {ours: partial(_sam, choice)}
    makers |= {BASELINES[name][0]: BASELINES[name][1] for name in baselines}
    methods = [
        summarise(method, session.measure(method, items, partial(scoring, make, datasets, config)))
        for method, make in makers.items()
    ]
    report = Report(
        "clicks",
        "Masks from clicks and boxes",
        (dataset_table(methods), size_table(methods)),
        {method.method: _as_json(method) for method in methods},
        session.config,
        session.facts,
        notes=(
            "IoU: mean over the masks of a data set. NoC: clicks to that IoU (%), 20 if it is never reached.",
            ", ".join(f"{method.method} {method.images_per_second:.2f} images/s per worker" for method in methods),
        ),
        skipped=session.skipped,
    )
    session.finish(report)
    return report, methods


def _sam(choice: ModelChoice) -> SamSegmenter:
    return SamSegmenter(choice.fast())


def _as_json(method: MethodScores) -> dict[str, Any]:
    return {
        "mean": method.mean,
        "images_per_second": method.images_per_second,
        "datasets": {name: asdict(one) for name, one in method.datasets.items()},
        "sizes": [asdict(one) for one in method.sizes],
    }
