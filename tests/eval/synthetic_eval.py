"""Synthetic pictures, tars of them, and methods whose scores are known."""

import io
import os
import tarfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from opensam.data.specs import open_datasets
from opensam.eval.journal import Journal
from opensam.eval.runner import list_items, measure
from opensam.eval.segmenters import Answer
from opensam.eval.single_point import scoring, summarise
from opensam.masks import mask_to_box
from opensam.records import ImageInfo, ImageRecord, MaskRecord


def disk(size, center, radius):
    """An (H, W) bool mask of a disk, center (x, y)."""
    ys, xs = np.mgrid[: size[0], : size[1]]
    return (xs - center[0]) ** 2 + (ys - center[1]) ** 2 <= radius**2


def rectangle(size, x0, y0, x1, y1):
    """An (H, W) bool mask; the corners are inside."""
    mask = np.zeros(size, dtype=bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def deepest(mask):
    """The pixel (x, y) farthest from the outside; beyond the picture is outside."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def picture(masks, seed=0):
    """A noisy picture in which every mask has a colour of its own."""
    rng = np.random.default_rng(seed)
    image = np.full((*masks[0].shape, 3), 60, dtype=np.uint8)
    for mask in masks:
        image[mask] = rng.integers(100, 240, 3)
    return cv2.add(image, rng.integers(0, 12, image.shape, dtype=np.uint8))


def write_shard(path, images):
    """A tar in the SA-1B layout; images are pairs of a picture and its masks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, (pixels, masks) in enumerate(images):
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, "PNG")
            height, width = masks[0].shape  # of the record: a test may want another picture
            name = f"{path.stem}_{number}"
            records = [
                MaskRecord.from_mask(mask, i, predicted_iou=1.0, stability_score=1.0) for i, mask in enumerate(masks)
            ]
            info = ImageInfo(image_id=number, width=width, height=height, file_name=f"{name}.png")
            record = ImageRecord(image=info, annotations=records)
            for file, content in ((f"{name}.png", png.getvalue()), (f"{name}.json", record.to_json())):
                member = tarfile.TarInfo(file)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


class Truth:
    """A method that knows the masks of each picture, and asks `answer(truth, points, labels)` what to say."""

    def __init__(self, images, answer, box_answer=None, candidates=3):
        self.images = {pixels.tobytes(): list(masks) for pixels, masks in images}
        self.answer, self.candidates = answer, candidates
        self.box_answer = box_answer or (lambda truth: truth)
        self.embedded, self.calls = [], []

    def embed(self, image):
        self.embedded.append(image.tobytes())
        return self.images[image.tobytes()]

    def segment_boxes(self, embedding, boxes):
        known = {tuple(mask_to_box(mask).tolist()): mask for mask in embedding}
        return np.stack([self.box_answer(known[tuple(box)]) for box in boxes.tolist()])

    def segment_clicks(self, embedding, points, labels, mask_input, multimask_output):
        known = {deepest(mask): mask for mask in embedding}
        self.calls.append((points.copy(), labels.copy(), mask_input, multimask_output))
        masks = np.stack([
            self.answer(known[tuple(clicks[0])], clicks, signs)
            for clicks, signs in zip(points, labels, strict=True)
        ])[:, None]  # fmt: skip
        count = self.candidates if multimask_output else 1
        scores = np.tile(np.arange(count, dtype=np.float32), (len(masks), 1))
        logits = torch.full((len(masks), count, 4, 4), float(len(self.calls)))
        return Answer(np.repeat(masks, count, axis=1), scores, logits)


def write_two_datasets(folder: Path):
    """Data sets `discs` (one shard, 2 pictures, 3 masks) and `boxes` (two shards); returns all pictures."""
    size = (60, 80)
    discs = [
        [disk(size, (20, 25), 11), disk(size, (60, 30), 9)],
        [disk(size, (40, 30), 20)],
    ]
    boxes = [
        [rectangle(size, 10, 8, 30, 40)],
        [rectangle(size, 40, 20, 70, 50), rectangle(size, 5, 5, 20, 12)],
    ]
    images = [(picture(masks, seed), masks) for seed, masks in enumerate(discs + boxes)]
    write_shard(folder / "discs.tar", images[:2])
    write_shard(folder / "boxes-000.tar", images[2:3])
    write_shard(folder / "boxes-001.tar", images[3:])
    return images


@contextmanager
def here(start, items, count):
    """One worker, which is this process; see `opensam.eval.runner.Spread`."""
    work = start()
    yield ((item, work(item)) for item in items)


def run_clicks(method, config, folder, name="method", **options):
    """The scores of a method on the data sets of a config; the journal is in `folder`."""
    datasets = [dataset for dataset, _ in open_datasets(config.data)]
    start = partial(scoring, lambda: method, datasets, config)
    options = {
        "method": name,
        "spread": here,
        "journal": Journal(folder / "j", {}),
        "report": lambda _: None,
        **options,
    }
    return summarise(name, measure(list_items(datasets, config.max_images), start, **options))


def length(datasets, name_of_death, item):
    """The bytes of a picture; the process dies over one of that name."""
    if item.name == name_of_death:
        os._exit(3)
    dataset, row = item.place
    return {"bytes": len(datasets[dataset].picture(row))}


def ready(datasets, name_of_death=""):
    return partial(length, datasets, name_of_death)
