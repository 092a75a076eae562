"""Masks from a single point, then from more (paper, section 7.1 and appendix D.1), and from a box.

Every mask is a game: the first click is the point deepest inside the mask, each next one is the point deepest
inside what the answer got wrong. Clicks add up, and the logits of the answer so far go with them. The picture
is embedded once, and several masks of it play at the same time.

Letters: P masks that play at the same time, (H, W) the picture.
"""

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypedDict

import numpy as np
import pydantic
import torch

from opensam.config import Config
from opensam.data.dataset import Dataset, Source
from opensam.data.selection import evenly
from opensam.eval.metrics import (
    CLICK_LIMIT,
    DatasetScores,
    MethodScores,
    iou,
    mean_scores,
    number_of_clicks,
    scores_by_size,
)
from opensam.eval.runner import Item, Measure, Measured
from opensam.eval.segmenters import BoxSegmenter, ClickSegmenter, Masks
from opensam.image import Rgb
from opensam.masks import Mask, area, decode_rle, deepest_point, deepest_with_depth, mask_to_box
from opensam.prompts import BACKGROUND, FOREGROUND

# The numbers of clicks after which the paper reports (figure 9), and the IoUs of NoC@85 and NoC@90.
REPORTED_CLICKS = (1, 2, 3, 5, 9)
TARGETS = (0.85, 0.90)

# SAM with ViT-H minus RITM, mean IoU at one click in the center (paper, figure 9a), by our names of the data sets.
PAPER = {
    "gtea": -0.214, "trashcan": -0.150, "dram": -0.065, "pidray": -0.058, "cityscapes": -0.020, "woodscape": -0.006,
    "ibd": -0.003, "egohos": 0.008, "plittersdorf": 0.015, "visor": 0.018, "ndispark": 0.027, "hypersim": 0.061,
    "ovis": 0.070, "ade20k": 0.078, "ishape": 0.088, "zerowaste-f": 0.091, "streets": 0.173, "lvis-v0.5": 0.185,
    "ndd20": 0.211, "timberseg": 0.289, "doors": 0.411, "bbbc038v1": 0.447, "ppdls": 0.469,
}  # fmt: skip

Points = Literal["center", "random_first", "random"]


class ClicksConfig(Config):
    """What to evaluate on, and how it is played.

    Attributes:
        data: data sets as `opensam.data.specs` has them.
        max_images: at most so many per data set, evenly spaced; None: all.
        max_masks_per_image: likewise of each image.
        points: "center": every click is the deepest point of its region (paper, figure 9a to c). "random_first": the
            first one is any pixel of the mask (paper, figure 9d). "random": so are all others, of what the answer got
            wrong.
        seed: of random points; the same mask gets the same ones, whatever else is asked.
        clicks: a game ends after so many; what needs more is not reported.
        prompts_per_call: masks of an image that play at the same time. On a CPU a few, so that a decoder call
            stays in its cache; on a GPU many.
    """

    data: tuple[str, ...]
    max_images: int | None = pydantic.Field(None, ge=1)
    max_masks_per_image: int | None = pydantic.Field(None, ge=1)
    points: Points = "center"
    seed: int = 0
    clicks: int = pydantic.Field(CLICK_LIMIT, ge=1, le=CLICK_LIMIT)
    prompts_per_call: int = pydantic.Field(4, ge=1)


@dataclass(frozen=True)
class User:
    """Who clicks for one mask; `points` is as in `ClicksConfig`, and `rng` draws what is random."""

    points: Points = "center"
    rng: np.random.Generator | None = None

    def first(self, truth: Mask) -> tuple[int, int]:
        """A point (x, y) of the mask."""
        return deepest_point(truth) if self.points == "center" else self._any(truth)

    def next(self, truth: Mask, answer: Mask) -> tuple[tuple[int, int], int]:
        """A point (x, y) of what is missing or of what is too much, and its label.

        The deepest point of both; of equally deep ones that of what is missing. The two are regions of their own: a
        point between them would be right at the border of the mask.
        """
        if self.points == "random":
            x, y = self._any(truth ^ answer)
            return (x, y), FOREGROUND if truth[y, x] else BACKGROUND
        missing, missing_depth = deepest_with_depth(truth & ~answer)
        surplus, surplus_depth = deepest_with_depth(answer & ~truth)
        return (missing, FOREGROUND) if missing_depth >= surplus_depth else (surplus, BACKGROUND)

    def _any(self, region: Mask) -> tuple[int, int]:
        if self.rng is None:
            raise ValueError(f"expected a generator with {self.points} points, got none; give rng")
        pixels = np.flatnonzero(region)
        y, x = divmod(int(pixels[self.rng.integers(len(pixels))]), region.shape[1])
        return x, y


class MaskValue(TypedDict):
    """One mask that was played: its number in the picture, the share of the picture it covers, its scores."""

    mask: int
    share: float
    scores: dict[str, float]


def scoring(make: Callable[[], BoxSegmenter], datasets: Sequence[Dataset], config: ClicksConfig) -> Measure:
    """What a worker does with a picture of these data sets, once it has made the method; see `runner.measure`."""
    return partial(_score, make(), datasets, config)


def _score(segmenter: BoxSegmenter, datasets: Sequence[Dataset], config: ClicksConfig, item: Item) -> list[MaskValue]:
    dataset, row = item.place
    return score_source(segmenter, datasets[dataset].read(row), config)


def score_source(
    segmenter: BoxSegmenter, source: Source, config: ClicksConfig, wanted: Collection[int] | None = None
) -> list[MaskValue]:
    """The scores of the masks of one picture, without those that are empty: nothing can be clicked in them.

    Args:
        segmenter: the method.
        source: the picture and its masks.
        config: how it is played, and how many masks of a picture at most.
        wanted: the numbers of the masks to ask for; None: all.

    Raises:
        ValueError: the picture or a mask cannot be read, or they are of different sizes.
    """
    listed = sorted(range(len(source.masks)) if wanted is None else wanted)
    chosen = evenly(len(listed), config.max_masks_per_image or len(listed))
    numbers = [number for number in (listed[place] for place in chosen) if area(source.masks[number])]
    if not numbers:
        return []
    image = source.rgb
    truths = [_of_size(decode_rle(source.masks[number]), image.shape[:2]) for number in numbers]
    users = [User(config.points, _generator(config.seed, source, number)) for number in numbers]
    rows = score_image(segmenter, image, np.stack(truths), config.prompts_per_call, config.clicks, users)
    return [
        MaskValue(mask=number, share=float(truth.mean()), scores=row)
        for number, truth, row in zip(numbers, truths, rows, strict=True)
    ]


def _of_size(mask: Mask, size: tuple[int, ...]) -> Mask:
    if mask.shape != size:
        raise ValueError(
            f"expected a picture of (H, W) = {mask.shape} as its masks are, got {size}; they belong to another picture"
        )
    return mask


def _generator(seed: int, source: Source, number: int) -> np.random.Generator:
    name = zlib.crc32(f"{source.dataset}/{source.name}".encode())
    return np.random.default_rng([seed, name, number])


def summarise(method: str, measured: Measured) -> MethodScores:
    """Means over the masks of each data set and of each size of mask.

    Args:
        method: its name in the report.
        measured: the values of `score_source`.

    Raises:
        ValueError: no picture has a mask.
    """
    by_dataset: dict[str, list[Item]] = {}
    for item in measured.values:
        by_dataset.setdefault(item.dataset, []).append(item)
    datasets, everything = {}, list[tuple[float, Mapping[str, float]]]()
    for name, items in by_dataset.items():
        rows: list[MaskValue] = [row for item in items for row in measured.values[item]]
        if rows:
            seconds = sum(measured.seconds[item] for item in items)
            scores = mean_scores([row["scores"] for row in rows])
            datasets[name] = DatasetScores(len(items), len(rows), seconds, scores)
            everything += [(row["share"], row["scores"]) for row in rows]
    if not datasets:
        raise ValueError("expected pictures with masks, got none; all their masks are empty")
    return MethodScores(method, datasets, scores_by_size(everything))


def score_image(
    segmenter: BoxSegmenter,
    image: Rgb,
    truths: Masks,
    prompts_per_call: int,
    clicks: int = CLICK_LIMIT,
    users: Sequence[User] | None = None,
) -> list[dict[str, float]]:
    """The scores of each mask of one picture.

    `iou@1` ... `iou@9` (after so many clicks), `oracle@1` (the best candidate of the first click, if it has several),
    `noc@85` and
    `noc@90` (clicks to that IoU), and `box`. Of a method that takes no clicks only `box`.

    Args:
        segmenter: the method; it embeds the picture once.
        image: (H, W, 3).
        truths: (P, H, W) the masks to find, none of them empty.
        prompts_per_call: how many of them play at the same time.
        clicks: a game ends after so many; scores that ask for more are left out.
        users: who clicks for each mask; None: on the deepest points.
    """
    embedding = segmenter.embed(image)
    users = users or [User()] * len(truths)
    rows: list[dict[str, float]] = []
    for start in range(0, len(truths), prompts_per_call):
        some = slice(start, start + prompts_per_call)
        group = truths[some]
        games: list[dict[str, float]] = [{} for _ in group]
        if isinstance(segmenter, ClickSegmenter):
            games = _play(segmenter, embedding, group, clicks, users[some])
        found = segmenter.segment_boxes(embedding, mask_to_box(group).astype(np.float64))
        for game, mask, truth in zip(games, found, group, strict=True):
            rows.append({**game, "box": float(iou(mask, truth))})
    return rows


def _play(
    segmenter: ClickSegmenter, embedding: object, truths: Masks, limit: int, users: Sequence[User]
) -> list[dict[str, float]]:
    """The scores of P games played at the same time.

    A game goes on until it has had 9 clicks and reached the highest target, for `limit` clicks at most. An answer
    without any error leaves nothing to click on: it stays what it is.
    """
    count = len(truths)
    points, labels = np.zeros((count, limit, 2)), np.ones((count, limit), dtype=np.int64)
    points[:, 0] = [user.first(truth) for user, truth in zip(users, truths, strict=True)]
    answer = segmenter.segment_clicks(embedding, points[:, :1], labels[:, :1], None, multimask_output=True)
    choice = answer.iou_predictions.argmax(axis=1)
    candidates = np.stack([iou(masks, truth) for masks, truth in zip(answer.masks, truths, strict=True)])
    masks = answer.masks[np.arange(count), choice]
    mask_input = answer.low_res_masks[torch.arange(count), torch.from_numpy(choice)][:, None]
    ious = [[float(value)] for value in candidates[np.arange(count), choice]]

    for click in range(1, limit):
        going = np.array([p for p in range(count) if _goes_on(ious[p])], dtype=np.int64)
        if not going.size:
            break
        for p in going:
            points[p, click], labels[p, click] = users[p].next(truths[p], masks[p])
        answer = segmenter.segment_clicks(
            embedding,
            points[going, : click + 1],
            labels[going, : click + 1],
            mask_input[torch.from_numpy(going)],
            multimask_output=False,
        )
        masks[going] = answer.masks[:, 0]
        mask_input[torch.from_numpy(going)] = answer.low_res_masks
        for p in going:
            ious[p].append(float(iou(masks[p], truths[p])))
    # The best of one candidate would say nothing.
    oracles = candidates.max(axis=1).tolist() if candidates.shape[1] > 1 else [None] * count
    return [_game_scores(values, oracle, limit) for values, oracle in zip(ious, oracles, strict=True)]


def _goes_on(ious: list[float]) -> bool:
    return ious[-1] < 1 and (len(ious) < max(REPORTED_CLICKS) or max(ious) < max(TARGETS))


def _game_scores(ious: list[float], oracle: float | None, limit: int) -> dict[str, float]:
    after = {f"iou@{click}": ious[min(click, len(ious)) - 1] for click in REPORTED_CLICKS if click <= limit}
    targets = TARGETS if limit == CLICK_LIMIT else ()
    clicks = {f"noc@{target * 100:.0f}": float(number_of_clicks(ious, target)) for target in targets}
    return {**after, **({} if oracle is None else {"oracle@1": oracle}), **clicks}
