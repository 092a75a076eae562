"""Groups of people, or of anything, compared by how well their masks are segmented."""

from dataclasses import asdict
from functools import partial
from itertools import groupby

import numpy as np

from opensam.data.specs import open_datasets
from opensam.eval.fairness import (
    PAPER,
    SCORES,
    FairnessConfig,
    GroupScores,
    compare_groups,
    difference_table,
    group_table,
    scored_masks,
    scoring,
)
from opensam.eval.groups import find_masks, read_groups
from opensam.eval.report import Headline, Report
from opensam.files import digest_of
from opensam.recipes.evaluation.session import ModelChoice, Session, Setting

NOTES = (
    "A group is what somebody wrote into the file: often how a person looked to an annotator, not who they are.",
    "Masks are scored by themselves: what follows from a worse mask depends on what it is used for.",
    "No difference found is not no difference: look at how wide the intervals are.",
)


def fairness(config: FairnessConfig, choice: ModelChoice, setting: Setting) -> Report:
    """Measure a model on the masks that have groups, and write the report.

    Raises:
        ValueError: the groups, a data set, the model or a picture cannot be used.
    """
    table = read_groups(config.groups, config.attributes)
    config = config.model_copy(update={"digest": digest_of(config.groups), "attributes": table.attributes})
    datasets = [dataset for dataset, _ in open_datasets(config.data)]
    found = find_masks(table, datasets, setting.skip_bad)
    session = Session(setting, "fairness", config, choice, config.seed)
    start = partial(scoring, choice.segmenter, datasets, config, found)
    measured = session.measure(session.facts["model"], list(found.members), start)
    scored, empty = scored_masks(found, measured)
    groups, differences = compare_groups(scored, table.attributes, np.random.default_rng(config.seed))
    report = Report(
        "fairness",
        "Groups compared",
        (group_table(groups, table, PAPER[config.paper]), difference_table(differences)),
        {"groups": [asdict(group) for group in groups], "differences": [asdict(one) for one in differences]},
        session.config,
        session.facts,
        notes=NOTES,
        skipped=found.left | empty | session.skipped,
        headlines=tuple(_gap(attribute, list(rows)) for attribute, rows in groupby(groups, lambda one: one.attribute)),
    )
    session.finish(report)
    return report


def _gap(attribute: str, groups: list[GroupScores]) -> Headline:
    means = [group.scores[SCORES[0]].mean for group in groups]
    return Headline(f"{attribute}: largest gap between groups, mIoU at 1 point", max(means) - min(means))
