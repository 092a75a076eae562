"""How the masks of a picture overlap: duplicates, one label per pixel, wholes and their parts.

Masks stay run lengths wherever they are only compared: that costs what their outlines are long, however large the
picture. All results depend on the masks and their order alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from opensam.masks import area
from opensam.records.sa1b import ImageRecord, MaskRecord

LEVELS = ("whole", "part", "subpart")
"""What a mask is inside no other, inside one, and inside one that is inside another; deeper ones are subparts too."""


def mask_iou_matrix(masks: Sequence[MaskRecord]) -> NDArray[np.float64]:
    """Intersection over union of each pair of masks, (N, N) in [0, 1]; 0 for two empty masks.

    Raises:
        ValueError: masks of pictures of different sizes, or a damaged one.
    """
    _areas(masks)
    rles = [mask.segmentation for mask in masks]
    return np.asarray(coco.iou(rles, rles, [0] * len(rles)), dtype=np.float64).reshape(len(rles), len(rles))


def mask_nms(masks: Sequence[MaskRecord], iou_thresh: float) -> list[MaskRecord]:
    """The masks without those that overlap a better one: by mask IoU, not box IoU.

    Args:
        masks: of one picture.
        iou_thresh: a mask goes if its IoU with one that stays is above it; 1 keeps duplicates too.

    Returns:
        Highest `predicted_iou` first; of equals, the first given.

    Raises:
        ValueError: a threshold outside [0, 1], masks of pictures of different sizes, or a damaged one.
    """
    _check_share(iou_thresh, "iou_thresh")
    _areas(masks)
    ranked = sorted(masks, key=lambda mask: -mask.predicted_iou)
    boxes = _boxes(ranked)
    stays = np.ones(len(ranked), dtype=np.bool_)
    for row, mask in enumerate(ranked):
        if stays[row]:
            rivals = row + 1 + np.flatnonzero(stays[row + 1 :] & _meet(boxes[row], boxes[row + 1 :]))
            ious = _compare(mask, [ranked[rival] for rival in rivals], crowd=False)
            stays[rivals[ious > iou_thresh]] = False
    return [mask for mask, stay in zip(ranked, stays, strict=True) if stay]


def label_map(record: ImageRecord) -> NDArray[np.unsignedinteger[Any]]:
    """One label per pixel: mask i of the record is i + 1, nothing is 0.

    Where masks overlap, the one of fewer pixels is on top, so that parts stay visible on their wholes; of equals, the
    first. A mask that others cover wholly has no pixel.

    Returns:
        (H, W) of the narrowest unsigned type that holds the labels.

    Raises:
        ValueError: a damaged mask.
    """
    masks = record.annotations
    labels = np.zeros((record.image.height, record.image.width), dtype=np.min_scalar_type(len(masks)))
    areas = _areas(masks)
    for row in sorted(range(len(masks)), key=lambda row: (-areas[row], -row)):
        x, y, inside = masks[row].cutout()
        height, width = inside.shape
        labels[y : y + height, x : x + width][inside] = row + 1
    return labels


def containment_tree(masks: Sequence[MaskRecord], threshold: float = 0.95) -> list[MaskRecord]:
    """The masks with two more keys that make them a tree: which mask each is part of, and how deep it lies.

    The parent of a mask is the smallest of the larger masks that contain it; of equals, the first. Masks of equal size
    are never parents of each other, so duplicates are neighbours; `mask_nms` removes them and those nearly equal.

    Args:
        masks: of one picture, with different ids.
        threshold: a mask contains another if at least this share of the other's pixels is inside.

    Returns:
        The masks in the order given. `level` is one of LEVELS; `parent` is the id of the mask it is part of, and
        missing where `level` is "whole".

    Raises:
        ValueError: ids that come twice, a threshold outside [0, 1], masks of different sizes, or a damaged one.
    """
    _check_share(threshold, "threshold")
    if len({mask.id for mask in masks}) < len(masks):
        raise ValueError("expected masks with different ids, got one twice; number them from 1 on.")
    areas, boxes = np.array(_areas(masks), dtype=np.int64), _boxes(masks)
    order = np.argsort(areas, kind="stable")
    parents: dict[int, int] = {}
    for row, mask in enumerate(masks):
        larger = order[(areas[order] > areas[row]) & _meet(boxes[row], boxes[order])]
        # Of crowds, pycocotools gives the share of the first mask that is inside.
        shares = _compare(mask, [masks[other] for other in larger], crowd=True)
        if len(inside := np.flatnonzero(shares >= threshold)) and areas[row]:
            parents[row] = int(larger[inside[0]])
    depths: dict[int, int] = {}
    for row in order[::-1].tolist():  # a parent is larger: its depth is known
        depths[row] = depths[parents[row]] + 1 if row in parents else 0
    ids = {row: masks[parent].id for row, parent in parents.items()}
    return [_placed(mask, LEVELS[min(depths[row], 2)], ids.get(row)) for row, mask in enumerate(masks)]


def _placed(mask: MaskRecord, level: str, parent: int | None) -> MaskRecord:
    tree = {"level": level} | ({} if parent is None else {"parent": parent})
    return MaskRecord.model_validate({key: value for key, value in mask if key not in ("level", "parent")} | tree)


def _areas(masks: Sequence[MaskRecord]) -> list[int]:
    """Pixels of each mask, counted; pycocotools does not notice damaged runs, and answers -1 for unequal sizes."""
    for mask in masks:
        if mask.segmentation["size"] != masks[0].segmentation["size"]:
            raise ValueError(
                f"expected masks of one picture, got sizes {masks[0].segmentation['size']} and "
                f"{mask.segmentation['size']}; compare the masks of each picture for themselves."
            )
    return [area(mask.segmentation) for mask in masks]


def _boxes(masks: Sequence[MaskRecord]) -> NDArray[np.float64]:
    """XYXY, (N, 4), the right and lower sides outside; zeros of an empty mask."""
    boxes = np.asarray(coco.toBbox([mask.segmentation for mask in masks]), dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _meet(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.all((box[:2] < boxes[:, 2:]) & (boxes[:, :2] < box[2:]), axis=1)


def _compare(mask: MaskRecord, others: Sequence[MaskRecord], *, crowd: bool) -> NDArray[np.float64]:
    if not others:
        return np.zeros(0)
    rles = [other.segmentation for other in others]
    return np.asarray(coco.iou([mask.segmentation], rles, [int(crowd)] * len(rles)), dtype=np.float64)[0]


def _check_share(share: float, name: str) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"expected {name} as a share from 0 to 1, got {share}.")
