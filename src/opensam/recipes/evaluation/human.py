"""What people say about masks: from the ratings that the kit collects to a report."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from opensam.config import Config
from opensam.eval.human import (
    MethodRatings,
    agreement,
    compare_methods,
    rate_methods,
    rate_raters,
    rating_tables,
    read_ratings,
)
from opensam.eval.report import Figure, Headline, Report
from opensam.files import digest_of, replacing
from opensam.recipes.evaluation.session import Session, Setting

COLUMNS = 4  # of histograms beside each other

NOTES = (
    "Ratings are opinions of few people about few pictures: compare methods that the same people rated in one study, "
    "not studies.",
)


class HumanConfig(Config):
    """What to count.

    Attributes:
        ratings: CSV files; see `opensam.eval.human.read_ratings`.
        key: of the kit that the ratings were made with.
        digests: of all these files.
        seed: of the bootstrap.
    """

    ratings: tuple[Path, ...]
    key: Path | None = None
    digests: tuple[str, ...] = ()
    seed: int = 0


def human(config: HumanConfig, setting: Setting) -> Report:
    """Count, compare, and write the report.

    Raises:
        ValueError: a file cannot be used.
    """
    ratings = read_ratings(config.ratings, config.key)
    files = [*config.ratings, *([config.key] if config.key else [])]
    config = config.model_copy(update={"digests": tuple(map(digest_of, files))})
    session = Session(setting, "human", config, seed=config.seed)
    methods, comparisons = rate_methods(ratings), compare_methods(ratings, np.random.default_rng(config.seed))
    agreed = agreement(ratings)
    setting.out.mkdir(parents=True, exist_ok=True)
    draw_histograms(setting.out / "human_ratings.png", methods)
    report = Report(
        "human",
        "Masks rated by people",
        rating_tables(ratings, comparisons),
        {
            "methods": [asdict(one) for one in methods],
            "comparisons": [asdict(one) for one in comparisons],
            "raters": [asdict(one) for one in rate_raters(ratings)],
            "agreement": agreed and asdict(agreed),
        },
        session.config,
        session.facts,
        notes=NOTES,
        figures=(Figure("human_ratings.png", "Share of ratings from 1 to 10; the line is the mean."),),
        headlines=tuple(Headline(f"{one.dataset}: {one.method}, mean rating", one.mean) for one in methods[:3]),
    )
    session.finish(report)
    return report


def draw_histograms(path: Path, methods: list[MethodRatings]) -> None:
    """A histogram for every method on every data set, with its mean."""
    from matplotlib.figure import Figure as Canvas

    rows = -(-len(methods) // COLUMNS)
    columns = min(COLUMNS, len(methods))
    canvas = Canvas(figsize=(3 * columns, 2.3 * rows), layout="constrained")
    axes = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, one in zip(axes, methods, strict=False):
        axis.bar(range(1, 11), [100 * count / one.ratings for count in one.histogram], width=0.86, color="#3b6fd4")
        axis.axvline(one.mean, color="#1b1f24", linewidth=1)
        axis.set_title(f"{one.dataset}: {one.method}, {one.mean:.1f}", fontsize=9)
        axis.set_xticks(range(1, 11))
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(methods) :]:
        axis.set_visible(False)
    canvas.supylabel("% of ratings", fontsize=8)
    with replacing(path) as temporary:
        canvas.savefig(temporary, dpi=120, format="png")
