"""From a picture to the records of its masks: crops, duplicates, small regions.

The records come by falling predicted IoU, from the smallest crops to the whole picture if there are crops, and masks
that the cleaning of small regions has changed come last. Where that leaves two equal, the order is that of the crops,
the points of the grid, and the decoder's outputs. So the same picture gives the same records.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from opensam import image as images
from opensam.amg.candidates import Candidate, Steps, find_candidates
from opensam.amg.config import PRESETS, AmgConfig, preset_of
from opensam.amg.edges import find_edges, paint_edges
from opensam.geometry import box_area, box_nms, crop_boxes
from opensam.masks import mask_to_box, remove_small_regions
from opensam.predictor.base import BasePredictor
from opensam.records import MaskRecord
from opensam.rle import encode_edges


class MaskGenerator:
    """Masks of everything in a picture.

    Memory above the model and the picture does not grow with the picture, see docs/benchmarks.md. Only the cleaning of
    small regions needs some bytes for each pixel of the part of the picture that one mask covers.

    Args:
        predictor: of the model: a `Predictor`, or an `OnnxPredictor` where there is no torch.
        config: settings; None: the preset that suits the model, which for all but the embedded one is the official
            defaults. `PRESETS` has them, and those of the paper's data set.
        overrides: settings by name, in place of those in `config`.

    Raises:
        ValueError: a setting is unknown or out of range.
    """

    def __init__(self, predictor: BasePredictor[Any], config: AmgConfig | None = None, **overrides: Any) -> None:
        self.predictor = predictor
        self.config = (config or PRESETS[preset_of(predictor.name)]).changed(**overrides)

    def generate(
        self,
        image: images.Source,
        progress: Callable[[int, int], None] | None = None,
        embedding: Any = None,
    ) -> list[MaskRecord]:
        """The masks of a picture.

        Args:
            image: anything `opensam.image.read` takes.
            progress: called with the points that are done and all there will be, in any thread, one call at a time.
                What it raises ends the work and comes out here.
            embedding: what the predictor saw in this picture, if it has looked at it before; crops are looked at anew.

        Returns:
            Records with `id` 0, 1, ... in the order that this module describes; none if nothing passes.

        Raises:
            ValueError: it cannot be read as a picture (`opensam.image.ImageError`), or is not of the size of the one
                that was embedded.
            RuntimeError: the model is in training mode.
        """
        config, picture = self.config, images.read(image)
        size = (picture.shape[0], picture.shape[1])
        if embedding is not None and embedding.resize.original_size != size:
            raise ValueError(f"expected the picture that was embedded, {embedding.resize.original_size}, got {size}")
        crops = crop_boxes(size, config.crop_n_layers, config.crop_overlap_ratio)
        found: list[Candidate] = []
        grids = [config.grid(layer) for _, layer in crops]
        steps = Steps(sum(map(len, grids)), progress)
        for (crop_box, layer), grid in zip(crops, grids, strict=True):
            seen = embedding if layer == 0 else None
            new = find_candidates(self.predictor, picture, crop_box, grid, config, steps, seen)
            found += _distinct(new, [one.predicted_iou for one in new], config.box_nms_thresh)
        if len(crops) > 1:
            found = _distinct(found, [-_area(one.crop_box) for one in found], config.crop_nms_thresh)
        if config.min_mask_region_area > 0:
            found = _clean(found, size, config)
        return [_record(one, number, size) for number, one in enumerate(found)]


def _area(box: tuple[int, int, int, int]) -> int:
    return int(box_area(np.array(box)))


def _distinct(candidates: Sequence[Candidate], scores: Sequence[float], threshold: float) -> list[Candidate]:
    """Without those whose box is nearly that of one with a higher score, by falling score."""
    # The boxes reach from pixel to pixel, one short of their size, as in the official code.
    boxes = np.array([one.box for one in candidates], dtype=np.float64).reshape(-1, 4)
    kept = box_nms(boxes, np.array(scores, dtype=np.float64), threshold)
    return [candidates[number] for number in kept.tolist()]


def _clean(candidates: Sequence[Candidate], size: tuple[int, int], config: AmgConfig) -> list[Candidate]:
    """Fill small holes, remove small islands, and what has become a duplicate by that."""
    cleaned = [_clean_one(one, size, config.min_mask_region_area) for one in candidates]
    if config.drop_small_masks:
        cleaned = [(one, changed) for one, changed in cleaned if one.area >= config.min_mask_region_area]
    scores = [float(not changed) for _, changed in cleaned]  # rather those that needed no cleaning
    return _distinct([one for one, _ in cleaned], scores, max(config.box_nms_thresh, config.crop_nms_thresh))


def _clean_one(candidate: Candidate, size: tuple[int, int], min_area: int) -> tuple[Candidate, bool]:
    """A mask without small regions, and whether it had any."""
    height, width = size
    x0, y0, x1, y1 = candidate.box
    # This much around the mask is enough: a region that the window cuts has min_area pixels in it.
    left, top = max(0, x0 - min_area), max(0, y0 - min_area)
    window = (left, top, min(width, x1 + 1 + min_area), min(height, y1 + 1 + min_area))
    mask = paint_edges(candidate.edges, window, height)
    cleaned = remove_small_regions(remove_small_regions(mask, min_area, "holes"), min_area, "islands")
    area = int(np.count_nonzero(cleaned))
    if np.array_equal(cleaned, mask):
        return candidate, area < min_area  # a single small island stays, and counts as cleaned (official code)
    edges = find_edges(cleaned, left, top, height)
    x0, y0, x1, y1 = mask_to_box(cleaned).tolist()
    box = (left + x0, top + y0, left + x1, top + y1)
    return replace(candidate, edges=edges, box=box, area=area), True


def _record(candidate: Candidate, number: int, size: tuple[int, int]) -> MaskRecord:
    x0, y0, x1, y1 = candidate.box
    left, top, right, bottom = candidate.crop_box
    return MaskRecord(
        id=number,
        segmentation=encode_edges(candidate.edges, size),
        bbox=[float(side) for side in (x0, y0, x1 - x0 + 1, y1 - y0 + 1)],
        area=candidate.area,
        point_coords=[list(candidate.point)],
        predicted_iou=candidate.predicted_iou,
        stability_score=candidate.stability_score,
        crop_box=[left, top, right - left, bottom - top],
    )
