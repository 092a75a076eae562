"""What a rater sees of a mask: five views, each for other mistakes (paper, appendix G)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from opensam.image import Rgb
from opensam.masks import Mask, mask_to_box

VIEWS = ("picture", "overlay", "mask", "zoom", "zoom_overlay")

SHOWN_SIDE = 1400  # pixels of the longest side: what a screen shows
ZOOMED_SIDE = 900  # a small object is enlarged to this
ZOOM_MARGIN = 0.35  # of the object's longer side, on each side of it
SMALLEST_ZOOM = 48  # pixels of the picture

RED, WHITE, BLUE = (229, 40, 59), (255, 255, 255), (20, 110, 245)
YELLOW, PURPLE = (245, 215, 66), (58, 28, 92)
TINT = 0.45


def draw_views(image: Rgb, mask: Mask, point: tuple[int, int]) -> dict[str, Rgb]:
    """The picture, with the mask, the mask alone, and near to it without and with the mask; the point in all of them.

    Args:
        image: (H, W, 3).
        mask: (H, W), may be empty.
        point: (x, y), all that the method was told.
    """
    whole = (0, 0, image.shape[1], image.shape[0])
    near = zoom_window(mask, point)
    alone = np.where(mask[..., None], np.array(YELLOW, np.uint8), np.array(PURPLE, np.uint8))
    return {
        "picture": _view(image, None, point, whole, SHOWN_SIDE),
        "overlay": _view(image, mask, point, whole, SHOWN_SIDE),
        "mask": _view(alone, None, point, whole, SHOWN_SIDE),
        "zoom": _view(image, None, point, near, ZOOMED_SIDE, enlarge=True),
        "zoom_overlay": _view(image, mask, point, near, ZOOMED_SIDE, enlarge=True),
    }


def zoom_window(mask: Mask, point: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of the picture (x0, y0, x1, y1), ends outside, that shows the mask and the point with a margin."""
    x, y = point
    box = mask_to_box(mask) if mask.any() else np.array([x, y, x, y])
    x0, y0, x1, y1 = min(box[0], x), min(box[1], y), max(box[2], x) + 1, max(box[3], y) + 1
    margin = max(ZOOM_MARGIN * max(x1 - x0, y1 - y0), (SMALLEST_ZOOM - min(x1 - x0, y1 - y0)) / 2)
    height, width = mask.shape
    low, high = np.floor([x0 - margin, y0 - margin]), np.ceil([x1 + margin, y1 + margin])
    return max(0, int(low[0])), max(0, int(low[1])), min(width, int(high[0])), min(height, int(high[1]))


def _view(
    image: NDArray[np.uint8],
    mask: Mask | None,
    point: tuple[int, int],
    window: tuple[int, int, int, int],
    side: int,
    enlarge: bool = False,
) -> Rgb:
    """A part of the picture at the size of the screen; outlines are drawn there, so that they are equally thin."""
    x0, y0, x1, y1 = window
    scale = side / max(x1 - x0, y1 - y0)
    scale = scale if enlarge else min(1.0, scale)
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    canvas = _resized(np.ascontiguousarray(image[y0:y1, x0:x1]), size, scale)
    if mask is not None:
        # Enlarged without smoothing: a rater judges the pixels of the mask, not those of the enlargement.
        inside = cv2.resize(
            np.ascontiguousarray(mask[y0:y1, x0:x1]).view(np.uint8), size, interpolation=cv2.INTER_NEAREST
        )
        tinted = canvas * (1 - TINT) + np.array(RED) * TINT
        canvas = np.where(inside[..., None] > 0, np.rint(tinted), canvas).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, RED, 2, cv2.LINE_AA)
    _draw_point(canvas, ((point[0] + 0.5 - x0) * size[0] / (x1 - x0), (point[1] + 0.5 - y0) * size[1] / (y1 - y0)))
    return canvas


def _resized(image: NDArray[np.uint8], size: tuple[int, int], scale: float) -> Rgb:
    if scale == 1:
        return image.copy()
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


def _draw_point(canvas: Rgb, point: tuple[float, float]) -> None:
    radius = max(5, round(max(canvas.shape[:2]) / 160))
    place = (round(point[0]), round(point[1]))
    for size, color in ((radius + 2, WHITE), (radius, BLUE)):
        cv2.circle(canvas, place, size, color, -1, cv2.LINE_AA)
