"""Random pictures of rectangles with detections of all kinds, and the same for pycocotools and the package lvis."""

import copy

import numpy as np
from pycocotools.coco import COCO

from opensam.data.ground_truth import Annotation, Category, Truth
from opensam.eval.matching import Detection
from opensam.masks import encode_rle

SIZE = (150, 200)
CATEGORIES = {number: Category(number, f"kind {number}", "rcfcfr"[number - 1]) for number in range(1, 7)}


def rectangle(x0, y0, x1, y1, size=SIZE):
    """The RLE of a rectangle, half open, cut at the border of the picture."""
    mask = np.zeros(size, dtype=bool)
    mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
    return encode_rle(mask)


def scene(rng, image_id, first, crowds=True):
    """Truth and detections of a picture; ids of annotations begin with `first`."""
    corners, annotations = [], []
    for number in range(int(rng.integers(0, 9))):
        x, y = (int(v) for v in rng.integers(0, 140, 2))
        width, height = (int(v) for v in rng.choice([6, 20, 32, 60, 96, 120], 2))
        rle = rectangle(x, y, x + width, y + height)
        pixels = float(min(width, 200 - x) * min(height, 150 - y))
        crowd = bool(crowds and rng.random() < 0.15)
        category = int(rng.integers(1, 6))  # 6 is never there
        annotations.append(Annotation(first + number, category, rle, (x, y, width, height), pixels, crowd))
        corners.append((x, y, x + width, y + height))
    negatives = frozenset(rng.choice(6, 2, replace=False) + 1) - {one.category for one in annotations}
    there = sorted({one.category for one in annotations})
    not_exhaustive = frozenset(c for c in there if rng.random() < 0.3)
    truth = Truth(image_id, SIZE, tuple(annotations), frozenset(map(int, negatives)), not_exhaustive)
    return truth, list(_detections(rng, truth, corners))


def _detections(rng, truth, corners):
    for annotation, corner in zip(truth.annotations, corners, strict=True):
        for _ in range(int(rng.integers(0, 4))):
            x0, y0, x1, y1 = (int(v) for v in np.array(corner) + rng.integers(-6, 7, 4) * (rng.random() < 0.8))
            category = annotation.category if rng.random() < 0.8 else int(rng.integers(1, 7))
            yield Detection(category, score(rng), rectangle(x0, y0, x1, y1))
    for _ in range(int(rng.integers(0, 6))):
        x, y, width, height = (int(v) for v in rng.integers(0, 120, 4))
        yield Detection(int(rng.integers(1, 7)), score(rng), rectangle(x, y, x + width + 1, y + height + 1))


def score(rng):
    """One of few, so that many are equal."""
    return float(rng.integers(1, 8)) / 8


def scenes(seed, count=12, crowds=True):
    """Pairs of truth and detections."""
    rng, first, found = np.random.default_rng(seed), 1, []
    for image_id in range(1, count + 1):
        found.append(scene(rng, image_id, first, crowds))
        first += len(found[-1][0].annotations)
    return found


def as_dataset(truths):
    """What a file of annotations has."""
    return {
        "images": [
            {
                "id": truth.id,
                "height": truth.size[0],
                "width": truth.size[1],
                "file_name": f"{truth.id}.png",
                "neg_category_ids": sorted(truth.negatives),
                "not_exhaustive_category_ids": sorted(truth.not_exhaustive),
            }
            for truth in truths
        ],
        "annotations": [
            {
                "id": one.id,
                "image_id": truth.id,
                "category_id": one.category,
                "segmentation": dict(one.segmentation),
                "bbox": list(one.bbox),
                "area": one.area,
                "iscrowd": int(one.crowd),
            }
            for truth in truths
            for one in truth.annotations
        ],
        "categories": [{"id": one.id, "name": one.name, "frequency": one.frequency} for one in CATEGORIES.values()],
    }


def as_results(pairs):
    """What a file of results has."""
    return [
        {"image_id": truth.id, "category_id": one.category, "segmentation": dict(one.segmentation), "score": one.score}
        for truth, detections in pairs
        for one in detections
    ]


def as_coco(dataset):
    """For pycocotools."""
    coco = COCO()
    coco.dataset = copy.deepcopy(dataset)
    coco.createIndex()
    return coco
