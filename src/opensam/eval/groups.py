"""Which masks belong to which groups: a CSV that somebody made, and the masks of data sets that it is about."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opensam.data.dataset import Dataset, is_picture, stem
from opensam.eval.rows import Row, Rows, read_rows
from opensam.eval.runner import Item
from opensam.rle import Rle, rle_to_box

MARGIN = 0.01
"""How far a side of a box may be from that of a mask, over the box's width or height (paper, C)."""

MOST_GROUPS = 50
"""A column with more values is hardly one of groups."""

PLACES = ("dataset", "image", "mask", "x", "y", "w", "h")
_BOX = PLACES[3:]


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
class Found:
    """The masks that a CSV is about.

    Attributes:
        members: by picture, in the order of the data sets, the line about each mask by the mask's number.
        left: what could not be used, with the reason: lines, and pictures whose masks cannot be read.
    """

    members: dict[Item, dict[int, Member]]
    left: dict[str, str] = field(default_factory=dict)


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


def find_masks(table: GroupTable, datasets: Sequence[Dataset], skip: bool = False) -> Found:
    """Look for the masks of a CSV in data sets.

    Args:
        table: the CSV.
        datasets: each with a name of its own.
        skip: what cannot be used is listed instead of ending all. The paper keeps the boxes that fit a mask (C).

    Raises:
        ValueError: a picture is in none of the data sets or in several, a mask is not there, or two lines are about the
            same one. With `skip` only if a picture is in several, or no line is left.
    """
    found: dict[Item, dict[int, Member]] = {}
    places: dict[int, str] = {}
    left: dict[str, str] = {}
    for number, dataset in enumerate(datasets):
        for row in range(len(dataset)):
            if not (members := table.of(dataset.name, dataset.key(row))):
                continue
            for member in members:
                if (other := places.setdefault(member.line, dataset.name)) != dataset.name:
                    raise ValueError(
                        f"expected {member.image} of {table.path} line {member.line} in one data set, got it in "
                        f"{other} and {dataset.name}; add a column dataset"
                    )
            item = Item(dataset.name, dataset.key(row), (number, row))
            try:
                matched, unmatched = match_masks(table, members, dataset.masks(row))
            except (OSError, ValueError) as error:
                if not skip:
                    raise ValueError(f"{item.key}: {error}") from error
                left[item.key] = " ".join(str(error).split())
                continue
            left |= {f"{table.path.name} line {one.line}": f"its box fits no mask of {item.key}" for one in unmatched}
            if matched:
                found[item] = dict(sorted(matched.items()))
    names = ", ".join(dataset.name for dataset in datasets)
    lost = [member for member in table.members if member.line not in places]
    left |= {f"{table.path.name} line {one.line}": f"{one.image} is not in {one.dataset or names}" for one in lost}
    if left and (not skip or not found):
        where, reason = next(iter(left.items()))
        advice = "" if skip else "; --skip-bad lists such lines and goes on"
        raise ValueError(f"{where}: {reason} ({len(left)} such in {table.path}){advice}")
    return Found(found, left)


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


def _nearest(box: tuple[float, float, float, float], boxes: NDArray[np.float64]) -> int | None:
    x, y, w, h = box
    if not len(boxes):
        return None
    reach = np.maximum(MARGIN * np.array([w, h, w, h]), 1.0)
    off = np.abs(boxes - (x, y, x + w, y + h)) / reach
    nearest = int(off.max(axis=1).argmin())
    return nearest if off[nearest].max() <= 1 else None
