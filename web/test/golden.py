"""Writes what the TypeScript twins of opensam's geometry and masks are held to: python web/test/golden.py.

tests/test_web_golden.py checks that Python still gives exactly this; test/*.test.ts that TypeScript does.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco

from opensam import masks
from opensam.geometry import Resize

FOLDER = Path(__file__).parent / "golden"

# (H, W), image_size: halves that round up, sides that would round to 0, very long pictures, phones and scans.
SIZES = [
    ((1200, 1800), 1024),
    ((480, 640), 1024),
    ((640, 480), 1024),
    ((1024, 1024), 1024),
    ((1, 1), 1024),
    ((375, 500), 1024),
    ((2000, 3001), 1024),
    ((3, 4096), 1024),
    ((1, 10000), 1024),
    ((10000, 1), 1024),
    ((5, 2048), 1024),  # 2.5 rounds up
    ((2047, 2048), 1024),  # 1023.5 rounds up
    ((1023, 2048), 1024),  # 511.5 rounds up
    ((2047, 4096), 1024),
    ((4000, 6000), 1024),
    ((99999, 7), 1024),
    ((427, 640), 512),
    ((333, 1000), 256),
    ((29, 97), 64),
    ((1536, 2048), 512),
]


def resizes() -> list[dict[str, Any]]:
    """Sizes and points of each of SIZES."""
    return [_resize(Resize(size, image_size)) for size, image_size in SIZES]


def rles() -> list[dict[str, Any]]:
    """Masks row by row as text of 0 and 1, with pycocotools' counts, box and area."""
    rng = np.random.default_rng(6)
    shapes = [(1, 1), (1, 7), (7, 1), (5, 4), (16, 16), (33, 20), (200, 3), (3, 200)]
    drawn = [np.zeros(shape, bool) for shape in shapes] + [np.ones(shape, bool) for shape in shapes]
    drawn += [rng.random(shape) < share for shape in shapes for share in (0.1, 0.5, 0.9)]
    disc = np.hypot(*np.mgrid[-40:41, -50:51]) < 37.5  # long runs: counts of more than one character, negative steps
    return [_rle(mask) for mask in [*drawn, disc, ~disc]]


def clean_ups() -> list[dict[str, Any]]:
    """Noise, and what remains of it without small holes and without small islands."""
    rng = np.random.default_rng(7)
    records = []
    for shape, share, area in [((12, 15), 0.4, 4), ((12, 15), 0.6, 6), ((30, 20), 0.55, 12), ((6, 6), 0.1, 30)]:
        mask = rng.random(shape) < share
        holes = masks.remove_small_regions(mask, area, "holes")
        islands = masks.remove_small_regions(mask, area, "islands")
        records.append({"mask": _rle(mask), "area": area, "holes": _text(holes), "islands": _text(islands)})
    return records


def upscalings() -> list[dict[str, Any]]:
    """Low-resolution logits in sixteenths, so that sums are exact, and the masks that they are in the picture."""
    rng = np.random.default_rng(8)
    records = []
    for size, image_size in [((40, 60), 64), ((64, 64), 64), ((150, 91), 64), ((7, 64), 64)]:
        resize = Resize(size, image_size)
        side = image_size // 4
        coarse = torch.from_numpy(rng.normal(size=(1, 1, side // 4, side // 4)))
        logits = (torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic") * 64).round() / 16
        restored = resize.restore_masks(logits)[0, 0]
        records.append(
            {
                "original_size": size,
                "image_size": image_size,
                "sixteenths": (logits * 16).int().flatten().tolist(),
                "mask": _text((restored > 0).numpy()),
                # Where float32 and another order of the same sums may fall on either side.
                "unsure": _text((restored.abs() < 1e-5).numpy()),
            }
        )
    return records


FILES = {"resize.json": resizes, "rle.json": rles, "clean.json": clean_ups, "upscale.json": upscalings}


def _resize(resize: Resize) -> dict[str, Any]:
    height, width = resize.original_size
    points = np.array([[0, 0], [width, height], [width / 2, height / 2], [0.25, height - 0.75]])
    rows, columns = resize.input_size
    return {
        "original_size": list(resize.original_size),
        "image_size": resize.image_size,
        "scale": resize.scale,
        "input_size": list(resize.input_size),
        "grid_size": [-(-rows // 16), -(-columns // 16)],
        "coords": points.flatten().tolist(),
        "applied": resize.apply_coords(points).flatten().tolist(),
        "restored": resize.restore_coords(points).flatten().tolist(),
    }


def _rle(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "size": list(mask.shape),
        "counts": rle["counts"].decode(),
        "pixels": _text(mask),
        "area": int(coco.area(rle)),
        "bbox": coco.toBbox(rle).tolist(),
    }


def _text(mask: np.ndarray[Any, Any]) -> str:
    return "".join("01"[pixel] for pixel in mask.astype(np.uint8).flatten())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, vectors in FILES.items():
        lines = ",\n".join(json.dumps(vector) for vector in vectors())
        (FOLDER / name).write_text(f"[\n{lines}\n]\n")
