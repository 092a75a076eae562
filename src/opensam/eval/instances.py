"""Masks for the boxes of a detector: COCO and LVIS AP (paper, section 7.4 and D.4).

A box gives three masks; the most confident of them goes back into the decoder together with the box, and what comes
then is the answer. Its score is that of the box: the model itself says nothing about categories.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor

from opensam import image
from opensam.config import Config
from opensam.data.ground_truth import Category, GroundTruth, Truth
from opensam.eval.matching import AREAS, Detection, average_precision, check_size, counted, in_range, judge, overlaps
from opensam.eval.runner import Item, Measure
from opensam.eval.segmenters import Masks, SamSegmenter
from opensam.geometry import Resize, box_iou
from opensam.image import Rgb
from opensam.masks import encode_rle
from opensam.prompts import Prompts

PAPER: dict[str, dict[str, dict[str, float]]] = {
    "COCO": {
        "SAM, boxes of ViTDet-H": {"AP": 0.465, "AP small": 0.308, "AP medium": 0.510, "AP large": 0.617},
        "ViTDet-H": {"AP": 0.510, "AP small": 0.320, "AP medium": 0.543, "AP large": 0.689},
    },
    "LVIS": {
        "SAM, boxes of ViTDet-H": {"AP": 0.447, "AP small": 0.325, "AP medium": 0.576, "AP large": 0.655},
        "ViTDet-H": {"AP": 0.466, "AP small": 0.350, "AP medium": 0.580, "AP large": 0.663},
    },
}
"""Mask AP on COCO val2017 and LVIS v1 val (paper, table 5)."""

RIGHT_BOX = 0.75
"""From this IoU of boxes on, a bad mask is not the detector's fault."""

GROUND_TRUTH = "ground-truth"


class InstancesConfig(Config):
    """What to measure, and how.

    Attributes:
        data: see `opensam.data.ground_truth.open_ground_truth`.
        max_images: at most so many, evenly spaced; None: all.
        boxes: a file of COCO results, or GROUND_TRUTH: those of the annotations.
        digest: SHA-256 of that file.
        rounds: how often the answer goes back into the decoder; the paper: once.
        masks: keep all masks, for a file of results.
        prompts_per_call: boxes decoded at once. On a CPU a few, so that a call stays in its cache; on a GPU many.
    """

    data: tuple[str, ...]
    max_images: int | None = pydantic.Field(None, ge=1)
    boxes: str
    digest: str | None = None
    rounds: int = pydantic.Field(1, ge=0)
    masks: bool = False
    prompts_per_call: int = pydantic.Field(4, ge=1)


@dataclass(frozen=True)
class Box:
    """What a detector says: where something is (XYXY; x and y are edges of pixels), what, and how sure it is."""

    category: int
    score: float
    xyxy: tuple[float, float, float, float]


class BoxRefiner(Protocol):
    """A method that turns boxes into masks, in rounds."""

    def embed(self, image: Rgb) -> Any:
        """Whatever the method needs of a picture (H, W, 3)."""

    def refine_boxes(self, embedding: Any, boxes: NDArray[np.float64], rounds: int) -> Masks:
        """The masks (P, H, W) of the objects in XYXY boxes (P, 4); both corners are pixels of the box."""


class SamRefiner(SamSegmenter):
    """A `Sam` model that sees its own answer again; see `BoxRefiner`."""

    @torch.no_grad()
    def refine_boxes(self, embedding: tuple[Resize, Tensor], boxes: NDArray[np.float64], rounds: int) -> Masks:
        """The masks (P, H, W) after the first answer, of three masks, and so many rounds more, of one."""
        resize, image_embeddings = embedding
        prompts = Prompts(boxes=torch.from_numpy(resize.apply_boxes(boxes)).to(self.sam.dtype)).to(self.sam.device)
        low_res_masks, scores = self.sam.decode(image_embeddings, prompts, True)
        best = torch.arange(len(boxes), device=scores.device), scores.argmax(dim=1)
        low_res_mask = low_res_masks[best][:, None]
        for _ in range(rounds):
            again = Prompts(boxes=prompts.boxes, mask_input=low_res_mask)
            low_res_mask, _ = self.sam.decode(image_embeddings, again, False)
        masks: Masks = (resize.restore_masks(low_res_mask)[:, 0] > self.sam.mask_threshold).cpu().numpy()
        return masks


def true_boxes(truth: Truth) -> list[Box]:
    """What a perfect detector would say: every annotation that is no crowd, with certainty."""
    return [
        Box(one.category, 1.0, (x, y, x + width, y + height))
        for one in truth.annotations
        if not one.crowd
        for x, y, width, height in [one.bbox]
    ]


def read_boxes(path: Path, truth: GroundTruth, skipped: list[str] | None = None) -> dict[int, list[Box]]:
    """Boxes of a detector from a COCO results file: a list of {image_id, category_id, bbox (XYWH), score}.

    A box that leaves the picture is cut at its edge. A picture may have no boxes.

    Args:
        path: of the file.
        truth: the pictures and categories that it speaks of.
        skipped: gets a sentence for every entry that cannot be used; None: the first of them is an error.

    Returns:
        By image id, in the order of the file.

    Raises:
        ValueError: no such file, another layout, or an entry that cannot be used: of an unknown picture or category,
            without a finite score, without a box in the picture. The message names the file and the entry.
    """
    ids = Counter(truth.image_id(i) for i in range(len(truth)))
    if twice := [image_id for image_id, times in ids.items() if times > 1]:
        raise ValueError(
            f"expected pictures with ids of their own for the boxes of {path}, got the id {twice[0]} twice in "
            f"{truth.name}; measure these data sets one at a time"
        )
    rows = {truth.image_id(i): i for i in range(len(truth))}
    found: dict[int, list[Box]] = {}
    for number, entry in enumerate(_entries(path)):
        try:
            image_id, box = _read_box(entry, rows, truth)
            found.setdefault(image_id, []).append(box)
        except ValueError as error:
            sentence = f"entry {number} of {path}: {error}"
            if skipped is None:
                raise ValueError(sentence) from error
            skipped.append(sentence)
    if not found:
        raise ValueError(f"expected boxes for the pictures of {truth.name} in {path}, got none")
    return found


def _entries(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise ValueError(f"expected a JSON file of COCO results, got {path}: {error}") from error
    if not isinstance(content, list):
        raise ValueError(
            f"expected COCO results, a list of {{image_id, category_id, bbox, score}}, in {path}, got "
            f"{type(content).__name__}; a file of annotations is not one"
        )
    return content


def _read_box(entry: Any, rows: Mapping[int, int], truth: GroundTruth) -> tuple[int, Box]:
    try:
        image_id, category = entry["image_id"], entry["category_id"]
        score = float(entry["score"])
        x, y, width, height = (float(side) for side in entry["bbox"])
    except KeyError as error:
        raise ValueError(f"the field {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"expected image_id, category_id, bbox [x, y, width, height] and score, got {error}"
        ) from error
    for field, known in (("image_id", rows), ("category_id", truth.categories)):
        if not isinstance(entry[field], int) or entry[field] not in known:
            raise ValueError(f"expected the {field} of a picture or category of {truth.name}, got {entry[field]!r}")
    if not all(map(math.isfinite, (score, x, y, width, height))):
        raise ValueError(f"expected finite numbers, got the score {score} and the bbox {entry['bbox']}")
    height_of, width_of = truth.size(rows[image_id])
    x0, y0, x1, y1 = max(0.0, x), max(0.0, y), min(float(width_of), x + width), min(float(height_of), y + height)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(
            f"expected a box [x, y, width, height] in the picture of {width_of} x {height_of}, got {entry['bbox']}"
        )
    return image_id, Box(category, score, (x0, y0, x1, y1))


def segment_boxes(
    segmenter: BoxRefiner, picture: Rgb, boxes: Sequence[Box], config: InstancesConfig
) -> list[Detection]:
    """The masks of boxes, with their categories and scores."""
    if not boxes:
        return []
    embedding = segmenter.embed(picture)
    found: list[Detection] = []
    for start in range(0, len(boxes), config.prompts_per_call):
        group = boxes[start : start + config.prompts_per_call]
        corners = np.array([one.xyxy for one in group])
        # From edges to pixels: the last pixel begins one before the right edge.
        corners[:, 2:] = np.maximum(corners[:, 2:] - 1, corners[:, :2])
        masks = segmenter.refine_boxes(embedding, corners, config.rounds)
        found += [Detection(one.category, one.score, encode_rle(mask)) for one, mask in zip(group, masks, strict=True)]
    return found


def measuring(
    make: Callable[[], BoxRefiner],
    truth: GroundTruth,
    boxes: Mapping[int, Sequence[Box]] | None,
    config: InstancesConfig,
) -> Measure:
    """What a worker does with a picture of the data, once it has made the segmenter; see `runner.measure`.

    Args:
        make: makes it.
        truth: the data.
        boxes: by image id; None: those of the annotations.
        config: how.
    """
    return partial(_measure, make(), truth, boxes, config)


def _measure(
    segmenter: BoxRefiner,
    truth: GroundTruth,
    boxes: Mapping[int, Sequence[Box]] | None,
    config: InstancesConfig,
    item: Item,
) -> dict[str, Any]:
    _, row = item.place
    known, picture = truth.read(row), image.read(truth.picture(row))
    check_size(picture, known)
    given = true_boxes(known) if boxes is None else boxes.get(known.id, ())
    return measure_picture(segmenter, picture, known, given, config, truth.federated)


def measure_picture(
    segmenter: BoxRefiner, picture: Rgb, truth: Truth, boxes: Sequence[Box], config: InstancesConfig, federated: bool
) -> dict[str, Any]:
    """What the masks of one picture are worth.

    Args:
        segmenter: makes them.
        picture: (H, W, 3).
        truth: what is in it.
        boxes: what to segment. Only those that count (see `matching.counted`) are.
        config: how.
        federated: of the data; see `matching.judge`.

    Returns:
        What `matching.judge` does, and `boxes`: how many were segmented; `ious`: of each annotation that has a right
        box [area, IoU of the mask]; `worst`: of these the worst, or None: `iou`, `annotation` (its id), `box` XYXY,
        `mask`; and, if the config asks for them, `masks` as COCO results.
    """
    numbers = counted([one.category for one in boxes], [one.score for one in boxes], federated)
    boxes = [boxes[number] for number in numbers]
    found = segment_boxes(segmenter, picture, boxes, config)
    value = judge(found, truth, federated) | {"boxes": len(boxes)} | _with_right_boxes(boxes, found, truth)
    if config.masks:
        value["masks"] = [
            {
                "image_id": truth.id,
                "category_id": one.category,
                "segmentation": dict(one.segmentation),
                "score": float(one.score),
            }
            for one in found
        ]
    return value


def _with_right_boxes(boxes: Sequence[Box], found: Sequence[Detection], truth: Truth) -> dict[str, Any]:
    """`ious` and `worst` of `measure_picture`: of each annotation the mask of the box that fits it best."""
    sought = [one for one in truth.annotations if not one.crowd]
    if not boxes or not sought:
        return {"ious": [], "worst": None}
    corners = np.array([one.xyxy for one in boxes], dtype=np.float64)
    theirs = np.array([one.xyxy for one in true_boxes(truth)], dtype=np.float64)
    fit = box_iou(corners, theirs)
    fit *= np.array([[one.category == other.category for other in sought] for one in boxes])
    ious = overlaps([one.segmentation for one in found], sought)
    rows = []
    for k, annotation in enumerate(sought):
        number = int(fit[:, k].argmax())
        if fit[number, k] >= RIGHT_BOX:
            rows.append((float(ious[number, k]), annotation, number))
    if not rows:
        return {"ious": [], "worst": None}
    iou, annotation, number = min(rows, key=lambda row: row[0])
    worst = {
        "iou": iou,
        "annotation": annotation.id,
        "box": list(boxes[number].xyxy),
        "mask": dict(found[number].segmentation),
    }
    return {"ious": [[one.area, value] for value, one, _ in rows], "worst": worst}


def summarise(values: Iterable[Mapping[str, Any]], categories: Mapping[int, Category]) -> dict[str, Any]:
    """From what `measure_picture` gave for all pictures, in the order of the data.

    Returns:
        What `matching.average_precision` does, and `pictures`, `boxes`, and `right boxes`: for each of AREAS that has
        annotations with a right box their number and the mean IoU of the masks, [count, mean].
    """
    everything = list(values)
    ious = [tuple(row) for value in everything for row in value["ious"]]
    by_area = {name: [iou for pixels, iou in ious if in_range(pixels, name)] for name in AREAS}
    return average_precision(everything, categories) | {
        "pictures": len(everything),
        "boxes": sum(value["boxes"] for value in everything),
        "right boxes": {name: [len(found), float(np.mean(found))] for name, found in by_area.items() if found},
    }
