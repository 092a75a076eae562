"""Training samples: a picture from a mixture of data sets, cropped and scaled, with some of its masks.

A crop stands for a part of the model's square: a small one costs little and shows things as large as the model will
see them. Letters: B pictures, P masks of all of them, S side of the crop, (h, w) picture size inside it, G = S / 4 the
side of its mask grid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor

from opensam.config import Config
from opensam.data.colours import degrade, recolour
from opensam.data.mixture import ATTEMPTS, Mixture, Source
from opensam.data.paste import LEFT_SHARE, Scene, cut_out, draw_shadow, find_things, mask_areas, resize, tight_box
from opensam.data.synthetic import composite
from opensam.image import Rgb
from opensam.masks import Rle, decode_rle

CELL = 4  # pixels per cell of the mask grid, along one side
SMALLEST_SCENE = 48  # pixels: nothing is laid over smaller pictures
THING_SIDES = (0.08, 0.6)  # the longer side of a thing over that of the crop it is laid on
PICTURES_TRIED = 3  # for one that has things to cut out; pixels are decoded of the last one only
PLACES_TRIED = 3  # for a thing that cannot be told from what is below it


class AugmentConfig(Config):
    """How a picture is varied.

    Attributes:
        scale: range of the random scale; 1 makes the longest side of the picture as long as the model's square.
            Large-scale jittering in the paper (A) is (0.1, 2.0).
        scale_law: "log" doubles as often as it halves; "linear" draws every scale of the range equally often, as
            ViTDet's large-scale jittering does, so that most pictures come out large.
        flip: probability of a mirror image.
        color: strength of random brightness, contrast and saturation; 0 leaves colours alone.
        grey: probability of a grey picture.
        max_area: masks covering more of the picture are dropped (0.9 in the paper, A).
        min_cells: masks covering fewer cells of the mask grid are dropped.
        degrade: strength of random gamma, white balance, hue, blur, noise and JPEG artefacts, from 0 to 1; never in
            the paper, like all that follows.
        copy_paste: probability that things from another picture are laid over a picture (arXiv 2012.07177). They and
            their parts are masks too, and the masks below lose what is covered.
        paste_max: most things that are laid over one picture.
        synthetic: probability of a composite of random shapes and textures instead of a picture.
        mask_size_power: 0 draws every mask of a picture equally often, 1 every size: masks of like area (within a
            factor of four) share the weight n ** (1 - power) where there are n of them.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    scale_law: Literal["log", "linear"] = "log"
    flip: float = 0.0
    color: float = 0.0
    grey: float = 0.0
    max_area: float = 0.9
    min_cells: float = 2.0
    degrade: float = 0.0
    copy_paste: float = 0.0
    paste_max: int = pydantic.Field(default=3, ge=1)
    synthetic: float = 0.0
    mask_size_power: float = 0.0


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

    `names` are those of the pictures, to find them again. A tuple, so that libraries which move batches between devices
    see its tensors.
    """

    images: list[Tensor]
    masks: Tensor
    boxes: Tensor
    image_index: Tensor
    names: tuple[str, ...] = ()


class _Found(NamedTuple):
    """A mask of a sample: its share of the cells of the picture, (h / CELL, w / CELL), and its box."""

    coverage: NDArray[np.float32]
    box: tuple[float, ...]


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

    Raises:
        ValueError: a hundred samples in a row have no mask within the limits of `augment`, or cannot be read.
    """
    samples: list[Sample] = []
    names: list[str] = []
    misses = 0
    while len(samples) < batch_size:
        source = mixture.draw(rng)
        sample = make_sample(source, image_size, crop_size, num_masks, augment, rng, mixture.draw)
        misses = 0 if len(sample.masks) else misses + 1
        if misses == ATTEMPTS:
            raise ValueError(
                f"expected masks that cover at most {augment.max_area:.0%} of a picture and at least "
                f"{augment.min_cells} cells of {CELL} pixels, got none in {ATTEMPTS} pictures in a row; "
                "check the masks, or set augment.max_area and augment.min_cells"
            )
        if not misses:
            samples.append(sample)
            names.append(f"{source.dataset}/{source.name}")
    again = [torch.arange(num_masks) % len(sample.masks) for sample in samples]
    return Batch(
        images=[sample.image for sample in samples],
        masks=torch.cat([sample.masks[rows] for sample, rows in zip(samples, again, strict=True)]),
        boxes=torch.cat([sample.boxes[rows] for sample, rows in zip(samples, again, strict=True)]),
        image_index=torch.arange(batch_size).repeat_interleave(num_masks),
        names=tuple(names),
    )


def make_sample(
    source: Source,
    image_size: int,
    crop_size: int,
    max_masks: int,
    augment: AugmentConfig,
    rng: np.random.Generator,
    draw: Callable[[np.random.Generator], Source] | None = None,
) -> Sample:
    """Decode, scale, crop and recolour one picture, with at most `max_masks` of its masks chosen at random.

    Copy-paste and composites take other pictures from `draw`, or the same one again where it is missing.
    """
    draw = draw or (lambda _: source)
    if augment.synthetic and rng.random() < augment.synthetic:
        rgb, found = _composite(source, draw(rng), crop_size, augment, rng)
    else:
        rgb, found = _photograph(source, draw, image_size, crop_size, max_masks, augment, rng)
    if len(found) > max_masks:
        found = [found[i] for i in rng.permutation(len(found))[:max_masks]]
    rgb = recolour(rgb, augment.color, augment.grey, rng)
    if augment.degrade:
        rgb = degrade(rgb, augment.degrade, rng)
    masks = np.zeros((len(found), crop_size // CELL, crop_size // CELL), np.float32)
    for mask, each in zip(masks, found, strict=True):
        h, w = each.coverage.shape
        mask[:h, :w] = each.coverage  # the rest is padding
    return Sample(
        image=torch.from_numpy(rgb).permute(2, 0, 1),
        masks=torch.from_numpy(masks),
        boxes=torch.tensor([each.box for each in found], dtype=torch.float32).view(-1, 4),
    )


def _photograph(
    source: Source,
    draw: Callable[[np.random.Generator], Source],
    image_size: int,
    crop_size: int,
    max_masks: int,
    augment: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[Rgb, list[_Found]]:
    """A crop of a picture, perhaps with things from another one over it, and up to `max_masks` masks besides theirs."""
    rgb = source.rgb
    window, (h, w) = _random_window(rgb.shape[:2], image_size, crop_size, augment, rng)
    flip = bool(rng.random() < augment.flip)
    scene = Scene(resize(rgb[window], (h, w), flip))
    if augment.copy_paste and rng.random() < augment.copy_paste:
        _paste_things(scene, draw, int(rng.integers(1, augment.paste_max, endpoint=True)), rng)
    found: list[_Found] = []
    for i in _mask_order(source.masks, augment.mask_size_power, rng)[: 3 * max_masks]:
        mask = decode_rle(source.masks[i])
        each = _find(mask, window, (h, w), flip, scene if scene.targets else None, augment)
        found += [each] if each else []
        if len(found) == max_masks:
            break
    return scene.rgb, found + _targets(scene, augment)


def _composite(
    source: Source, other: Source, side: int, augment: AugmentConfig, rng: np.random.Generator
) -> tuple[Rgb, list[_Found]]:
    cutouts = [thing for thing, _ in find_things(other.masks, 2, rng)]
    pictures = (source, other)[: int(rng.integers(1, 3))]  # decoding takes as long as all the rest
    scene = composite(side, [each.rgb for each in pictures], cutouts, rng)
    return scene.rgb, _targets(scene, augment)


def _paste_things(
    scene: Scene, draw: Callable[[np.random.Generator], Source], count: int, rng: np.random.Generator
) -> None:
    """Lay up to `count` things of another picture over a scene, of any size, anywhere."""
    h, w = scene.clear.shape
    if max(h, w) < SMALLEST_SCENE:
        return
    for _ in range(PICTURES_TRIED):
        other = draw(rng)
        if things := find_things(other.masks, count, rng):
            break
    else:
        return
    rgb = other.rgb
    for thing, parts in things:
        # Blown up further, things would be known by their blur.
        limit = 2.0 * max(cv2.boundingRect(thing.view(np.uint8))[2:])
        side = min(limit, float(np.exp(rng.uniform(*np.log(THING_SIDES)))) * max(h, w))
        layer = cut_out(rgb, thing, parts, side, rng)
        for _ in range(PLACES_TRIED):
            x, y = (round(rng.uniform(0, n) - m / 2) for n, m in zip((w, h), layer.rgb.shape[1::-1], strict=True))
            if scene.add(layer, x, y, draw_shadow(side, rng)):
                break


def _mask_order(masks: tuple[Rle, ...], power: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The masks of a picture in random order, with sizes that are rare in it first the more `power` there is."""
    if power == 0:
        return rng.permutation(len(masks))
    areas = mask_areas(masks)
    _, sizes, counts = np.unique(np.log2(areas.clip(1)) // 2, return_inverse=True, return_counts=True)
    weights = counts[sizes] ** -power
    return rng.choice(len(masks), len(masks), replace=False, p=weights / weights.sum())


def _find(
    mask: NDArray[np.bool_],
    window: tuple[slice, slice],
    size: tuple[int, int],
    flip: bool,
    scene: Scene | None,
    augment: AugmentConfig,
) -> _Found | None:
    """What a window of a picture shows of a mask, scaled to `size`, where the things of `scene` lie over it."""
    (h, w), visible = size, mask[window]
    share = float(visible.mean())
    if not 0 < share <= augment.max_area or share * h * w < augment.min_cells * CELL**2:
        return None
    cells = h // CELL, w // CELL
    coverage, box = resize(visible.astype(np.float32), cells, flip), _box(mask, window, size, flip)
    if scene is None or not (coverage * resize(1 - scene.clear, cells)).any():
        return _Found(coverage, box)
    before = resize(visible.astype(np.float32), size, flip)
    left = before * scene.clear
    area = float(left.sum())
    if area < LEFT_SHARE * before.sum() or area < augment.min_cells * CELL**2:
        return None
    beyond = mask.copy()
    beyond[window] = False
    corners = [tight_box(left)] + ([_box(beyond, window, size, flip)] if beyond.any() else [])
    return _Found(resize(left, cells), (*np.min(corners, axis=0)[:2], *np.max(corners, axis=0)[2:]))


def _targets(scene: Scene, augment: AugmentConfig) -> list[_Found]:
    """The masks that were laid over a scene, where enough of them can be seen."""
    most, least = augment.max_area * scene.clear.size / CELL**2, augment.min_cells
    seen = [(target, scene.visible(target, CELL)) for target in scene.targets]
    return [
        _Found(coverage, tight_box(target.coverage, target.x, target.y))
        for target, coverage in seen
        if coverage is not None and least <= coverage.sum() <= most
    ]


def _random_window(
    size: tuple[int, ...], image_size: int, crop_size: int, augment: AugmentConfig, rng: np.random.Generator
) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """A random scale and crop: the window in the picture, and the size that it gets (multiples of a mask cell)."""
    linear = augment.scale_law == "linear"
    scale = float(rng.uniform(*augment.scale) if linear else np.exp(rng.uniform(*np.log(augment.scale))))
    scale *= image_size / max(size)
    slices, target = [], []
    for side in size:
        shown = max(1, min(side, round(crop_size / scale)))
        start = int(rng.integers(side - shown + 1))
        slices.append(slice(start, start + shown))
        target.append(int(np.clip(round(shown * scale / CELL) * CELL, CELL, crop_size)))
    return (slices[0], slices[1]), (target[0], target[1])


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
