"""Whether a method segments some groups of people worse than others (paper, section 6 and appendix C).

A CSV says which masks belong to which groups. Each of these masks is asked for with clicks, the first one anywhere in
the mask; the mean IoU after 1 and 3 clicks is given per group, with 95 % intervals. The paper calls two groups
different where their intervals have nothing in common.

The paper does not say how it made its intervals. They are symmetric, and as narrow as the number of masks makes them,
so the first ones here are Student's t over masks. But the masks of one picture are not independent of each other, which
makes these too narrow; the second ones draw whole pictures (bootstrap), and are the ones to trust where they are wider.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from opensam.config import Config
from opensam.data.dataset import Dataset
from opensam.eval.groups import Found, GroupTable
from opensam.eval.intervals import Interval, bootstrap_interval, disjoint, t_interval
from opensam.eval.report import Cell, Table
from opensam.eval.runner import Item, Measure, Measured
from opensam.eval.segmenters import ClickSegmenter
from opensam.eval.single_point import ClicksConfig, MaskValue, Points, score_source

SCORES = ("iou@1", "iou@3")
"""After 1 and 3 clicks (paper, section 6)."""

Paper = Mapping[str, Mapping[str, tuple[float, float, float, float]]]

# Attribute -> group -> mIoU in % after 1 click and half its interval, then the same after 3.
PAPER_PEOPLE: Paper = {  # paper, table 2: ViT-H; MIAP for gender and age, data of Meta's own for the skin tone
    "gender": {"feminine": (54.4, 1.7, 90.4, 0.6), "masculine": (55.7, 1.7, 90.1, 0.6)},
    "age": {"older": (62.9, 6.7, 92.6, 1.3), "middle": (54.5, 1.3, 90.2, 0.5), "young": (54.2, 2.2, 91.2, 0.7)},
    "skintone": {
        "1": (52.9, 2.2, 91.0, 0.9),
        "2": (51.5, 1.4, 91.1, 0.5),
        "3": (52.2, 1.9, 91.4, 0.7),
        "4": (51.5, 2.7, 91.7, 1.0),
        "5": (52.4, 4.2, 92.5, 1.4),
        "6": (56.7, 6.3, 91.2, 2.4),
    },
}
PAPER_CLOTHING: Paper = {  # paper, table 6: ViT-H on what the people of MIAP wear
    "gender": {"feminine": (76.3, 1.1, 90.7, 0.5), "masculine": (81.0, 1.2, 92.3, 0.4)},
    "age": {"older": (81.9, 3.8, 92.8, 1.6), "middle": (78.2, 0.8, 91.3, 0.3), "young": (77.3, 2.7, 91.5, 0.9)},
}


PAPER: dict[str, Paper] = {"people": PAPER_PEOPLE, "clothing": PAPER_CLOTHING, "none": {}}
"""By what the masks are of."""


class FairnessConfig(Config):
    """What to evaluate on.

    Attributes:
        data: data sets as `opensam.data.specs` has them.
        groups: a CSV; see `opensam.eval.groups.read_groups`.
        digest: of its content: what was measured for another content does not count.
        attributes: the columns of it that are attributes; none: all that have no other meaning.
        paper: what the masks are of, to show the paper's numbers of that beside the measured ones.
        points: where clicks come; see `ClicksConfig`. The paper takes the first one at random (section 6, D.1).
        seed: of random points and of the bootstrap.
        prompts_per_call: masks of an image that play at the same time.
    """

    data: tuple[str, ...]
    groups: Path
    digest: str = ""
    attributes: tuple[str, ...] = ()
    paper: Literal["people", "clothing", "none"] = "people"
    points: Points = "random_first"
    seed: int = 0
    prompts_per_call: int = pydantic.Field(4, ge=1)


@dataclass(frozen=True)
class ScoredMask:
    """A mask of some groups, and the IoU of the answers after so many clicks, by `SCORES`."""

    dataset: str
    image: str
    groups: Mapping[str, str]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Estimate:
    """A mean IoU with two 95 % intervals: over masks as if they were independent (t), and over pictures (bootstrap)."""

    mean: float
    by_masks: Interval | None
    by_images: Interval | None


@dataclass(frozen=True)
class GroupScores:
    """One group: how many masks in how many pictures, and its mean of each score."""

    attribute: str
    group: str
    masks: int
    images: int
    scores: dict[str, Estimate]


@dataclass(frozen=True)
class Difference:
    """Two groups of an attribute whose intervals have nothing in common, by the one kind or the other."""

    attribute: str
    groups: tuple[str, str]
    score: str
    by_masks: bool
    by_images: bool


def scoring(
    make: Callable[[], ClickSegmenter], datasets: Sequence[Dataset], config: FairnessConfig, found: Found
) -> Measure:
    """What a worker does with a picture, once it has made the method: all masks that have groups are asked for."""
    clicks = max(int(score.split("@")[1]) for score in SCORES)
    options = {name: getattr(config, name) for name in ("data", "points", "seed", "prompts_per_call")}
    wanted = {item.key: frozenset(members) for item, members in found.members.items()}
    return partial(_score, make(), datasets, ClicksConfig(clicks=clicks, **options), wanted)


def _score(
    segmenter: ClickSegmenter,
    datasets: Sequence[Dataset],
    config: ClicksConfig,
    wanted: Mapping[str, frozenset[int]],
    item: Item,
) -> list[MaskValue]:
    dataset, row = item.place
    return score_source(segmenter, datasets[dataset].read(row), config, wanted[item.key])


def scored_masks(found: Found, measured: Measured) -> tuple[list[ScoredMask], dict[str, str]]:
    """The masks with their groups and scores, and those without a score because they are empty, with the reason."""
    scored, empty = [], {}
    for item, values in measured.values.items():
        scores = {value["mask"]: value["scores"] for value in values}
        for number, member in found.members[item].items():
            if number in scores:
                kept = {score: scores[number][score] for score in SCORES}
                scored.append(ScoredMask(item.dataset, item.name, member.groups, kept))
            else:
                empty[f"line {member.line}"] = f"mask {number} of {item.key} is empty"
    return scored, empty


def compare_groups(
    measured: Sequence[ScoredMask], attributes: Sequence[str], rng: np.random.Generator
) -> tuple[list[GroupScores], list[Difference]]:
    """The groups of each attribute, in alphabetical order, and the pairs of them that differ.

    Args:
        measured: the masks, in an order that does not depend on who measured them.
        attributes: what to group by; a mask that has no group of an attribute is left out there.
        rng: draws the samples of the bootstrap.

    Raises:
        ValueError: an attribute of which no mask has a group.
    """
    groups, differences = [], []
    for attribute in attributes:
        members: dict[str, list[ScoredMask]] = {}
        for one in measured:
            if group := one.groups.get(attribute):
                members.setdefault(group, []).append(one)
        if not members:
            raise ValueError(f"expected masks with a group of {attribute}, got none; do the lines fit the data?")
        scored = [_scored(attribute, group, rows, rng) for group, rows in sorted(members.items())]
        groups += scored
        differences += [_difference(*pair, score) for pair in combinations(scored, 2) for score in SCORES]
    return groups, [one for one in differences if one.by_masks or one.by_images]


def group_table(groups: Sequence[GroupScores], table: GroupTable, paper: Paper) -> Table:
    """The groups with the paper's numbers beside them; a group that lost all its masks is there without numbers.

    Args:
        groups: what `compare_groups` found.
        table: the CSV, which may name more groups.
        paper: one of `PAPER`.
    """
    heads = ["group", "masks", "images"]
    for score in SCORES:
        points = "1 point" if score == "iou@1" else f"{score.split('@')[1]} points"
        heads += [f"mIoU at {points}", "±", "over images", "paper"]
    known = {(group.attribute, group.group): group for group in groups}
    named = {(attribute, group) for member in table.members for attribute, group in member.groups.items()}
    rows: list[tuple[Cell, ...]] = []
    for attribute, name in sorted(named, key=lambda pair: (table.attributes.index(pair[0]), pair[1])):
        group = known.get((attribute, name))
        row: list[Cell] = [f"{attribute}: {name}", group.masks if group else 0, group.images if group else 0]
        for score in SCORES:
            row += [*_cells(group.scores[score] if group else None), _paper_text(paper, attribute, name, score)]
        rows.append(tuple(row))
    note = (
        "±: 95 % interval over masks (Student's t), as if they were independent. Over images: 95 % interval of a "
        "bootstrap that draws whole images; where it is wider, trust it."
    )
    return Table("Groups", tuple(heads), tuple(rows), note=note)


def difference_table(differences: Sequence[Difference]) -> Table:
    """The pairs of groups that differ, by the paper's sign of it."""
    rows = tuple(
        (
            f"{one.attribute}: {one.groups[0]}, {one.groups[1]}",
            one.score,
            "yes" if one.by_masks else "no",
            "yes" if one.by_images else "no",
        )
        for one in differences
    )
    found = "" if rows else "No two groups have such intervals. "
    note = (
        f"{found}Pairs of groups whose 95 % intervals have nothing in common, which is the paper's sign of a "
        "difference. It misses small differences, and of many pairs some differ by chance."
    )
    heads = ("groups", "score", "disjoint over masks", "disjoint over images")
    return Table("Differences", heads, rows, note=note)


def paper_value(paper: Paper, attribute: str, group: str, score: str) -> tuple[float, float] | None:
    """The paper's mean and half interval, as shares, of the group that goes by the same names; None: there is none."""
    found = paper.get(_attribute_name(attribute), {}).get(_group_name(group))
    if found is None:
        return None
    mean, half = found[:2] if score == "iou@1" else found[2:]
    return mean / 100, half / 100


def _cells(estimate: Estimate | None) -> tuple[Cell, Cell, Cell]:
    if estimate is None:
        return None, None, None
    half = (estimate.by_masks[1] - estimate.by_masks[0]) / 2 if estimate.by_masks else None
    images = estimate.by_images and f"{estimate.by_images[0]:.3f} to {estimate.by_images[1]:.3f}"
    return estimate.mean, half, images


def _paper_text(paper: Paper, attribute: str, group: str, score: str) -> str | None:
    value = paper_value(paper, attribute, group, score)
    return value and f"{value[0]:.3f} ± {value[1]:.3f}"


def _scored(attribute: str, group: str, rows: Sequence[ScoredMask], rng: np.random.Generator) -> GroupScores:
    images = [(row.dataset, row.image) for row in rows]
    scores = {}
    for score in SCORES:
        values = [row.scores[score] for row in rows]
        scores[score] = Estimate(float(np.mean(values)), t_interval(values), bootstrap_interval(values, images, rng))
    return GroupScores(attribute, group, len(rows), len(set(images)), scores)


def _difference(first: GroupScores, second: GroupScores, score: str) -> Difference:
    one, other = first.scores[score], second.scores[score]
    by_masks, by_images = disjoint(one.by_masks, other.by_masks), disjoint(one.by_images, other.by_images)
    return Difference(first.attribute, (first.group, second.group), score, by_masks, by_images)


def _attribute_name(text: str) -> str:
    """As the tables above call it: MIAP's GenderPresentation, "perceived gender presentation" and "gender" are one."""
    name = re.sub(r"[^a-z]", "", text.lower()).removeprefix("perceived")
    names = {"genderpresentation": "gender", "agepresentation": "age", "agegroup": "age"}
    names |= dict.fromkeys(("fitzpatrick", "fitzpatrickskintype", "skintype"), "skintone")
    return names.get(name, name)


def _group_name(text: str) -> str:
    return text.strip().lower().removeprefix("predominantly ")
