"""How many things automatic masks find: mask AR@1000, as object proposals are measured (paper, section 7.3 and D.3).

Categories play no part in the search, only in the report. Each annotation knows how many proposals it took until one
found it; recall at any number of proposals and any IoU follows from that.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from opensam import image
from opensam.amg import AmgConfig
from opensam.config import Config
from opensam.data.ground_truth import FREQUENCIES, Annotation, Category, GroundTruth, Truth
from opensam.eval.matching import AREAS, IOUS, check_size, in_range, match, overlaps
from opensam.eval.runner import Item, Measure
from opensam.image import Rgb
from opensam.masks import Rle
from opensam.records import MaskRecord

LIMIT = 1000
"""Proposals of a picture that count."""

LIMITS = (1, 2, 5, 10, 20, 50, 100, 200, 500, LIMIT)
"""Numbers of proposals at which the recall is reported; the paper has the last one."""

MISSED = 0.5
"""An annotation is missed if no proposal reaches this IoU."""

GROUPS = (*AREAS, *FREQUENCIES)

PAPER: dict[str, dict[str, float]] = {
    "SAM": {"all": 0.593, "small": 0.455, "medium": 0.816, "large": 0.869, "f": 0.591, "c": 0.639, "r": 0.658},
    "SAM, single output": {
        "all": 0.549,
        "small": 0.428,
        "medium": 0.767,
        "large": 0.744,
        "f": 0.547,
        "c": 0.598,
        "r": 0.620,
    },
    "ViTDet-H": {"all": 0.630, "small": 0.517, "medium": 0.808, "large": 0.870, "f": 0.631, "c": 0.633, "r": 0.583},
}
"""Mask AR@1000 on LVIS v1 val (paper, table 4)."""

Generate = Callable[[Rgb], list[MaskRecord]]


# No filter by predicted IoU or stability, no crops: about 900 masks a picture (paper, D.3).
PAPER_AMG = AmgConfig(points_per_side=64, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=0.9)


class ProposalsConfig(Config):
    """What to measure, and how; the defaults are the paper's.

    Attributes:
        data: see `opensam.data.ground_truth.open_ground_truth`.
        max_images: at most so many, evenly spaced; None: all.
        amg: how masks are made.
        single_output: a click is answered with one mask instead of three. The one score of a lone mask ranks badly, so
            proposals come in random order (paper, D.3).
        seed: of the random order.
    """

    data: tuple[str, ...]
    max_images: int | None = pydantic.Field(None, ge=1)
    amg: AmgConfig = PAPER_AMG
    single_output: bool = False
    seed: int = 0


ROWS: dict[str, dict[str, Any]] = {
    "sam": {},
    "single-output": {
        "amg": PAPER_AMG.changed(points_per_side=128, box_nms_thresh=0.95),
        "single_output": True,
    },
}
"""The settings of the paper's two rows of SAM, by a name to type."""


def measuring(make: Callable[[], Generate], truth: GroundTruth, config: ProposalsConfig) -> Measure:
    """What a worker does with a picture of the data, once it has made the generator; see `runner.measure`."""
    return partial(_measure, make(), truth, config)


def _measure(generate: Generate, truth: GroundTruth, config: ProposalsConfig, item: Item) -> dict[str, Any]:
    _, row = item.place
    known, picture = truth.read(row), image.read(truth.picture(row))
    check_size(picture, known)
    rng = np.random.default_rng([config.seed, zlib.crc32(item.key.encode())]) if config.single_output else None
    ranked = rank(generate(picture), rng)
    return match_proposals([record.segmentation for record in ranked], known, truth.categories)


def rank(records: Sequence[MaskRecord], rng: np.random.Generator | None = None) -> list[MaskRecord]:
    """The LIMIT best of masks, best first: by the mean of predicted IoU and stability, or, with `rng`, by chance."""
    scores = np.array([(one.predicted_iou + one.stability_score) / 2 for one in records])
    order = rng.permutation(len(records)) if rng else np.argsort(-scores, kind="stable")
    return [records[number] for number in order[:LIMIT].tolist()]


def match_proposals(proposals: Sequence[Rle], truth: Truth, categories: Mapping[int, Category]) -> dict[str, Any]:
    """Which annotations ranked proposals find, category or not. Crowds are not looked for.

    Args:
        proposals: RLEs, best first.
        truth: of the picture.
        categories: by id, for the frequency.

    Returns:
        `proposals`: their number. `truths`: for each annotation its `id`, `area`, `iou` with the best proposal, that
        one if it is `missed` (an RLE or None), and `ranks`: for each of GROUPS that it is part of, for each of IOUS,
        the proposal (from 1 on) that finds it when only the annotations of the group are looked for; 0: none does.
    """
    # COCO goes through the categories, which decides between equal overlaps.
    sought = sorted((one for one in truth.annotations if not one.crowd), key=lambda one: one.category)
    ious = overlaps(proposals, sought)
    best = ious.max(axis=0, initial=0.0)
    rows: list[dict[str, Any]] = []
    for number, annotation in enumerate(sought):
        row = {"id": annotation.id, "area": annotation.area, "iou": float(best[number]), "ranks": {}}
        if best[number] < MISSED:
            row["missed"] = proposals[int(ious[:, number].argmax())] if best[number] else None
        rows.append(row)
    for group in GROUPS:
        members = [k for k, one in enumerate(sought) if _is_in(one, group, categories)]
        for k, ranks in zip(members, _ranks(ious[:, members]).T.tolist(), strict=True):
            rows[k]["ranks"][group] = ranks
    return {"proposals": len(proposals), "truths": rows}


def _is_in(annotation: Annotation, group: str, categories: Mapping[int, Category]) -> bool:
    if group in AREAS:
        return in_range(annotation.area, group)
    return categories[annotation.category].frequency == group


def _ranks(ious: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each of IOUS and of G annotations the proposal, from 1 on, that finds it; 0: none; from (D, G)."""
    none = [False] * ious.shape[1]
    found = match(ious, none, none)
    ranks = np.zeros((len(IOUS), ious.shape[1]), dtype=np.int64)
    thresholds, numbers = np.nonzero(found >= 0)
    ranks[thresholds, found[thresholds, numbers]] = numbers + 1
    return ranks


def summarise(values: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Recall from what `match_proposals` gave for all pictures.

    Returns:
        `groups`: for each of GROUPS that has annotations `count`, and `recall`: a row for each of LIMITS with a value
        for each of IOUS; AR is the mean of a row, that of the last one AR@1000. `pictures`, `proposals` (per
        picture), `missed`: the share of annotations that no proposal reaches MISSED with.
    """
    ranks: dict[str, list[list[int]]] = {group: [] for group in GROUPS}
    pictures = proposals = missed = 0
    for value in values:
        pictures += 1
        proposals += value["proposals"]
        for row in value["truths"]:
            missed += row["iou"] < MISSED
            for group, of_group in row["ranks"].items():
                ranks[group].append(of_group)
    groups = {group: {"count": len(rows), "recall": _recall(rows)} for group, rows in ranks.items() if rows}
    total = len(ranks["all"])
    return {
        "pictures": pictures,
        "proposals": proposals / max(pictures, 1),
        "missed": missed / total if total else None,
        "groups": groups,
    }


def _recall(rows: list[list[int]]) -> list[list[float]]:
    ranks = np.array(rows)
    return [((ranks > 0) & (ranks <= limit)).mean(axis=0).tolist() for limit in LIMITS]


def average_recall(summary: Mapping[str, Any], group: str = "all", limit: int = LIMIT) -> float | None:
    """AR at one of LIMITS from a summary; None if the group has no annotations."""
    if group not in summary["groups"]:
        return None
    return float(np.mean(summary["groups"][group]["recall"][LIMITS.index(limit)]))
