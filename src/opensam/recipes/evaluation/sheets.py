"""Sheets of examples for reports: rows of small pictures with words under them.

Letters: (H, W) a picture, (h, w) what of it is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from opensam.files import replacing
from opensam.image import Rgb
from opensam.masks import Mask, mask_to_box

SheetMode = Literal["photos", "outlines", "none"]
"""What sheets show: pictures with masks over them, masks alone on grey (no pixel of a picture), or no sheets."""

SIDE = 232
"""Of the square that a tile's picture lies in, in pixels."""
QUALITY = 88
GAP = 10
LINE = 17
_FONT = 13
_PAPER, _INK, _FAINT = (255, 255, 255), (32, 33, 36), (95, 99, 104)
_PLAIN = (214, 216, 219)  # instead of a photograph

TRUTH_COLOR = (38, 166, 91)
ANSWER_COLOR = (40, 110, 240)
_CLICK_COLORS = ((222, 48, 60), (255, 255, 255))  # beside the object, on it
_BOX_COLOR = (255, 196, 0)
_FILL = 0.45


@dataclass(frozen=True)
class Tile:
    """One example.

    Attributes:
        picture: (h, w, 3) of any size; it is scaled to fit.
        caption: lines of words under it; what is too long for the tile is cut off with dots.
    """

    picture: Rgb
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """Examples side by side, with a heading above them if it is not empty."""

    tiles: Sequence[Tile]
    heading: str = ""


def case(
    image: Rgb | tuple[int, int],
    truth: Mask | None = None,
    answer: Mask | None = None,
    *,
    points: ArrayLike = (),
    labels: ArrayLike = (),
    box: ArrayLike | None = None,
    zoom: bool = True,
) -> Rgb:
    """Draw one example: the true outline in green, the answer as a blue area, clicks, and the box in yellow.

    Args:
        image: (H, W, 3) the picture; or its size (H, W), and a plain grey one stands in its place.
        truth: (H, W) bool.
        answer: (H, W) bool.
        points: (N, 2) clicks (x, y).
        labels: (N,) 1 on the object, 0 beside it; all 1 if empty.
        box: (4,) XYXY.
        zoom: show only what lies around masks, clicks and box, so that small ones can be seen.

    Returns:
        (h, w, 3), its longer side `SIDE` pixels.
    """
    height, width = image if isinstance(image, tuple) else image.shape[:2]
    coords = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    corners = np.zeros((0, 4)) if box is None else np.asarray(box, dtype=np.float64).reshape(1, 4)
    masks = [mask for mask in (truth, answer) if mask is not None]
    window = _around(masks, coords, corners, (height, width)) if zoom else (0, 0, width, height)
    x0, y0, x1, y1 = window
    scale = SIDE / max(x1 - x0, y1 - y0)
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    if isinstance(image, tuple):
        canvas = np.full((size[1], size[0], 3), _PLAIN, dtype=np.uint8)
    else:
        canvas = _scaled(image[y0:y1, x0:x1], size)
    if answer is not None:
        inside = _scaled_mask(answer[y0:y1, x0:x1], size)
        tint = np.asarray(ANSWER_COLOR, dtype=np.float32)
        canvas[inside] = np.rint(canvas[inside] * (1 - _FILL) + tint * _FILL).astype(np.uint8)
        _outline(canvas, inside, ANSWER_COLOR)
    if truth is not None:
        _outline(canvas, _scaled_mask(truth[y0:y1, x0:x1], size), TRUTH_COLOR)
    for frame in (corners.reshape(-1, 2, 2) - (x0, y0)) * scale:
        first, last = np.rint(frame).astype(int).tolist()
        cv2.rectangle(canvas, first, last, _BOX_COLOR, 1, cv2.LINE_AA)
    kinds = np.asarray(labels, dtype=int).reshape(-1) if np.size(labels) else np.ones(len(coords), dtype=int)
    for (x, y), kind in zip(np.rint((coords - (x0, y0) + 0.5) * scale).astype(int).tolist(), kinds, strict=True):
        cv2.circle(canvas, (x, y), 5, _INK, -1, cv2.LINE_AA)
        cv2.circle(canvas, (x, y), 3, _CLICK_COLORS[int(kind == 1)], -1, cv2.LINE_AA)
    return canvas


def sheet(rows: Sequence[Row], side: int = SIDE) -> Rgb:
    """All rows under each other on white paper; a tile that a row lacks stays empty.

    Args:
        rows: from the top.
        side: of the square that a tile's picture lies in, in pixels.

    Raises:
        ValueError: there is no tile.
    """
    columns = max((len(row.tiles) for row in rows), default=0)
    if not columns:
        raise ValueError("expected examples for a sheet, got none")
    font = ImageFont.load_default(_FONT)
    heights = [_height(row, side) for row in rows]
    page = Image.new("RGB", (GAP + columns * (side + GAP), GAP + sum(heights)), _PAPER)
    draw, top = ImageDraw.Draw(page), GAP
    for row, height in zip(rows, heights, strict=True):
        y = top
        if row.heading:
            draw.text((GAP, y), fitting(row.heading, font, page.width - 2 * GAP), _INK, font)
            y += LINE + 4
        for column, tile in enumerate(row.tiles):
            x = GAP + column * (side + GAP)
            picture = _fitted(tile.picture, side)
            page.paste(Image.fromarray(picture), (x + (side - picture.shape[1]) // 2, y + side - picture.shape[0]))
            for number, line in enumerate(tile.caption.splitlines()):
                color = _FAINT if number else _INK
                draw.text((x, y + side + 3 + number * LINE), fitting(line, font, side), color, font)
        top += height
    return np.asarray(page)


def write_sheet(path: Path, rows: Sequence[Row], side: int = SIDE) -> None:
    """Write a sheet as JPEG; its folder is made if it is missing.

    Raises:
        ValueError: there is no tile.
    """
    page = Image.fromarray(sheet(rows, side))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        page.save(temporary, "JPEG", quality=QUALITY, optimize=True)


def fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """A line of words, its end replaced by dots if it is wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _height(row: Row, side: int) -> int:
    lines = max((len(tile.caption.splitlines()) for tile in row.tiles), default=0)
    return (LINE + 4 if row.heading else 0) + side + lines * LINE + 2 * GAP


def _around(
    masks: Sequence[Mask], points: NDArray[np.float64], boxes: NDArray[np.float64], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The part (x0, y0, x1, y1), x1 and y1 beyond it, that holds everything with some room."""
    height, width = size
    frames = [mask_to_box(mask).astype(np.float64) for mask in masks if mask.any()]
    every = np.concatenate([np.reshape(frames, (-1, 4)), np.hstack([points, points]), boxes])
    if not len(every):
        return 0, 0, width, height
    (x0, y0), (x1, y1) = every[:, :2].min(axis=0), every[:, 2:].max(axis=0)
    room = max(8.0, 0.3 * max(x1 - x0, y1 - y0))
    return (
        int(np.clip(x0 - room, 0, width - 1)),
        int(np.clip(y0 - room, 0, height - 1)),
        int(np.clip(x1 + room + 1, 1, width)),
        int(np.clip(y1 + room + 1, 1, height)),
    )


def _fitted(picture: Rgb, side: int) -> Rgb:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    return _scaled(picture, (max(1, round(width * scale)), max(1, round(height * scale))))


def _scaled(picture: Rgb, size: tuple[int, int]) -> Rgb:
    """Of another size (width, height), in memory of its own."""
    smaller = picture.shape[1] > size[0]
    return np.array(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def _scaled_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """A pixel is inside if half of it is; of a thin or tiny mask, if any of it is."""
    smaller = mask.shape[1] > size[0]
    share = cv2.resize(
        mask.astype(np.float32), size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST_EXACT
    )
    inside: Mask = share >= 0.5
    return inside if inside.any() else share > 0


def _outline(canvas: Rgb, mask: Mask, color: tuple[int, int, int]) -> None:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, color, 2, cv2.LINE_AA)
