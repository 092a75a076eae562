"""What a mask is made of: run lengths, area, box, overlap, stability, its deepest point, outlines, strokes.

A mask is an (H, W) bool array, True inside. Functions over many masks at once take numpy arrays or torch
tensors and give back the same kind, and only tensors need torch; functions on one mask take and give numpy.
Coordinates are (x, y) in pixels, where whole numbers are pixel centres. No function changes its arguments.
`opensam.rle` calculates with run lengths alone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco

from opensam.rle import Rle as Rle  # of this module too: what a mask becomes
from opensam.rle import place_rle, read_runs

if TYPE_CHECKING:
    import torch

_FAR = 2.0**24  # pixels; points beyond are moved here, where OpenCV still calculates exactly

Mask = NDArray[np.bool_]
Masks = TypeVar("Masks", NDArray[Any], "torch.Tensor")


def encode_rle(mask: Mask, origin: Sequence[int] = (0, 0), size: Sequence[int] | None = None) -> Rle:
    """Compress a mask, or the mask of a part as mask of the whole picture, which is never filled.

    Args:
        mask: (h, w) bool.
        origin: (x, y) of the mask's top left pixel in the picture.
        size: (H, W) of the picture; that of the mask if None.

    Raises:
        ValueError: not an (h, w) bool array, or a pixel inside it is not in the picture.
    """
    pixels = _as_uint8(mask)
    # pycocotools takes its time over each pixel, OpenCV finds the few that matter at once; an empty mask keeps one.
    x, y, width, height = cv2.boundingRect(pixels)
    packed = coco.encode(np.asfortranarray(pixels[y : y + max(height, 1), x : x + max(width, 1)]))
    rle: Rle = {"size": packed["size"], "counts": packed["counts"].decode("ascii")}
    return place_rle(rle, (origin[0] + x, origin[1] + y), mask.shape if size is None else size)


def decode_rle(rle: Rle) -> Mask:
    """Unpack a mask, (H, W) bool.

    Raises:
        ValueError: the runs do not fill `size` exactly.
    """
    runs = read_runs(rle)
    height, width = rle["size"]
    columns = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    return np.ascontiguousarray(columns.reshape(width, height).T)


def area(mask: Rle | Mask) -> int:
    """Pixels inside a mask; of an RLE without unpacking it. Raises ValueError like `decode_rle`."""
    if isinstance(mask, np.ndarray):
        return int(np.count_nonzero(_as_uint8(mask)))
    return int(read_runs(mask)[1::2].sum())


def mask_to_box(masks: Masks) -> Masks:
    """The tight XYXY boxes around masks, both corners inside the mask (as the official code counts).

    Args:
        masks: (..., H, W) bool.

    Returns:
        (..., 4) int64; a mask of one pixel has x0 == x1, an empty mask gives zeros.
    """
    if isinstance(masks, np.ndarray):
        return _array_to_box(masks)
    import torch

    sides = []
    for inside in (masks.any(dim=-2), masks.any(dim=-1)):
        marks = inside.to(torch.uint8)
        first = marks.argmax(dim=-1)
        last = marks.shape[-1] - 1 - marks.flip(-1).argmax(dim=-1)
        sides.append((first, torch.where(inside.any(dim=-1), last, first)))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=-1)


def mask_iou(masks: Masks, others: Masks) -> Masks:
    """Intersection over union of each pair of masks.

    Args:
        masks: (N, H, W) bool.
        others: (M, H, W) bool, of the same kind.

    Returns:
        (N, M) float32 in [0, 1]; 0 for two empty masks.

    Raises:
        ValueError: the pictures differ in size, or an axis is missing.
    """
    if masks.ndim != 3 or others.ndim != 3 or masks.shape[1:] != others.shape[1:]:
        raise ValueError(
            "mask_iou expects masks of shape (N, H, W) and (M, H, W) over the same picture, "
            f"got {tuple(masks.shape)} and {tuple(others.shape)}."
        )
    if isinstance(masks, np.ndarray) or isinstance(others, np.ndarray):
        first, second = (np.asarray(one, dtype=np.float32).reshape(len(one), -1) for one in (masks, others))
        intersection = first @ second.T
        union = first.sum(axis=1)[:, None] + second.sum(axis=1)[None, :] - intersection
        return intersection / union.clip(min=1)
    first, second = masks.flatten(1).float(), others.flatten(1).float()
    intersection = first @ second.T
    union = first.sum(dim=1)[:, None] + second.sum(dim=1)[None, :] - intersection
    return intersection / union.clamp(min=1)


def stability_score(logits: Masks, mask_threshold: float = 0.0, offset: float = 1.0) -> Masks:
    """How little a mask changes with its threshold: the IoU of the masks at threshold + and - offset.

    Args:
        logits: (..., H, W).
        mask_threshold: the logit above which a pixel is inside.
        offset: 1.0 in the paper (B) and in the official code.

    Returns:
        (...) float32 in [0, 1]; 0 (the official code: NaN) where not even the larger mask has a pixel.
    """
    # The mask at the higher threshold lies inside the other, so the two areas are intersection and union.
    if isinstance(logits, np.ndarray):
        inner = np.count_nonzero(logits > mask_threshold + offset, axis=(-2, -1))
        outer = np.count_nonzero(logits > mask_threshold - offset, axis=(-2, -1))
        return np.asarray(inner, dtype=np.float32) / np.maximum(1, outer).astype(np.float32)
    intersection = (logits > mask_threshold + offset).sum(dim=(-2, -1))
    union = (logits > mask_threshold - offset).sum(dim=(-2, -1))
    return intersection / union.clamp(min=1)


def deepest_point(mask: Mask) -> tuple[int, int]:
    """The pixel (x, y) farthest from the outside of a mask; beyond the picture's border is outside.

    This is where the evaluation protocol (paper, D.1) clicks. Of equally deep pixels it is the topmost, then
    the leftmost.

    Raises:
        ValueError: the mask is empty.
    """
    point, depth = deepest_with_depth(mask)
    if not depth:
        raise ValueError("deepest_point expects a mask with at least one pixel inside, got an empty one.")
    return point


def deepest_with_depth(mask: Mask) -> tuple[tuple[int, int], float]:
    """`deepest_point` and its squared distance to the outside; depth 0, and a point without meaning, if empty."""
    # Beyond the picture is outside, so a window around the mask is enough.
    x0, y0, width, height = cv2.boundingRect(_as_uint8(mask))
    framed = np.pad(_as_uint8(mask[y0 : y0 + height, x0 : x0 + width]), 1) if width else np.zeros((1, 1), np.uint8)
    # Squared distances are whole numbers. Unrounded, float noise would choose between equally deep pixels.
    depth = np.rint(cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) ** 2)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return (x0 + int(x) - 1, y0 + int(y) - 1), float(depth[y, x])


def polygons(mask: Mask) -> list[NDArray[np.int32]]:
    """Outlines of a mask, holes included: (K, 2) arrays of pixels of the mask.

    `fill_polygons` of all of them together gives the mask back.
    """
    outlines, _ = cv2.findContours(_as_uint8(mask), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [np.asarray(outline, dtype=np.int32).reshape(-1, 2) for outline in outlines]


def fill_polygons(polygons: Sequence[ArrayLike], size: tuple[int, int]) -> Mask:
    """The mask inside polygons, outlines included; inside two of them is outside, so a hole is a polygon too.

    Args:
        polygons: (K, 2) points each; they are rounded to pixels and may leave the picture.
        size: (H, W) of the mask.

    Raises:
        ValueError: a polygon is not (K, 2) finite numbers.
    """
    canvas = np.zeros(size, dtype=np.uint8)
    cv2.fillPoly(canvas, [_as_pixels(polygon, "a polygon") for polygon in polygons], (1,))
    return canvas.astype(bool)


def remove_small_regions(mask: Mask, min_area: int, mode: Literal["holes", "islands"]) -> Mask:
    """Fill holes, or remove islands, of fewer than `min_area` pixels; regions touch by side or corner.

    If all islands are small, the largest stays (as in the official code).

    Raises:
        ValueError: not an (H, W) bool array, or another mode.
    """
    if mode not in ("holes", "islands"):
        raise ValueError(f"remove_small_regions expects mode 'holes' or 'islands', got {mode!r}.")
    regions = ~mask if mode == "holes" else mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(_as_uint8(regions), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    small = areas < min_area
    small[0] = False  # label 0 is everything else
    if mode == "islands" and len(areas) > 1 and small[1:].all():
        small[1 + areas[1:].argmax()] = False
    changed: Mask = small[labels]
    return mask | changed if mode == "holes" else mask & ~changed


def _as_uint8(mask: Mask) -> NDArray[np.uint8]:
    if mask.dtype != np.bool_ or mask.ndim != 2 or mask.size == 0:
        raise ValueError(
            f"expected a mask as bool array of shape (H, W), got {mask.dtype} of shape {mask.shape}; "
            "threshold logits with `> 0` and take one mask at a time."
        )
    return np.ascontiguousarray(mask).view(np.uint8)


def _array_to_box(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    sides = []
    for inside in (masks.any(axis=-2), masks.any(axis=-1)):
        first = inside.argmax(axis=-1)
        last = inside.shape[-1] - 1 - np.flip(inside, -1).argmax(axis=-1)
        sides.append((first, np.where(inside.any(axis=-1), last, first)))
    (x0, x1), (y0, y1) = sides
    return np.stack([x0, y0, x1, y1], axis=-1)


def _as_pixels(points: ArrayLike, what: str) -> NDArray[np.int32]:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError(f"expected {what} as finite points (x, y) of shape (K, 2), got shape {array.shape}.")
    return np.rint(array.clip(-_FAR, _FAR)).astype(np.int32)
