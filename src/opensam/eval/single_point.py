"""Masks from a single point, then from more (paper, section 7.1 and appendix D.1), and from a box.

Every mask is a game: the first click is the point deepest inside the mask, each next one is the point deepest
inside what the answer got wrong. Clicks add up, and the logits of the answer so far go with them. The picture
is embedded once, and several masks of it play at the same time.

Letters: P masks that play at the same time, (H, W) the picture.
"""

import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import pydantic
import torch

from opensam.config import Config
from opensam.data.sa1b import Pair, dataset_name, list_shards, read_shard
from opensam.eval.journal import Journal
from opensam.eval.metrics import (
    CLICK_LIMIT,
    DatasetScores,
    MethodScores,
    iou,
    mean_scores,
    number_of_clicks,
    scores_by_size,
)
from opensam.eval.segmenters import BoxSegmenter, ClickSegmenter, Masks
from opensam.image import Rgb, read
from opensam.masks import Mask, deepest_point, deepest_with_depth, mask_to_box
from opensam.prompts import BACKGROUND, FOREGROUND

# The numbers of clicks after which the paper reports (figure 9), and the IoUs of NoC@85 and NoC@90.
REPORTED_CLICKS = (1, 2, 3, 5, 9)
TARGETS = (0.85, 0.90)

Value = TypeVar("Value")
Scored = tuple[float, dict[str, float]]  # the share of its picture that a mask covers, and its scores


class ClicksConfig(Config):
    """What to evaluate on.

    Attributes:
        data: folder of tars in the SA-1B layout, `DATASET.tar` or `DATASET-000.tar`, `DATASET-001.tar`, ...
        max_images: at most so many per data set, evenly spaced; None: all.
        max_masks_per_image: likewise of each image.
        prompts_per_call: masks of an image that play at the same time. On a CPU a few, so that a decoder call
            stays in its cache; on a GPU many.
    """

    data: Path
    max_images: int | None = pydantic.Field(None, ge=1)
    max_masks_per_image: int | None = pydantic.Field(None, ge=1)
    prompts_per_call: int = pydantic.Field(4, ge=1)


@dataclass(frozen=True)
class Progress:
    """How far an evaluation is: images done of all in the data set at hand."""

    dataset: str
    images: int
    of: int


def run_clicks(
    segmenter: BoxSegmenter,
    config: ClicksConfig,
    *,
    method: str,
    workers: int = 1,
    progress: Callable[[Progress], None] | None = None,
    journal: Journal | None = None,
) -> MethodScores:
    """Evaluate one method on every data set of a folder.

    Args:
        segmenter: a `ClickSegmenter` gets all scores, a mere `BoxSegmenter` that of boxes.
        config: what to evaluate on.
        method: its name in the report.
        workers: processes to spread the images over; the method is copied to each, so it should use one core.
        progress: called after each image.
        journal: keeps the scores of each image; those that are in it are not measured again.

    Returns:
        Per data set the means over masks of `iou@1` ... `iou@9` (after so many clicks), `oracle@1` (the best
        candidate of the first click), `noc@85` and `noc@90` (clicks to that IoU), and `box`; the same per size of mask.

    Raises:
        ValueError: there is no data set in the folder, or a picture, record or mask in it cannot be read.
    """
    datasets, everything = {}, list[Scored]()
    with _scoring(segmenter, config, workers) as score_all:
        for name, shards in groupby(sorted(list_shards(config.data), key=dataset_name), key=dataset_name):
            rows, seconds = list[Scored](), 0.0
            pairs = _pairs(list(shards), config.max_images)
            for images, (scores, elapsed) in enumerate(_measured(pairs, score_all, method, journal), start=1):
                rows += scores
                seconds += elapsed
                if progress:
                    progress(Progress(name, images, len(pairs)))
            if rows:
                datasets[name] = DatasetScores(
                    len(pairs), len(rows), seconds, mean_scores([scores for _, scores in rows])
                )
            everything += rows
    return MethodScores(method, datasets, scores_by_size(everything))


def _measured(
    pairs: list[Pair],
    score_all: Callable[[list[Pair]], Iterator[list[Scored]]],
    method: str,
    journal: Journal | None,
) -> Iterator[tuple[list[Scored], float]]:
    """The scores of pictures in order, and the seconds since the picture before; the journal's, where it has them."""
    keys = [f"{method} {pair.dataset} {pair.name}" for pair in pairs]
    known = journal.values if journal else {}
    new = score_all([pair for pair, key in zip(pairs, keys, strict=True) if key not in known])
    for key in keys:
        if key in known and journal:
            rows, seconds = journal.values[key]
            yield [(share, scores) for share, scores in rows], seconds
            continue
        start = time.perf_counter()
        scored = next(new)
        seconds = time.perf_counter() - start
        if journal:
            journal.add(key, (scored, seconds))
        yield scored, seconds


class _Worker:
    """What a process of the pool keeps: a model is sent to it once, not with every picture."""

    score: Callable[[Pair], list[Scored]]


@contextmanager
def _scoring(
    segmenter: BoxSegmenter, config: ClicksConfig, workers: int
) -> Iterator[Callable[[list[Pair]], Iterator[list[Scored]]]]:
    """A function from pictures to their scores, in order, in this process or in so many others."""
    if workers == 1:
        yield partial(map, partial(_score_pair, segmenter, config))
        return
    # As plain bytes: torch would put the tensors of a model into shared memory, of which a container has little.
    sent = pickle.dumps(partial(_score_pair, segmenter, config))
    executor = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (sent,))
    try:
        yield partial(executor.map, _score_in_worker)
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker(sent: bytes) -> None:
    _Worker.score = pickle.loads(sent)


def _score_in_worker(pair: Pair) -> list[Scored]:
    return _Worker.score(pair)


def _pairs(shards: list[Path], limit: int | None) -> list[Pair]:
    """The pictures of one data set, at most `limit` of them."""
    return _evenly_spaced([pair for shard in shards for pair in read_shard(shard)], limit)


def _evenly_spaced(values: list[Value], limit: int | None) -> list[Value]:
    if limit is None or limit >= len(values):
        return values
    return [values[index * len(values) // limit] for index in range(limit)]


def _score_pair(segmenter: BoxSegmenter, config: ClicksConfig, pair: Pair) -> list[Scored]:
    try:
        image = read(pair.picture)
        masks = [record.mask for record in _evenly_spaced(pair.record.annotations, config.max_masks_per_image)]
    except ValueError as error:
        raise ValueError(f"{pair.name} in {pair.dataset}: {error}") from error
    size = (pair.record.image.height, pair.record.image.width)
    if image.shape[:2] != size:
        raise ValueError(
            f"{pair.name} in {pair.dataset}: expected a picture of (H, W) = {size} as its record says, "
            f"got {image.shape[:2]}; the record belongs to another picture."
        )
    truths = [mask for mask in masks if mask.any()]  # nothing can be clicked in an empty one
    if not truths:
        return []
    rows = score_image(segmenter, image, np.stack(truths), config.prompts_per_call)
    return [(float(truth.mean()), row) for truth, row in zip(truths, rows, strict=True)]


def score_image(
    segmenter: BoxSegmenter, image: Rgb, truths: Masks, prompts_per_call: int, clicks: int = CLICK_LIMIT
) -> list[dict[str, float]]:
    """The scores of each mask of one picture; see `run_clicks` for their names.

    Args:
        segmenter: the method; it embeds the picture once.
        image: (H, W, 3).
        truths: (P, H, W) the masks to find, none of them empty.
        prompts_per_call: how many of them play at the same time.
        clicks: a game ends after so many; scores that ask for more are not meaningful then.
    """
    embedding = segmenter.embed(image)
    rows: list[dict[str, float]] = []
    for start in range(0, len(truths), prompts_per_call):
        group = truths[start : start + prompts_per_call]
        games: list[dict[str, float]] = [{} for _ in group]
        if isinstance(segmenter, ClickSegmenter):
            games = _play(segmenter, embedding, group, clicks)
        found = segmenter.segment_boxes(embedding, mask_to_box(group).astype(np.float64))
        for game, mask, truth in zip(games, found, group, strict=True):
            rows.append({**game, "box": float(iou(mask, truth))})
    return rows


def _play(segmenter: ClickSegmenter, embedding: object, truths: Masks, limit: int) -> list[dict[str, float]]:
    """The scores of P games played at the same time.

    A game goes on until it has had 9 clicks and reached the highest target, for `limit` clicks at most. An answer
    without any error leaves nothing to click on: it stays what it is.
    """
    count = len(truths)
    points, labels = np.zeros((count, limit, 2)), np.ones((count, limit), dtype=np.int64)
    points[:, 0] = [deepest_point(truth) for truth in truths]
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
            points[p, click], labels[p, click] = _next_click(truths[p], masks[p])
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
    oracles = candidates.max(axis=1).tolist()
    return [_game_scores(values, oracle) for values, oracle in zip(ious, oracles, strict=True)]


def _next_click(truth: Mask, answer: Mask) -> tuple[tuple[int, int], int]:
    """The deepest point (x, y) of what is missing or, if that is deeper, of what is too much; and its label.

    The two are regions of their own: a point between them would be right at the border of the mask.
    """
    missing, missing_depth = deepest_with_depth(truth & ~answer)
    surplus, surplus_depth = deepest_with_depth(answer & ~truth)
    return (missing, FOREGROUND) if missing_depth >= surplus_depth else (surplus, BACKGROUND)


def _goes_on(ious: list[float]) -> bool:
    return ious[-1] < 1 and (len(ious) < max(REPORTED_CLICKS) or max(ious) < max(TARGETS))


def _game_scores(ious: list[float], oracle: float) -> dict[str, float]:
    after = {f"iou@{click}": ious[min(click, len(ious)) - 1] for click in REPORTED_CLICKS}
    clicks = {f"noc@{target * 100:.0f}": float(number_of_clicks(ious, target)) for target in TARGETS}
    return {**after, "oracle@1": oracle, **clicks}
