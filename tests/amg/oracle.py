"""A model that answers clicks with the truth, and the official generator written plainly.

The pictures are flat colours. The oracle's image embedding is the picture itself, as the model sees it; a click on a
colour gives the mask of that colour, wherever it is in the crop.
"""

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from opensam.amg import AmgConfig
from opensam.geometry import Resize, crop_boxes
from opensam.masks import encode_rle, mask_to_box
from opensam.models.mask_decoder import Attended
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.prompts import Prompts

SIDE = 256
LOGIT = 8.0


class Counts(Counter[str]):
    """What a model and its copies, such as that of a predictor, were asked together."""

    def __deepcopy__(self, memo: object) -> "Counts":
        return self


class Oracle(Sam):
    """Its three masks of a click: the colour under it, surely; the same, doubtfully; nothing, and it knows.

    Attributes:
        counts: "asked", how many clicks it has seen, and "drawn", of how many it has made masks.
    """

    def __init__(self) -> None:
        sizes = {"embed_dims": (8, 8, 8, 8), "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
        super().__init__(SamConfig(image_encoder=TinyViTConfig(image_size=SIDE, **sizes)))
        self.eval()
        self.counts = Counts()

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def attend(self, image_embeddings: Tensor, prompts: Prompts, multimask_output: bool) -> Attended:
        assert multimask_output
        assert prompts.point_coords.dtype == torch.float32
        self.counts["asked"] += prompts.count
        cells = image_embeddings[:, :, 1::4, 1::4]  # nearly the middle of each cell of the mask grid
        columns, rows = (prompts.point_coords[:, 0] / 4).long().clamp(max=SIDE // 4 - 1).T
        colours = cells[0, :, rows, columns].T
        scores = torch.tensor([0.95, 0.85, 0.1]).expand(prompts.count, 3)
        return Attended(
            scores, colours[:, None].expand(-1, 3, -1), cells.expand(prompts.count, -1, -1, -1), (1, 1), range(3)
        )

    def masks(self, attended: Attended, chosen: Tensor | None = None) -> Tensor:
        self.counts["drawn"] += len(chosen)
        same = (attended.image_tokens[chosen] - attended.mask_tokens[chosen, 0, :, None, None]).abs().amax(1) < 0.02
        logits = torch.where(same, LOGIT, -LOGIT)
        return torch.stack([logits, logits, -LOGIT * torch.ones_like(logits)], dim=1)


class Blobs(Oracle):
    """Answers each click with ragged blobs around it, whatever the picture: every filter has something to do."""

    def attend(self, image_embeddings: Tensor, prompts: Prompts, multimask_output: bool) -> Attended:
        points = prompts.point_coords[:, 0]
        x, y = points.T
        scores = torch.stack([(x * a + y * b) % 1 for a, b in ((3.1, 7.7), (1.3, 2.9), (9.2, 0.4))], dim=1)
        return Attended(scores, points, points, (1, 1), range(3))

    def masks(self, attended: Attended, chosen: Tensor | None = None) -> Tensor:
        # Elementwise on whole planes, so that a click alone and in a batch gives the same bits.
        x, y = (side.view(-1, 1, 1, 1) for side in attended.mask_tokens[chosen].T)
        radius = (5 + (x * 0.37 + y * 0.61) % 40) * torch.tensor([0.4, 1.0, 2.0]).view(1, 3, 1, 1)
        rows, columns = torch.meshgrid(torch.arange(SIDE // 4) * 4 + 2, torch.arange(SIDE // 4) * 4 + 2, indexing="ij")
        distance = ((columns - x) ** 2 + (rows - y) ** 2).sqrt()
        ripples = torch.sin(columns * 0.31 + x) * torch.sin(rows * 0.23 + y) * 5
        return (radius - distance) * 0.4 + ripples


COLOURS = [(200, 30, 40), (30, 200, 60), (20, 40, 210), (230, 220, 30), (200, 30, 200), (20, 210, 210)]


def draw(size: tuple[int, int], boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Rectangles, XYXY half open, each of a colour, on grey."""
    picture = np.full((*size, 3), 128, dtype=np.uint8)
    for (x0, y0, x1, y1), colour in zip(boxes, COLOURS, strict=False):
        picture[y0:y1, x0:x1] = colour
    return picture


@dataclass
class Found:
    """One mask of the plain generator."""

    mask: np.ndarray
    box: tuple[int, int, int, int]
    iou: float
    stability: float
    point: tuple[float, float]
    crop: tuple[int, int, int, int]


def plainly(sam: Sam, picture: np.ndarray, config: AmgConfig) -> list[Found]:
    """What the official code does, step by step and mask by mask, on whole masks."""
    height, width = picture.shape[:2]
    found: list[Found] = []
    crops = crop_boxes((height, width), config.crop_n_layers, config.crop_overlap_ratio)
    for crop, layer in crops:
        new = list(_of_crop(sam, picture, crop, config.grid(layer), config))
        found += suppress(new, [one.iou for one in new], config.box_nms_thresh)
    if len(crops) > 1:
        areas = [(one.crop[2] - one.crop[0]) * (one.crop[3] - one.crop[1]) for one in found]
        found = suppress(found, [1 / area for area in areas], config.crop_nms_thresh)
    if config.min_mask_region_area:
        scores = [_clean(one, config.min_mask_region_area) for one in found]
        found = suppress(found, scores, max(config.box_nms_thresh, config.crop_nms_thresh))
    return found


def _of_crop(sam, picture, crop, grid, config):
    x0, y0, x1, y1 = crop
    height, width = picture.shape[:2]
    resize = Resize((y1 - y0, x1 - x0), sam.image_size)
    scaled = torch.from_numpy(resize.apply_image(np.ascontiguousarray(picture[y0:y1, x0:x1])))
    with torch.no_grad():
        embeddings = sam.encode(sam.preprocess(scaled.permute(2, 0, 1)))
        for point in grid * (x1 - x0, y1 - y0):
            coords = torch.from_numpy(resize.apply_coords(point[None, None])).float()
            attended = sam.attend(embeddings, Prompts(coords, torch.ones(1, 1)), multimask_output=True)
            logits = resize.restore_masks(sam.masks(attended, torch.tensor([0])))[0]
            for one, iou in zip(logits, attended.iou_predictions[0], strict=True):
                inner, outer = (one > config.stability_score_offset).sum(), (one > -config.stability_score_offset).sum()
                stability = inner / outer  # NaN, when both are 0, passes nothing
                if not (iou > config.pred_iou_thresh and stability >= config.stability_score_thresh):
                    continue
                whole = np.zeros((height, width), dtype=bool)
                whole[y0:y1, x0:x1] = (one > 0).numpy()
                box = mask_to_box(whole).astype(float)
                near_crop = np.isclose(box, np.array(crop, float), atol=20, rtol=0)
                near_picture = np.isclose(box, np.array([0, 0, width, height], float), atol=20, rtol=0)
                if not (near_crop & ~near_picture).any():
                    yield Found(whole, tuple(box.astype(int).tolist()), iou.item(), stability.item(),
                                (point[0] + x0, point[1] + y0), crop)  # fmt: skip


def suppress(found: list, scores: list[float], threshold: float) -> list:
    """Greedy suppression, pair by pair."""
    kept: list[int] = []
    for number in sorted(range(len(found)), key=lambda number: -scores[number]):
        if all(_overlap(found[number].box, found[other].box) <= threshold for other in kept):
            kept.append(number)
    return [found[number] for number in kept]


def _overlap(a, b) -> float:
    def area(x0, y0, x1, y1):
        return max(0, x1 - x0) * max(0, y1 - y0)

    shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    union = area(*a) + area(*b) - shared
    return shared / union if union else 0.0


def _clean(one: Found, min_area: int) -> float:
    """1 if nothing was small, as the official code scores it."""
    changed = False
    for holes in (True, False):
        work = one.mask != holes
        count, labels, stats, _ = cv2.connectedComponentsWithStats(work.astype(np.uint8), connectivity=8)
        areas = stats[1:, -1]
        small = [label for label in range(1, count) if areas[label - 1] < min_area]
        if not small:
            continue
        changed = True
        if holes:
            one.mask = one.mask | np.isin(labels, small)
        else:
            stay = [label for label in range(1, count) if label not in small] or [1 + int(np.argmax(areas))]
            one.mask = np.isin(labels, stay)
    one.box = tuple(mask_to_box(one.mask).tolist())
    return float(not changed)


def assert_records(records: list, expected: list[Found]) -> None:
    """The same masks in the same order, bit for bit."""
    assert [record.segmentation for record in records] == [encode_rle(one.mask) for one in expected]
    assert [record.id for record in records] == list(range(len(records)))
    for record, one in zip(records, expected, strict=True):
        x0, y0, x1, y1 = one.box
        assert record.bbox == [x0, y0, x1 - x0 + 1, y1 - y0 + 1]
        assert record.area == one.mask.sum()
        assert abs(record.predicted_iou - one.iou) < 1e-6
        assert abs(record.stability_score - one.stability) < 1e-6
        assert record.point_coords == [list(one.point)]
        assert record.crop_box == [one.crop[0], one.crop[1], one.crop[2] - one.crop[0], one.crop[3] - one.crop[1]]
