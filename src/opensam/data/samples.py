"""Training samples: a picture from a mixture of data sets, cropped and scaled, with some of its masks.

A crop stands for a part of the model's square: a small one costs little and shows things as large as the model will
see them. Letters: B pictures, P masks of all of them, S side of the crop, (h, w) picture size inside it, G = S / 4 the
side of its mask grid.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opensam import image
from opensam.config import Config
from opensam.data.mixture import Mixture, Source
from opensam.masks import decode_rle

CELL = 4  # pixels per cell of the mask grid, along one side


class AugmentConfig(Config):
    """How a picture is varied.

    Attributes:
        scale: range of the random scale; 1 makes the longest side of the picture as long as the model's square.
            Large-scale jittering in the paper (A) is (0.1, 2.0).
        flip: probability of a mirror image.
        color: strength of random brightness, contrast and saturation; 0 leaves colours alone.
        grey: probability of a grey picture.
        max_area: masks covering more of the picture are dropped (0.9 in the paper, A).
        min_cells: masks covering fewer cells of the mask grid are dropped.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    color: float = 0.0
    grey: float = 0.0
    max_area: float = 0.9
    min_cells: float = 2.0


@dataclass(frozen=True)
class Sample:
    """A picture ready for the model, with M masks.

    Attributes:
        image: (3, h, w) uint8 RGB, at most S on a side.
        masks: (M, G, G) float in [0, 1]: how much of each cell of the mask grid a mask covers.
        boxes: (M, 4) XYXY in pixels of the crop, tight around the whole mask: it may reach out of the crop.
    """

    image: Tensor
    masks: Tensor
    boxes: Tensor


class Batch(NamedTuple):
    """B samples and their P masks, flattened; `image_index` (P,) says which picture a mask belongs to.

    A tuple, so that libraries which move batches between devices see its tensors.
    """

    images: list[Tensor]
    masks: Tensor
    boxes: Tensor
    image_index: Tensor


def make_batch(
    mixture: Mixture,
    batch_size: int,
    image_size: int,
    crop_size: int,
    num_masks: int,
    augment: AugmentConfig,
    rng: np.random.Generator,
) -> Batch:
    """Draw `batch_size` pictures with `num_masks` masks each.

    A picture with fewer masks gives some of them again, for other prompts: where every batch has the same shape,
    kernels that are compiled for a shape are compiled once (a step on a CPU takes nearly twice as long otherwise).
    """
    samples: list[Sample] = []
    while len(samples) < batch_size:
        sample = make_sample(mixture.draw(rng), image_size, crop_size, num_masks, augment, rng)
        if len(sample.masks):
            samples.append(sample)
    again = [torch.arange(num_masks) % len(sample.masks) for sample in samples]
    return Batch(
        images=[sample.image for sample in samples],
        masks=torch.cat([sample.masks[rows] for sample, rows in zip(samples, again, strict=True)]),
        boxes=torch.cat([sample.boxes[rows] for sample, rows in zip(samples, again, strict=True)]),
        image_index=torch.arange(batch_size).repeat_interleave(num_masks),
    )


def make_sample(
    source: Source, image_size: int, crop_size: int, max_masks: int, augment: AugmentConfig, rng: np.random.Generator
) -> Sample:
    """Decode, scale, crop and recolour one picture, with at most `max_masks` of its masks chosen at random."""
    rgb = image.read(source.picture)
    window, (h, w) = _random_window(rgb.shape[:2], image_size, crop_size, augment.scale, rng)
    flip = rng.random() < augment.flip
    rgb = _resample(rgb[window], (h, w), flip)
    masks, boxes = [], []
    for i in rng.permutation(len(source.masks))[: 3 * max_masks]:
        mask = decode_rle(source.masks[i])
        visible = mask[window]
        share = float(visible.mean())
        if not 0 < share <= augment.max_area or share * h * w < augment.min_cells * CELL**2:
            continue
        coverage = _resample(visible.astype(np.float32), (h // CELL, w // CELL), flip)
        masks.append(_pad(coverage, crop_size // CELL))
        boxes.append(_box(mask, window, (h, w), flip))
        if len(masks) == max_masks:
            break
    grid = crop_size // CELL
    return Sample(
        image=torch.from_numpy(_recolour(rgb, augment, rng)).permute(2, 0, 1),
        masks=torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, grid, grid),
        boxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
    )


def _random_window(
    size: tuple[int, ...], image_size: int, crop_size: int, scales: tuple[float, float], rng: np.random.Generator
) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """A random scale and crop: the window in the picture, and the size that it gets (multiples of a mask cell)."""
    scale = float(np.exp(rng.uniform(*np.log(scales)))) * image_size / max(size)
    slices, target = [], []
    for side in size:
        shown = max(1, min(side, round(crop_size / scale)))
        start = int(rng.integers(side - shown + 1))
        slices.append(slice(start, start + shown))
        target.append(int(np.clip(round(shown * scale / CELL) * CELL, CELL, crop_size)))
    return (slices[0], slices[1]), (target[0], target[1])


def _resample(array: NDArray[Any], size: tuple[int, int], flip: bool) -> NDArray[Any]:
    shrinks = size[0] < array.shape[0]
    scaled = cv2.resize(array, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.ascontiguousarray(scaled[:, ::-1]) if flip else scaled


def _pad(coverage: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    h, w = coverage.shape
    return np.pad(coverage, ((0, grid - h), (0, grid - w)))


def _box(
    mask: NDArray[np.bool_], window: tuple[slice, slice], size: tuple[int, int], flip: bool
) -> tuple[float, float, float, float]:
    """The tight box of a whole mask where `window` of it is scaled to `size`: XYXY, both corners inside the mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    rows, columns = window
    sx, sy = size[1] / (columns.stop - columns.start), size[0] / (rows.stop - rows.start)
    x0, x1 = (x - columns.start) * sx, (x - columns.start + width) * sx - 1
    y0, y1 = (y - rows.start) * sy, (y - rows.start + height) * sy - 1
    if flip:
        x0, x1 = size[1] - 1 - x1, size[1] - 1 - x0
    return x0, y0, max(x1, x0), max(y1, y0)


def _recolour(rgb: NDArray[np.uint8], augment: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random brightness, contrast and saturation as one affine map of the colours."""
    saturation, contrast, brightness = 1 + augment.color * rng.uniform(-1, 1, 3)
    if rng.random() < augment.grey:
        saturation = 0.0
    if augment.color == 0 and saturation == 1:
        return rgb
    luma = np.tile(np.array([0.299, 0.587, 0.114]), (3, 1))
    mix = contrast * (saturation * np.eye(3) + (1 - saturation) * luma)
    shift = 128 * (1 - contrast) + 128 * (brightness - 1)
    recoloured = cv2.transform(rgb, np.column_stack([mix, np.full(3, shift)]))
    return np.asarray(recoloured, dtype=np.uint8)
