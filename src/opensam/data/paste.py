"""Laying things over a picture so that every mask stays exact: who covers whom, and what of it can still be seen.

Letters: (H, W) size of the picture underneath, (h, w) size of a thing that is laid over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from opensam.image import Rgb
from opensam.masks import Mask, Rle, decode_rle

Alpha = NDArray[np.float32]
Window = tuple[slice, slice]

THING_SHARE = (0.005, 0.3)  # of its picture: smaller is a speck, larger is often background
BORDER_SHARE = 0.05  # of the outline of its box: a thing along the border of its picture is seldom whole
SOLIDITY = 0.65  # of its convex hull: below, a mask is usually several things, or what is left around them
TRIED = 4  # masks looked at for each thing that is wanted
PARTS = 2  # masks inside a thing that come along
STEP_LEVELS, STEP_SHARE = 16.0, 0.75  # a step of so many levels along so much of its border makes a thing visible
LEFT_SHARE = 0.25  # of a mask: where others cover more of it, it is no target any more


@dataclass(frozen=True)
class Layer:
    """A thing to lay over a picture.

    Attributes:
        rgb: (h, w, 3) uint8.
        masks: (h, w) float32 in [0, 1] each: first its own, which is also how opaque it is, then those of its parts.
    """

    rgb: Rgb
    masks: tuple[Alpha, ...]


@dataclass
class Target:
    """A mask in a scene.

    Attributes:
        coverage: (h, w) float32 in [0, 1], what can be seen of it.
        x, y: where its upper left corner lies; it may reach out of the picture.
        whole: its area before anything covered it, in pixels inside the picture.
    """

    coverage: Alpha
    x: int
    y: int
    whole: float


class Scene:
    """A picture under construction.

    Attributes:
        rgb: (H, W, 3) uint8; the array that was given, changed in place.
        clear: (H, W) float32 in [0, 1]: how much of the first picture can still be seen.
        targets: the masks laid over it so far.
    """

    def __init__(self, rgb: Rgb) -> None:
        self.rgb = rgb
        self.clear: Alpha = np.ones(rgb.shape[:2], np.float32)
        self.targets: list[Target] = []

    def add(self, layer: Layer, x: int, y: int, shadow: tuple[float, int, int, int] | None = None) -> bool:
        """Lay a thing over everything so far, unless nobody could tell it from what lies beneath.

        Args:
            layer: the thing.
            x: column of its upper left corner; it may reach out of the picture.
            y: row of that corner.
            shadow: strength in [0, 1], offset (x, y) and width of the blur in pixels.

        Returns:
            Whether it was laid down.
        """
        alpha = layer.masks[0]
        here, there = overlap(self.clear.shape, alpha.shape, x, y)
        seen = alpha[there]
        if not seen.any() or not _stands_out(layer.rgb[there], self.rgb[here], seen):
            return False
        if shadow:
            self._darken(alpha, x, y, shadow)
        self.rgb[here] = cv2.blendLinear(layer.rgb[there], self.rgb[here], seen, 1 - seen)
        self.clear[here] *= 1 - seen
        for target in self.targets:
            under, over = overlap(target.coverage.shape, alpha.shape, x - target.x, y - target.y)
            target.coverage[under] *= 1 - alpha[over]
        self.targets += [Target(mask.copy(), x, y, float(mask[there].sum())) for mask in layer.masks]
        return True

    def _darken(self, alpha: Alpha, x: int, y: int, shadow: tuple[float, int, int, int]) -> None:
        strength, dx, dy, width = shadow
        margin = 2 * width
        framed = cv2.copyMakeBorder(strength * alpha, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
        dark: Alpha = np.asarray(cv2.blur(cv2.blur(framed, (width, width)), (width, width)), np.float32)
        here, there = overlap(self.clear.shape, dark.shape, x + dx - margin, y + dy - margin)
        under, dark = self.rgb[here], dark[there]
        if dark.size:
            self.rgb[here] = cv2.blendLinear(under, np.zeros_like(under), 1 - dark, dark)

    def visible(self, target: Target, cell: int) -> Alpha | None:
        """How much of each cell of `cell` x `cell` pixels a target covers; None if others cover most of it."""
        height, width = self.clear.shape
        grid = np.zeros((height // cell, width // cell), np.float32)
        (rows, columns), there = overlap(self.clear.shape, target.coverage.shape, target.x, target.y)
        seen = target.coverage[there]
        if not seen.sum() > LEFT_SHARE * target.whole:
            return None
        vertical, horizontal = (rows.start % cell, -rows.stop % cell), (columns.start % cell, -columns.stop % cell)
        whole_cells = cv2.copyMakeBorder(seen, *vertical, *horizontal, cv2.BORDER_CONSTANT)
        h, w = whole_cells.shape[0] // cell, whole_cells.shape[1] // cell
        top, left = rows.start // cell, columns.start // cell
        grid[top : top + h, left : left + w] = cv2.resize(whole_cells, (w, h), interpolation=cv2.INTER_AREA)
        return grid


def tight_box(coverage: Alpha, x: int = 0, y: int = 0) -> tuple[float, float, float, float]:
    """The XYXY box of what is covered by half or more, moved by (x, y); both corners inside."""
    left, top, w, h = cv2.boundingRect((coverage >= min(0.5, coverage.max())).view(np.uint8))
    return x + left, y + top, x + left + w - 1, y + top + h - 1


def overlap(size: tuple[int, ...], other: tuple[int, ...], x: int, y: int) -> tuple[Window, Window]:
    """Where a rectangle and another one meet whose corner lies at (x, y): the slices of both, perhaps empty."""
    y0, y1 = max(0, y), max(0, y, min(size[0], y + other[0]))
    x0, x1 = max(0, x), max(0, x, min(size[1], x + other[1]))
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def _stands_out(over: Rgb, under: Rgb, alpha: Alpha) -> bool:
    """Whether colours, blurred a little, step along most of the border of `alpha`."""
    border = np.abs(cv2.blur(alpha, (5, 5)) - alpha)
    near = border > 0.1
    red, green, blue = cv2.split(cv2.absdiff(cv2.blur(over, (5, 5)), cv2.blur(under, (5, 5))))
    steps = cv2.max(cv2.max(red, green), blue) > STEP_LEVELS
    return bool(np.count_nonzero(steps & near) > STEP_SHARE * np.count_nonzero(near))


def find_things(masks: Sequence[Rle], count: int, rng: np.random.Generator) -> list[tuple[Mask, list[Mask]]]:
    """Masks that look like whole things, at random, each with some of the masks that lie inside it.

    A thing is neither tiny nor large, compact, and does not lie along the border of its picture.
    """
    rles: Any = list(masks)
    areas, boxes = mask_areas(masks), coco.toBbox(rles)
    height, width = masks[0]["size"]
    shares = areas / (height * width)
    fill = areas / (boxes[:, 2] * boxes[:, 3]).clip(1)
    fits = (shares > THING_SHARE[0]) & (shares < THING_SHARE[1]) & (fill > SOLIDITY / 2)
    things: list[tuple[Mask, list[Mask]]] = []
    for i in rng.permutation(np.flatnonzero(fits))[: TRIED * count]:
        mask = decode_rle(masks[i])
        if _is_whole(mask, areas[i]):
            inside = _boxes_inside(boxes, boxes[i]) & (areas > 0.03 * areas[i]) & (areas < 0.8 * areas[i])
            parts = (decode_rle(masks[j]) for j in rng.permutation(np.flatnonzero(inside))[:PARTS])
            things.append((mask, [part for part in parts if not (part & ~mask).sum() > 0.05 * part.sum()]))
        if len(things) == count:
            break
    return things


def mask_areas(masks: Sequence[Rle]) -> NDArray[np.float64]:
    """Pixels inside each mask, by pycocotools, which does not unpack them; of more than 255 at once it fails."""
    rles: Any = masks
    return np.array([coco.area(rle) for rle in rles], np.float64)


def _is_whole(mask: Mask, area: float) -> bool:
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    edge = np.count_nonzero(mask[[0, -1]]) + np.count_nonzero(mask[:, [0, -1]])
    if edge > BORDER_SHARE * 2 * (w + h):
        return False
    outlines, _ = cv2.findContours(
        np.ascontiguousarray(mask[y : y + h, x : x + w]).view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return area > SOLIDITY * cv2.contourArea(cv2.convexHull(np.concatenate(outlines)))


def _boxes_inside(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.bool_]:
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    return np.asarray((low >= box[:2] - 2).all(axis=1) & (high <= box[:2] + box[2:] + 2).all(axis=1))


def cut_out(rgb: Rgb, thing: Mask, parts: Sequence[Mask], side: float, rng: np.random.Generator) -> Layer:
    """A thing out of its picture, its longer side `side` pixels long, perhaps mirrored, its edge a little soft."""
    x, y, w, h = cv2.boundingRect(thing.view(np.uint8))
    scale = side / max(w, h)
    size = max(2, round(h * scale)), max(2, round(w * scale))
    mirror = bool(rng.random() < 0.5)
    matte: Alpha = thing[y : y + h, x : x + w].astype(np.float32)
    if min(w, h) > 24:  # outlines are often a pixel too wide, and show what was behind
        matte[:] = cv2.erode(matte, np.ones((3, 3)), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    soft = float(rng.uniform(0.5, 1.1))
    alpha = soften(resize(matte, size, mirror), soft)
    inside = (resize(part[y : y + h, x : x + w].astype(np.float32), size, mirror) for part in parts)
    masks = (alpha, *(np.minimum(soften(part, soft), alpha) for part in inside))
    return Layer(_framed(resize(rgb[y : y + h, x : x + w], size, mirror), cv2.BORDER_REPLICATE), masks)


def soften(alpha: Alpha, sigma: float) -> Alpha:
    """A mask with a soft edge, framed by two more pixels on each side."""
    return np.asarray(cv2.GaussianBlur(_framed(alpha, cv2.BORDER_CONSTANT), (5, 5), sigma))


def _framed(array: NDArray[Any], border: int) -> NDArray[Any]:
    return cv2.copyMakeBorder(array, 2, 2, 2, 2, border)


def resize(array: NDArray[Any], size: tuple[int, int], mirror: bool = False) -> NDArray[Any]:
    """To (h, w) = `size`, perhaps mirrored, by averages where it shrinks."""
    shrinks = size[0] < array.shape[0]
    scaled = cv2.resize(array, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.ascontiguousarray(scaled[:, ::-1]) if mirror else scaled


def draw_shadow(side: float, rng: np.random.Generator) -> tuple[float, int, int, int] | None:
    """A soft shadow (see `Scene.add`) for a thing of `side` pixels; half of all things have none."""
    if rng.random() < 0.5:
        return None
    reach = max(2.0, 0.1 * side)
    dx, dy = rng.uniform(-reach, reach, 2)
    return float(rng.uniform(0.2, 0.6)), round(dx), round(dy), round(rng.uniform(2, 2 + reach))
