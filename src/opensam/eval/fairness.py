"""Whether a method segments some groups of people worse than others (paper, section 6 and appendix C).

A CSV says which masks belong to which groups. Each of these masks is asked for with clicks, the first one anywhere in
the mask; the mean IoU after 1 and 3 clicks is given per group, with 95 % intervals. The paper calls two groups
different where their intervals have nothing in common.

The paper does not say how it made its intervals. They are symmetric, and as narrow as the number of masks makes them,
so the first ones here are Student's t over masks. But the masks of one picture are not independent of each other, which
makes these too narrow; the second ones draw whole pictures (bootstrap), and are the ones to trust where they are wider.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from opensam.data.dataset import is_picture, stem
from opensam.eval.intervals import Interval, bootstrap_interval, disjoint, t_interval
from opensam.eval.rows import Row, Rows, read_rows
from opensam.rle import Rle, rle_to_box

SCORES = ("iou@1", "iou@3")
"""After 1 and 3 clicks (paper, section 6)."""

MARGIN = 0.01
"""How far a side of a box may be from that of a mask, over the box's width or height (paper, C)."""

MOST_GROUPS = 50
"""A column with more values is hardly one of groups."""

PLACES = ("dataset", "image", "mask", "x", "y", "w", "h")
_BOX = PLACES[3:]

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


@dataclass(frozen=True)
class Member:
    """A line of the CSV: a mask and its groups.

    Attributes:
        line: of the file.
        dataset: its name; None: whichever has the image.
        image: the name in the data set, without suffix.
        mask: its number in the order of the annotations, from 0; None: the box tells.
        box: XYWH in pixels of the picture; None: the number tells.
        groups: by attribute; an attribute that is left empty is not in it.
    """

    line: int
    dataset: str | None
    image: str
    mask: int | None
    box: tuple[float, float, float, float] | None
    groups: dict[str, str]


@dataclass(frozen=True)
class GroupTable:
    """The whole CSV."""

    path: Path
    attributes: tuple[str, ...]
    members: tuple[Member, ...]

    def of(self, dataset: str, image: str) -> list[Member]:
        """The lines about one picture."""
        by_picture = self._by_picture
        return [*by_picture.get((dataset, image), ()), *by_picture.get((None, image), ())]

    @cached_property
    def _by_picture(self) -> dict[tuple[str | None, str], list[Member]]:
        found: dict[tuple[str | None, str], list[Member]] = {}
        for member in self.members:
            found.setdefault((member.dataset, member.image), []).append(member)
        return found


@dataclass(frozen=True)
class Measured:
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


def read_groups(path: Path, attributes: Sequence[str] = ()) -> GroupTable:
    """Read the CSV: `image`, then `mask` or `x`, `y`, `w`, `h`, then a column per attribute; `dataset` where needed.

    Args:
        path: the file.
        attributes: the columns that are attributes; all that have no other meaning, if none is named.

    Raises:
        ValueError: a column is missing, unknown or no column of groups, or a line makes no sense or comes twice.
    """
    table = read_rows(path, ("image",))
    places = _place_columns(table)
    chosen = tuple(attributes) or tuple(name for name in table.columns if name not in PLACES)
    if unknown := [name for name in chosen if name not in table.columns or name in PLACES]:
        offered = ", ".join(name for name in table.columns if name not in PLACES) or "none"
        raise ValueError(f"expected an attribute that is a column of {path} ({offered}), got {unknown[0]}")
    if not chosen:
        raise ValueError(f"expected a column per attribute in {path} beside {', '.join(table.columns)}, got none")
    members, seen = [], dict[tuple[object, ...], int]()
    for row in table.rows:
        member = _member(table, row, places, chosen)
        mask = (member.dataset, member.image, member.mask, member.box)
        if mask in seen:
            raise ValueError(
                f"expected each mask once in {path}, got lines {seen[mask]} and {row.line} about the same one"
            )
        seen[mask] = row.line
        members.append(member)
    for attribute in chosen:
        _check_attribute(path, attribute, {member.groups.get(attribute, "") for member in members} - {""})
    return GroupTable(path, chosen, tuple(members))


def match_masks(
    table: GroupTable, members: Sequence[Member], masks: Sequence[Rle]
) -> tuple[dict[int, Member], list[Member]]:
    """Which masks of a picture its lines are about.

    A box is about the mask whose own box comes nearest, if each of its sides is within 1 % of the box's width or
    height, or within a pixel: that much lies between the conventions in use.

    Returns:
        The line of each mask that has one, and the lines with a box that fits none.

    Raises:
        ValueError: there is no mask of that number, or two lines are about the same mask.
    """
    boxes = np.array([rle_to_box(mask) for mask in masks], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += 1  # from the last pixels inside to the sides
    found: dict[int, Member] = {}
    left = []
    for member in members:
        number = member.mask if member.box is None else _nearest(member.box, boxes)
        if number is None:
            left.append(member)
            continue
        if number >= len(masks):
            raise ValueError(
                f"expected a mask from 0 to {len(masks) - 1} of {member.image} in {table.path} line {member.line}, "
                f"got {number}"
            )
        if number in found:
            lines = f"{found[number].line} and {member.line}"
            raise ValueError(
                f"expected each mask once, got lines {lines} of {table.path} about mask {number} of {member.image}"
            )
        found[number] = member
    return found, left


def compare_groups(
    measured: Sequence[Measured], attributes: Sequence[str], rng: np.random.Generator
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
        members: dict[str, list[Measured]] = {}
        for one in measured:
            if group := one.groups.get(attribute):
                members.setdefault(group, []).append(one)
        if not members:
            raise ValueError(f"expected masks with a group of {attribute}, got none; do the lines fit the data?")
        scored = [_scored(attribute, group, rows, rng) for group, rows in sorted(members.items())]
        groups += scored
        differences += [_difference(*pair, score) for pair in combinations(scored, 2) for score in SCORES]
    return groups, [one for one in differences if one.by_masks or one.by_images]


def paper_value(paper: Paper, attribute: str, group: str, score: str) -> tuple[float, float] | None:
    """The paper's mean and half interval, as shares, of the group that goes by the same names; None if there is none."""
    found = paper.get(_attribute_name(attribute), {}).get(_group_name(group))
    if found is None:
        return None
    mean, half = found[:2] if score == "iou@1" else found[2:]
    return mean / 100, half / 100


def _place_columns(table: Rows) -> tuple[str, ...]:
    """The columns that say which mask: `mask`, or those of a box."""
    sides = [name for name in _BOX if name in table.columns]
    if "mask" in table.columns and not sides:
        return ("mask",)
    if "mask" not in table.columns and len(sides) == len(_BOX):
        return _BOX
    got = ", ".join(table.columns)
    raise ValueError(f"expected either a column mask or the columns x, y, w, h in {table.path}, got {got}")


def _member(table: Rows, row: Row, places: Sequence[str], attributes: Sequence[str]) -> Member:
    cells = row.cells
    if not cells["image"]:
        raise ValueError(f"expected the name of an image in {table.at(row)}, got an empty cell")
    image = stem(cells["image"]) if is_picture(cells["image"]) else cells["image"]
    mask = box = None
    if places == ("mask",):
        if not re.fullmatch(r"[0-9]+", cells["mask"]):
            raise ValueError(f"expected the number of a mask, from 0, in {table.at(row)}, got {cells['mask']!r}")
        mask = int(cells["mask"])
    else:
        box = _read_box(table, row)
    groups = {name: cells[name] for name in attributes if cells[name]}
    return Member(row.line, cells.get("dataset") or None, image, mask, box, groups)


def _read_box(table: Rows, row: Row) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = (float(row.cells[name]) for name in _BOX)
    except ValueError as error:
        raise ValueError(f"expected numbers as x, y, w, h in {table.at(row)}: {error}") from error
    if not (np.isfinite((x, y, w, h)).all() and w > 0 and h > 0):
        raise ValueError(f"expected a box with w and h above 0 in {table.at(row)}, got {(x, y, w, h)}")
    return x, y, w, h


def _check_attribute(path: Path, attribute: str, groups: set[str]) -> None:
    if not groups:
        raise ValueError(f"expected groups in the column {attribute} of {path}, got empty cells only")
    if len(groups) > MOST_GROUPS:
        raise ValueError(
            f"expected at most {MOST_GROUPS} groups in a column of {path}, got {len(groups)} in {attribute}; "
            "name the columns that are attributes"
        )


def _nearest(box: tuple[float, float, float, float], boxes: np.ndarray) -> int | None:
    x, y, w, h = box
    if not len(boxes):
        return None
    reach = np.maximum(MARGIN * np.array([w, h, w, h]), 1.0)
    off = np.abs(boxes - (x, y, x + w, y + h)) / reach
    nearest = int(off.max(axis=1).argmin())
    return nearest if off[nearest].max() <= 1 else None


def _scored(attribute: str, group: str, rows: Sequence[Measured], rng: np.random.Generator) -> GroupScores:
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
