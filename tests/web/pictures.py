"""The folder that the browser tests annotate: simple things on a textured ground, whose outlines are known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opensam.masks import decode_rle

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]
TURNED = 6  # EXIF: the file's rows run from right to left of the picture as it is to be shown


@dataclass(frozen=True)
class Drawing:
    """A picture and where its two things are: a disc on the left, a box on the right."""

    rgb: Rgb
    disc: Mask
    box: Mask

    def centre(self, name: str) -> tuple[int, int]:
        """(x, y) in the middle of a thing."""
        rows, columns = np.nonzero(getattr(self, name))
        return round(float(columns.mean())), round(float(rows.mean()))

    def bounds(self, name: str) -> tuple[int, int, int, int]:
        """The thing's corners XYXY, the last row and column included."""
        rows, columns = np.nonzero(getattr(self, name))
        return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def draw(width: int, height: int, seed: int) -> Drawing:
    """A disc and a box, each with a texture of its own, on a third."""
    rng = np.random.default_rng(seed)
    rgb = _texture(rng, width, height, (96, 112, 88))
    disc, box = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    side = min(width, height)
    cv2.circle(disc, (round(width * 0.27), round(height * 0.45)), round(side * 0.19), 1, -1)
    left, top = round(width * 0.58), round(height * 0.35)
    cv2.rectangle(box, (left, top), (left + round(side * 0.35), top + round(side * 0.28)), 1, -1)
    rgb[disc > 0] = _texture(rng, width, height, (214, 84, 60))[disc > 0]
    rgb[box > 0] = _texture(rng, width, height, (70, 120, 220))[box > 0]
    return Drawing(cv2.GaussianBlur(rgb, (3, 3), 0), disc > 0, box > 0)


def save(drawing: Drawing, path: Path, turned: bool = False) -> None:
    """Write it, as the camera on its side would if `turned`."""
    picture = Image.fromarray(drawing.rgb)
    if not turned:
        picture.save(path)
        return
    exif = Image.Exif()
    exif[0x0112] = TURNED
    picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


def pixels(annotation: dict[str, Any]) -> Mask:
    """The mask of an annotation as the server gives it."""
    return decode_rle(annotation["segmentation"])


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / (one | other).sum())


def _texture(rng: np.random.Generator, width: int, height: int, colour: tuple[int, int, int]) -> Rgb:
    coarse = rng.normal(0, 14, (height // 16 + 2, width // 16 + 2)).astype(np.float32)
    waves = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 4, (height, width))
    return np.clip(np.array(colour) + (waves + grain)[..., None], 0, 255).astype(np.uint8)
