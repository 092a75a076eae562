"""Masks and records for the tests of what is written about them."""

import io
import json

import numpy as np
from PIL import Image

from opensam.records import ImageInfo, ImageRecord, MaskRecord

SIZE = (24, 36)


def box(x0, y0, x1, y1, size=SIZE):
    """A mask of the pixels from (x0, y0) up to, not including, (x1, y1)."""
    mask = np.zeros(size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def awkward():
    """Masks that formats stumble over, by name."""
    ring = box(2, 2, 14, 14) & ~box(5, 5, 9, 9)
    return {
        "a rectangle": box(3, 4, 20, 9),
        "the whole picture": box(0, 0, 36, 24),
        "one pixel in the corner": box(35, 23, 36, 24),
        "a line": box(0, 7, 36, 8),
        "a hole": ring,
        "two islands": box(1, 1, 4, 4) | box(20, 15, 30, 20),
        "an island in a hole": ring | box(6, 6, 8, 8),
        "pixels that touch by a corner": box(4, 4, 6, 6) | box(6, 6, 8, 8) | box(8, 4, 9, 6),
        "a staircase": np.tri(*SIZE, dtype=bool),
        "noise": np.random.default_rng(3).random(SIZE) < 0.5,
    }


def masks_of(*masks, scores=None, categories=None):
    """One record per mask, numbered from 1."""
    return [
        MaskRecord.from_mask(
            mask,
            number,
            predicted_iou=scores[number - 1] if scores else 0.9,
            stability_score=0.95,
            point_coords=[(1, 2)],
            category=categories[number - 1] if categories else None,
        )
        for number, mask in enumerate(masks, start=1)
    ]


def picture_of(*masks, name="a.jpg", size=SIZE, **more):
    """The record of a picture with these masks."""
    info = ImageInfo(image_id=1, width=size[1], height=size[0], file_name=name)
    return ImageRecord(image=info, annotations=masks_of(*masks, **more))


def only(files, name):
    """The one file, which has this name, as text."""
    assert list(files) == [name]
    return files[name].decode()


def parsed(files, name):
    """The one file, which has this name, as what JSON holds."""
    return json.loads(only(files, name))


def levels(content):
    """The image in a file."""
    return np.asarray(Image.open(io.BytesIO(content)))
