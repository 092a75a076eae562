"""Drawing masks, clicks and boxes over a picture.

Letters: M masks, N points, K boxes, (H, W) the size of the picture.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from opensam.masks import mask_to_box

Rgb = NDArray[np.uint8]
Color = tuple[int, int, int]

# Told apart from each other and from most photographs; the first is for a single mask.
PALETTE: tuple[Color, ...] = (
    (40, 125, 255),
    (255, 92, 138),
    (46, 196, 130),
    (255, 159, 28),
    (155, 93, 229),
    (0, 187, 212),
    (240, 230, 60),
    (230, 57, 70),
)
FOREGROUND_COLOR: Color = (24, 168, 88)
BACKGROUND_COLOR: Color = (222, 48, 60)
BOX_COLOR: Color = (255, 214, 64)
_WHITE: Color = (255, 255, 255)
_DARK: Color = (24, 24, 28)
_FILL = 0.42  # how much of the mask's colour covers the picture
_BAND = 256  # rows mixed at a time: colours as floats take twelve times the memory of the picture
_SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel


def overlay(
    image: Rgb,
    masks: ArrayLike | None = None,
    *,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    colors: Sequence[Color] = PALETTE,
) -> Rgb:
    """Draw masks as coloured glass with an outline, boxes as frames, and clicks as a plus or a minus.

    Args:
        image: (H, W, 3) uint8 RGB; not modified.
        masks: (H, W) or (M, H, W) bool.
        points: (N, 2), (x, y).
        labels: (N,): 1 foreground (a green plus), 0 background (a red minus), others are not drawn; all 1
            when left out.
        boxes: (4,) or (K, 4), XYXY.
        colors: of the masks, taken in turn.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        ValueError: the masks are not of the picture's size.
    """
    unit = max(image.shape[:2]) / 600  # widths grow with the picture, which is looked at as a whole
    canvas = image.copy()
    for number, mask in enumerate(_masks(masks, (image.shape[0], image.shape[1]))):
        _draw_mask(canvas, mask, colors[number % len(colors)], unit)
    for box in np.asarray([] if boxes is None else boxes, dtype=np.float64).reshape(-1, 4):
        _draw_box(canvas, box, unit)
    coords = np.asarray([] if points is None else points, dtype=np.float64).reshape(-1, 2)
    kinds = np.ones(len(coords)) if labels is None else np.asarray(labels).reshape(-1)
    for point, kind in zip(coords, kinds, strict=True):
        if kind in (0, 1):
            _draw_click(canvas, point, kind == 1, unit)
    return canvas


def _masks(masks: ArrayLike | None, size: tuple[int, int]) -> NDArray[np.bool_]:
    if masks is None:
        return np.zeros((0, *size), dtype=bool)
    array = np.asarray(masks).astype(bool)
    if array.ndim not in (2, 3) or array.shape[-2:] != size:
        raise ValueError(f"expected masks of shape (H, W) or (M, H, W) with (H, W) = {size}, got {array.shape}")
    return array.reshape(-1, *size)


def _draw_mask(canvas: Rgb, mask: NDArray[np.bool_], color: Color, unit: float) -> None:
    """Tint the inside and trace the outline, in place; only around the mask, so that many stay cheap."""
    if not mask.any():
        return
    line = max(1.4, 2 * unit)
    x0, y0, x1, y1 = mask_to_box(mask)
    margin = int(2 * line) + 3
    window = np.s_[max(0, y0 - margin) : y1 + margin + 1, max(0, x0 - margin) : x1 + margin + 1]
    signed = _distance_to_outline(mask[window])
    for row in range(0, len(signed), _BAND):
        distance, pixels = signed[row : row + _BAND], canvas[window][row : row + _BAND]
        mixed = _mix(pixels, color, _FILL * np.clip(distance + 0.5, 0, 1))
        mixed = _mix(mixed, _WHITE, 0.85 * np.clip(line + 0.5 - np.abs(distance), 0, 1))
        mixed = _mix(mixed, color, np.clip(line / 2 + 0.5 - np.abs(distance), 0, 1))
        pixels[:] = np.rint(mixed)


def _distance_to_outline(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Signed distance in pixels, positive inside, slightly smoothed so that the outline has no stairs."""
    # The border is repeated outwards: where the picture cuts a mask off, there is no outline.
    framed = np.pad(mask, 2, mode="edge").astype(np.uint8)
    inside, outside = (cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (framed, 1 - framed))
    distance = np.where(framed, inside - 0.5, 0.5 - outside).clip(-100, 100).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(distance, (0, 0), 0.9)[2:-2, 2:-2])


def _mix(pixels: NDArray[Any], color: Color, amount: NDArray[Any]) -> NDArray[Any]:
    weight = amount[..., None]
    return np.asarray(pixels * (1 - weight) + np.asarray(color, dtype=np.float32) * weight)


def _draw_box(canvas: Rgb, box: NDArray[np.float64], unit: float) -> None:
    x0, y0, x1, y1 = np.rint(box).astype(int).tolist()
    for color, width in ((_DARK, 3.6), (BOX_COLOR, 2.0)):
        cv2.rectangle(canvas, (x0, y0), (x1, y1), color, max(1, round(width * unit)))


def _draw_click(canvas: Rgb, point: NDArray[np.float64], foreground: bool, unit: float) -> None:
    """A disc with a sign in it, ringed in white and dark so that it stands out on anything."""
    radius = max(4.0, 8.5 * unit)
    color = FOREGROUND_COLOR if foreground else BACKGROUND_COLOR
    x, y = np.rint(point * 2**_SUBPIXEL_BITS).astype(int).tolist()
    for ring, size in ((_DARK, 1.32), (_WHITE, 1.2), (color, 1.0)):
        reach = round(radius * size * 2**_SUBPIXEL_BITS)
        cv2.circle(canvas, (x, y), reach, ring, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    arm, half = 0.55 * radius, max(0.5, 0.13 * radius)
    bars = [(arm, half), (half, arm)] if foreground else [(arm, half)]
    for bar in bars:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * bar + point
        outline = np.rint(corners * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(canvas, [outline], _WHITE, cv2.LINE_AA, _SUBPIXEL_BITS)
