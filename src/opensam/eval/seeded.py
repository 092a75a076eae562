"""Methods without learning that grow an object from seeds: marked pixels of it, and of what is beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opensam.eval.segmenters import Answer, Masks
from opensam.image import Rgb
from opensam.masks import Mask

Seeds = NDArray[np.int32]
"""(H, W): OBJECT, BESIDE or UNKNOWN."""
UNKNOWN, OBJECT, BESIDE = 0, 1, 2
RADIUS = 0.01  # of the disc around a click, of the picture's longer side
MIDDLE = 1 / 3  # of the sides of a box: what lies there is taken for the object
SMOOTH = 1.0  # standard deviation, in pixels, before gradients are taken

# Of the random walker: how much colours count; the default of scikit-image.
BETA = 130
WALKED_SIDE = 128
"""Longer side of the picture that the random walker sees: it solves an equation for every pixel, here exactly."""


@dataclass(frozen=True)
class Seeded:
    """A method that knows seeds only, and gets them from clicks and boxes.

    A click marks a disc around it. As long as no click says what is beside the object, the border of the picture does.
    Of a box, the middle third is the object and all that is outside is not; a box over the whole picture is its own
    answer, because nothing is outside.

    Attributes:
        grow: makes a mask (h, w) of a picture (h, w, 3) and its seeds, which hold both OBJECT and BESIDE.
        longest: larger pictures are scaled to this longer side before, and masks back; None: never.
    """

    grow: Callable[[Rgb, Seeds], Mask]
    longest: int | None = None

    def embed(self, image: Rgb) -> tuple[Rgb, tuple[int, int]]:
        """The picture as `grow` sees it, and its size (H, W)."""
        size = (image.shape[0], image.shape[1])
        scale = min(1.0, self.longest / max(size)) if self.longest else 1.0
        if scale == 1:
            return image, size
        shape = (max(1, round(size[1] * scale)), max(1, round(size[0] * scale)))
        return np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), dtype=np.uint8), size

    def segment_boxes(self, embedding: tuple[Rgb, tuple[int, int]], boxes: NDArray[np.float64]) -> Masks:
        """The masks (P, H, W) of the objects in XYXY boxes (P, 4); see `BoxSegmenter`."""
        return np.stack([self._in_box(*embedding, box) for box in boxes])

    def segment_clicks(
        self,
        embedding: tuple[Rgb, tuple[int, int]],
        points: NDArray[np.float64],
        labels: NDArray[np.int64],
        mask_input: Tensor | None,  # noqa: ARG002 -- it has no use for its last answer
        multimask_output: bool,  # noqa: ARG002 -- and only one answer
    ) -> Answer:
        """One mask for each of P objects from all their clicks so far; see `ClickSegmenter`."""
        pairs = zip(points, labels, strict=True)
        masks = np.stack([self._from_clicks(*embedding, clicks, signs) for clicks, signs in pairs])[:, None]
        return Answer(masks, np.ones((len(masks), 1)), torch.zeros(len(masks), 1, 1, 1))

    def _in_box(self, picture: Rgb, size: tuple[int, int], box: NDArray[np.float64]) -> Mask:
        x0, y0, x1, y1 = box
        if x0 <= 0 and y0 <= 0 and x1 >= size[1] - 1 and y1 >= size[0] - 1:
            return np.ones(size, dtype=np.bool_)
        seeds = np.full(picture.shape[:2], BESIDE, dtype=np.int32)
        seeds[_pixels(picture, size, (x0, y0, x1, y1))] = UNKNOWN
        x, y, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, MIDDLE * (x1 - x0) / 2, MIDDLE * (y1 - y0) / 2
        seeds[_pixels(picture, size, (x - rx, y - ry, x + rx, y + ry))] = OBJECT
        return self._grown(picture, size, seeds)

    def _from_clicks(
        self, picture: Rgb, size: tuple[int, int], points: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> Mask:
        seeds = np.full(picture.shape[:2], UNKNOWN, dtype=np.int32)
        if (labels == 1).all():
            seeds[[0, -1]] = BESIDE
            seeds[:, [0, -1]] = BESIDE
        radius = round(RADIUS * max(picture.shape[:2]))
        places = np.floor((points + 0.5) * (picture.shape[1] / size[1], picture.shape[0] / size[0])).astype(int)
        for (x, y), label in zip(places.tolist(), labels.tolist(), strict=True):
            cv2.circle(seeds, (x, y), radius, OBJECT if label == 1 else BESIDE, -1)
        return self._grown(picture, size, seeds)

    def _grown(self, picture: Rgb, size: tuple[int, int], seeds: Seeds) -> Mask:
        marks = set(np.unique(seeds).tolist())
        # Later discs can cover all of earlier ones; then there is nothing to grow, or nothing to stop it.
        mask = self.grow(picture, seeds) if {OBJECT, BESIDE} <= marks else seeds == OBJECT
        if mask.shape != size:
            resized: Any = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
            mask = resized > 0.5
        return np.asarray(mask, dtype=np.bool_)


def _pixels(picture: Rgb, size: tuple[int, int], box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """Rows and columns of the scaled picture that a box of the original one covers; at least one of each."""
    sides = []
    for low, high, length, original in zip(box[:2], box[2:], picture.shape[1::-1], size[::-1], strict=True):
        first = min(int((low + 0.5) * length / original), length - 1)
        sides.append(slice(first, max(first, min(int((high + 0.5) * length / original), length - 1)) + 1))
    return sides[1], sides[0]


def watershed() -> Seeded:
    """Watershed of the gradient, flooded from the seeds (Meyer 1991), as scikit-image has it."""
    return Seeded(_flood)


def random_walker() -> Seeded:
    """Random walker (Grady 2006), as scikit-image has it: where would a walk, that avoids edges, end first?"""
    return Seeded(_walk, WALKED_SIDE)


def _flood(picture: Rgb, seeds: Seeds) -> Mask:
    from skimage.segmentation import watershed as flood

    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), SMOOTH)
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return np.asarray(flood(gradient, seeds) == OBJECT)  # type: ignore[no-untyped-call]


def _walk(picture: Rgb, seeds: Seeds) -> Mask:
    from skimage.segmentation import random_walker as walk

    if not (seeds == UNKNOWN).any() or not np.ptp(picture):  # nothing to find out, or nothing to see
        return seeds == OBJECT
    return np.asarray(walk(picture, seeds, BETA, mode="bf", channel_axis=-1) == OBJECT)
