"""The masks of one crop: a click on every point of the grid, and what passes the filters.

Every filter comes as early as its question can be answered: predicted IoU before there is a mask; stability first on
the decoder's grid, where most failures are plain; exact stability and the mask itself only in the part of the picture
that the mask can reach, one mask at a time. What stays of a mask are its edges (`edges`). So memory is that of
decoding `PROMPTS_AT_ONCE` prompts, however large the picture; on a processor that for each thread of torch, as every
thread decodes prompts of its own (`threads`). The masks do not depend on their number.

Letters: N points, P prompts, K masks, (h, w) the grid of a low-resolution mask.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from opensam.amg.config import AmgConfig
from opensam.amg.edges import Edges, find_edges
from opensam.geometry import Box, Resize, touches_crop_edge
from opensam.image import Rgb
from opensam.masks import mask_to_box
from opensam.predictor.base import BasePredictor
from opensam.rle import join_edges

# Prompts that one thread of a processor decodes at once; more gain nothing. If `object_aware`, after so many the points
# that have become needless go, so that the result depends on it; on a processor threads share them in groups.
PROMPTS_AT_ONCE = 16
GROUP = 4
# A logit of the picture is a mean of logits of the grid, up to rounding.
ROUNDING = 1e-3
# If `object_aware`, a point is left out when the masks of so many other clicks lie over it. One is too few: of several
# clicks on a thing, the generator keeps the best mask.
ENOUGH = 4
_LEVELS = 12  # of `coarse_to_fine`: grids have at most some hundred points along a side


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask that passed the filters, in the original frame of the whole picture.

    Attributes:
        edges: the mask, see `opensam.amg.edges`.
        box: XYXY, both corners inside the mask.
        area: its pixels.
        predicted_iou: the model's estimate, as it came.
        stability_score: in the original frame.
        point: (x, y), the click.
        crop_box: XYXY, half open, of the crop that the model saw.
    """

    edges: Edges
    box: Box
    area: int
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    crop_box: Box


class Steps:
    """Counts points that are done, from several threads.

    Args:
        total: all points there will be.
        report: called with the number done and the total, one call at a time.
    """

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self._total, self._report, self._done, self._lock = total, report, 0, threading.Lock()

    def add(self, number: int) -> None:
        """So many more are done. Raises what the report raises."""
        if self._report is not None and number:
            with self._lock:
                self._done += number
                self._report(self._done, self._total)


def find_candidates(
    predictor: BasePredictor[Any],
    picture: Rgb,
    crop_box: Box,
    grid: NDArray[np.float64],
    config: AmgConfig,
    steps: Steps,
    embedding: Any = None,
) -> list[Candidate]:
    """The masks of one crop that pass the filters, before duplicates go.

    Args:
        predictor: of the model.
        picture: (H, W, 3) the whole picture.
        crop_box: XYXY, half open, the crop.
        grid: (N, 2) points (x, y) in [0, 1] of the crop.
        config: settings.
        steps: hears of the points that are done, also of those left out.
        embedding: of the crop, if the predictor has made it before.

    Returns:
        In the order of the grid (if `object_aware` in that of `coarse_to_fine`), then of the decoder's outputs.
    """
    x0, y0, x1, y1 = crop_box
    if embedding is None:
        embedding = predictor.embed(picture[y0:y1, x0:x1])
    crop = _Crop(predictor, embedding, crop_box, (len(picture), picture.shape[1]))
    return crop.segment(grid * (x1 - x0, y1 - y0), config, steps)


@dataclass(frozen=True, eq=False)
class _Crop:
    """A crop that a predictor has embedded, and where it lies in a picture of `size`."""

    predictor: BasePredictor[Any]
    embedding: Any
    box: Box
    size: tuple[int, int]

    @property
    def resize(self) -> Resize:
        """Of the crop."""
        return self.embedding.resize

    def segment(self, points: NDArray[np.float64], config: AmgConfig, steps: Steps | None = None) -> list[Candidate]:
        """Masks for clicks on points (N, 2), (x, y) in pixels of the crop."""
        steps = steps or Steps(len(points), None)
        order = coarse_to_fine(points / self.resize.original_size[::-1]) if config.object_aware else range(len(points))
        on_cpu = self.predictor.on_cpu
        fixed = config.object_aware or on_cpu
        at_once = min(config.points_per_batch, PROMPTS_AT_ONCE) if fixed else config.points_per_batch
        group = min(at_once, GROUP) if config.object_aware and on_cpu else at_once
        found: list[Candidate] = []
        left, covers = np.array(order, dtype=np.int64), np.zeros(len(points), dtype=np.int64)

        def decode(numbers: NDArray[np.int64]) -> list[Candidate]:
            candidates = list(self._decode(points[numbers], config))
            steps.add(len(numbers))
            return candidates

        while len(left):
            numbers, left = np.split(left, [at_once if config.object_aware else len(left)])
            groups = np.split(numbers, range(group, len(numbers), group))
            new = [one for of_group in self.predictor.side_by_side(decode, groups) for one in of_group]
            found += new
            if config.object_aware:
                covers += self._covers(points, _smallest(new))
                needed = covers[left] < ENOUGH
                steps.add(int(np.count_nonzero(~needed)))
                left = left[needed]
        return found

    def _covers(self, points: NDArray[np.float64], candidates: Iterable[Candidate]) -> NDArray[np.int64]:
        """In how many of the masks each of the points (N, 2) of the crop lies."""
        columns, rows = (points + self.box[:2]).astype(np.int64).T
        pixels = columns * self.size[0] + rows
        covers = np.zeros(len(points), dtype=np.int64)
        for candidate in candidates:
            covers += np.searchsorted(candidate.edges, pixels, side="right") % 2
        return covers

    def _decode(self, points: NDArray[np.float64], config: AmgConfig) -> Iterator[Candidate]:
        """What passes of the masks for P clicks."""
        clicks, scores, low_res_masks = self.predictor.click_masks(self.embedding, points, config.pred_iou_thresh)
        hopeful = self._hopeful(low_res_masks, config)
        boxes = self._boxes(low_res_masks, config)
        for number, score, hope, box, low_res_mask in zip(clicks, scores, hopeful, boxes, low_res_masks, strict=True):
            if not hope:
                continue
            x, y = points[number].tolist()
            if candidate := self._restore(low_res_mask, box, score, (x, y), config):
                yield candidate

    def _hopeful(self, low_res_masks: Any, config: AmgConfig) -> list[bool]:
        """Which of (K, h, w) masks may be stable enough, judged on the grid: who is out could not have passed.

        A logit of the picture is a mean of those of its cell and of the eight around it. So a pixel can be above the
        upper threshold only if one of the nine is, and must be above the lower one if all nine are.
        """
        rows, columns = (self._pixels_of_cells(axis, low_res_masks.shape[1 + axis]) for axis in (0, 1))
        threshold, offset = self.predictor.mask_threshold, config.stability_score_offset
        kernel = np.ones((3, 3), np.uint8)
        upper = _array(low_res_masks > threshold + offset - ROUNDING).view(np.uint8)
        lower = _array(low_res_masks > threshold - offset + ROUNDING).view(np.uint8)
        most = [rows @ cv2.dilate(cells, kernel) @ columns for cells in upper]
        least = [rows @ cv2.erode(cells, kernel) @ columns for cells in lower]
        limit = config.stability_score_thresh - ROUNDING
        return [bool(inner >= limit * outer) for inner, outer in zip(most, least, strict=True)]

    def _pixels_of_cells(self, axis: int, cells: int) -> NDArray[np.float64]:
        """How many rows (axis 0) or columns (axis 1) of the crop lie in each of those of the grid; sums to H or W."""
        side, input_side = self.resize.original_size[axis], self.resize.input_size[axis]
        cell = (np.arange(side) + 0.5) * (input_side / side) // 4
        return np.bincount(cell.astype(np.int64), minlength=cells).astype(np.float64)

    def _boxes(self, low_res_masks: Any, config: AmgConfig) -> list[Box]:
        """For each of (K, h, w) masks the part of the crop, XYXY half open, outside of which nothing counts."""
        lowest = self.predictor.mask_threshold - config.stability_score_offset - ROUNDING
        boxes = mask_to_box(low_res_masks > lowest).tolist()
        return [self.resize.reach((x0, y0, x1 + 1, y1 + 1)) for x0, y0, x1, y1 in boxes]

    def _restore(
        self, low_res_mask: Any, box: Box, score: float, point: tuple[float, float], config: AmgConfig
    ) -> Candidate | None:
        """The mask (h, w) in the picture, if it passes."""
        threshold, offset, (left, top) = self.predictor.mask_threshold, config.stability_score_offset, self.box[:2]
        inner = outer = 0
        parts: list[Edges] = []
        rows = np.zeros(box[3] - box[1], dtype=np.bool_)
        for x, logits in self.resize.restore_strips(low_res_mask, box):
            values = _array(logits)
            inner += int(np.count_nonzero(values > threshold + offset))
            outer += int(np.count_nonzero(values > threshold - offset))
            mask = values > threshold
            rows |= mask.any(axis=1)
            parts.append(find_edges(mask, left + x, top + box[1], self.size[0]))
        edges = join_edges(parts)
        # Divided in float32 as in the official code, so that the same masks pass.
        stability, limit = np.float32(inner) / np.float32(max(1, outer)), np.float32(config.stability_score_thresh)
        if not len(edges) or (limit > 0 and stability < limit):
            return None
        area = int((edges[1::2] - edges[::2]).sum())
        ys = np.flatnonzero(rows) + top + box[1]
        mask_box = (int(edges[0]) // self.size[0], int(ys[0]), int(edges[-1] - 1) // self.size[0], int(ys[-1]))
        too_large = config.max_area_fraction is not None and area >= config.max_area_fraction * math.prod(self.size)
        if too_large or touches_crop_edge(mask_box, self.box, self.size):
            return None
        click = (point[0] + left, point[1] + top)
        return Candidate(edges, mask_box, area, score, float(stability), click, self.box)


def _array(values: Any) -> NDArray[Any]:
    """An array as it is, a tensor as an array."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def _smallest(candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    """Of the masks of each click the smallest: another click in it would mostly give the same masks again.

    In a larger one it would not: there may be other parts of a whole.
    """
    smallest: dict[tuple[float, float], Candidate] = {}
    for candidate in candidates:
        if candidate.point not in smallest or candidate.area < smallest[candidate.point].area:
            smallest[candidate.point] = candidate
    return smallest.values()


def coarse_to_fine(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order of points (N, 2), (x, y) in [0, 1], in which the first of them are spread over the whole.

    The unit square is cut into 1, 4, 16, ... cells. Each cell that has no point yet takes the one nearest to its
    middle; of several the first.
    """
    order: list[int] = []
    taken = np.zeros(len(points), dtype=np.bool_)
    for level in range(_LEVELS):
        cells = np.floor(points * 2**level).astype(np.int64)
        distance = ((points * 2**level - cells - 0.5) ** 2).sum(axis=1)
        sorting = np.lexsort((distance, ~taken, cells[:, 0], cells[:, 1]))
        _, first = np.unique(cells[sorting] @ (1, 2 ** (_LEVELS + 1)), return_index=True)
        new = sorting[first]
        new = new[~taken[new]]
        taken[new] = True
        order += new.tolist()
    return np.array([*order, *np.flatnonzero(~taken)], dtype=np.int64)
