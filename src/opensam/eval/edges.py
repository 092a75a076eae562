"""Edges of a picture from its masks, without having learnt edges (paper, section 7.2 and appendix D.2).

A click on every point of a grid gives masks; duplicates among them go. An edge is where the probability that a
pixel belongs to a mask changes fast, and only along the outline of that mask. The strongest of all masks counts;
what is left is thinned as Canny's detector does it.

Letters: K masks, (H, W) the picture, (h, w) the grid of a low-resolution mask.
"""

import math
from typing import Annotated

import cv2
import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor

from opensam.config import Config
from opensam.geometry import Box, Resize, point_grid
from opensam.image import Rgb
from opensam.masks import mask_to_box
from opensam.predictor import ImageEmbedding, Predictor
from opensam.prompts import FOREGROUND, Prompts
from opensam.records import MaskRecord
from opensam.records.overlaps import mask_nms

Edges = NDArray[np.float32]

# Prompts decoded at once: on a processor more gain nothing (see `opensam.amg.candidates`).
PROMPTS_AT_ONCE = 16
# A Sobel filter of 3 x 3 on a step from 0 to 1 answers with 4.
_STEP = 4.0
# Of `thin_edges`, as in the edge detection toolbox of Dollár: the normal of an edge is looked for in the map smoothed
# by a triangle of this radius; an edge goes if a neighbour along its normal is stronger by more than this factor.
_NORMAL_RADIUS = 4
_TOLERANCE = 1.01


PAPER: dict[str, tuple[float, float | None, float | None, float | None]] = {
    "SAM ViT-H (paper)": (0.768, 0.786, 0.794, 0.928),
    "HED, trained on BSDS500 (paper)": (0.788, 0.808, 0.840, 0.923),
    "EDETR, trained on BSDS500 (paper)": (0.840, 0.858, 0.896, 0.930),
    "Felz-Hutt (paper)": (0.610, 0.640, 0.560, None),
    "Canny (paper)": (0.600, 0.640, 0.580, None),
    "Sobel (paper)": (0.539, None, None, None),
}
"""ODS, OIS, AP and R50 on the 200 test pictures of BSDS500 (paper, table 3)."""


class EdgesConfig(Config):
    """How edges are found; the defaults are the paper's (appendix D.2).

    Attributes:
        points_per_side: of the grid of clicks; 16 x 16 clicks give 768 masks.
        mask_nms_thresh: a mask goes if its IoU with a better one is above it. The paper says NMS and no more; 0.7 is
            what the official generator of masks compares boxes with. Here it is masks: two things with one box, such
            as a frame and its picture, have edges of their own. (The embedded model scores the same either way.)
    """

    points_per_side: Annotated[int, pydantic.Field(ge=1)] = 16
    mask_nms_thresh: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.7


def find_edges(predictor: Predictor, picture: Rgb, config: EdgesConfig) -> Edges:
    """The edges of a picture.

    Args:
        predictor: of the model.
        picture: (H, W, 3).
        config: settings.

    Returns:
        (H, W) in [0, 1], thinned.
    """
    embedding = predictor.embed(picture)
    low_res_masks, scores = _decode(predictor, embedding, config.points_per_side)
    threshold = predictor.model.mask_threshold
    kept = _distinct(low_res_masks, scores, embedding.resize, threshold, config.mask_nms_thresh)
    return thin_edges(_join(low_res_masks[kept], embedding.resize, threshold))


@torch.no_grad()
def _decode(predictor: Predictor, embedding: ImageEmbedding, points_per_side: int) -> tuple[Tensor, list[float]]:
    """Logits (K, h, w) of the masks of all clicks, three a click, and their predicted IoU."""
    sam, resize = predictor.model, embedding.resize
    points = point_grid(points_per_side) * resize.original_size[::-1]
    coords = torch.from_numpy(resize.apply_coords(points)).float()
    prompts = Prompts(coords[:, None], torch.full((len(points), 1), FOREGROUND)).to(sam.device)
    embeddings = embedding.embeddings.to(sam.device, sam.dtype)
    logits, scores = list[Tensor](), list[float]()
    for part in prompts.split(PROMPTS_AT_ONCE):
        low_res_masks, iou_predictions = sam.decode(embeddings, part, multimask_output=True)
        logits.append(low_res_masks.flatten(0, 1).float().cpu())
        scores += iou_predictions.flatten().tolist()
    return torch.cat(logits), scores


def _distinct(
    low_res_masks: Tensor, scores: list[float], resize: Resize, mask_threshold: float, nms_thresh: float
) -> list[int]:
    """Which of (K, h, w) masks stay when empty ones and duplicates go, judged on the grid of the decoder."""
    rows, columns = (math.ceil(side / 4) for side in resize.input_size)  # the others are padding
    inside = (low_res_masks[:, :rows, :columns] > mask_threshold).numpy()
    records = [
        MaskRecord.from_mask(mask, number, predicted_iou=score, stability_score=1.0)
        for number, (mask, score) in enumerate(zip(inside, scores, strict=True))
        if mask.any()
    ]
    return [record.id for record in mask_nms(records, nms_thresh)]


def _join(low_res_masks: Tensor, resize: Resize, threshold: float) -> Edges:
    """The edges (H, W) of (K, h, w) masks before thinning: each pixel's largest value, from 0 to 1."""
    edges = np.zeros(resize.original_size, dtype=np.float32)
    for low_res_mask in low_res_masks:
        _draw(edges, low_res_mask, resize, threshold)
    low, high = edges.min(), edges.max()
    return (edges - low) / max(high - low, np.float32(1e-12))


def _draw(edges: Edges, low_res_mask: Tensor, resize: Resize, threshold: float) -> None:
    """Raise the map of edges to what one mask (h, w) adds to it."""
    height, width = edges.shape
    cells = mask_to_box((low_res_mask > threshold)[None])[0].tolist()
    x0, y0, x1, y1 = resize.reach((cells[0], cells[1], cells[2] + 1, cells[3] + 1))
    # Two pixels more: the outline lies just outside of the mask, and the filter looks one further.
    box: Box = (max(0, x0 - 2), max(0, y0 - 2), min(width, x1 + 2), min(height, y1 + 2))
    logits = torch.cat([strip for _, strip in resize.restore_strips(low_res_mask, box)], dim=1)
    strength = mask_edges(logits, threshold)
    part = edges[box[1] : box[3], box[0] : box[2]]
    np.maximum(part, strength, out=part)


def mask_edges(logits: Tensor, threshold: float = 0.0) -> Edges:
    """How steep the probability of a mask is along its outline, 0 elsewhere.

    Args:
        logits: (H, W) of the mask.
        threshold: above it a pixel is inside.

    Returns:
        (H, W): the Sobel filter's answer at the pixels just outside of the mask, by side or corner; 1 is a step from
        0 to 1 along a straight side. The border of the picture is no outline.
    """
    probability = torch.sigmoid(logits).cpu().numpy()
    inside = (logits > threshold).cpu().numpy().view(np.uint8)
    outline = cv2.dilate(inside, np.ones((3, 3), np.uint8)) > inside
    strength = np.hypot(*sobel(probability)) / np.float32(_STEP)
    return np.where(outline, strength, np.float32(0))


def sobel(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The gradient of (H, W) by Sobel's filters of 3 x 3: across and down."""
    across = cv2.Sobel(values, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(values, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(across, dtype=np.float32), np.asarray(down, dtype=np.float32)


def thin_edges(edges: Edges) -> Edges:
    """Non-maximum suppression across edges (Canny 1986), in the form of Dollár's edge detection toolbox.

    The map is smoothed a little, so that the two outlines of things that touch become one. Its normals come from the
    second derivatives of the map smoothed more.

    Args:
        edges: (H, W) in [0, 1].

    Returns:
        (H, W) in [0, 1], 0 where an edge is not the strongest along its normal.
    """
    smooth = _triangle(edges, 1)
    down, across = np.gradient(_triangle(smooth, _NORMAL_RADIUS))
    down2, mixed = np.gradient(down)[0], np.gradient(across)[0]
    across2 = np.gradient(across)[1]
    # The toolbox takes the sign of -mixed, which is 0 for exactly level edges: it takes their normal for level too.
    normal = np.arctan(np.where(mixed > 0, -down2, down2) / (across2 + np.float32(1e-5)))
    return keep_ridges(smooth, normal)


def keep_ridges(edges: Edges, normal: NDArray[np.floating]) -> Edges:
    """A map of edges without the pixels that are weaker than a neighbour across the edge.

    Args:
        edges: (H, W).
        normal: (H, W) the angle at which the edge is crossed, in radians from the x axis towards the y axis.

    Returns:
        (H, W), 0 where an edge is not the strongest.
    """
    rows, columns = np.indices(edges.shape, dtype=np.float32)
    across, down = np.cos(normal).astype(np.float32), np.sin(normal).astype(np.float32)
    stays = np.ones(edges.shape, dtype=np.bool_)
    for side in (-1, 1):
        x, y = columns + side * across, rows + side * down
        neighbour = cv2.remap(edges, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        stays &= edges * np.float32(_TOLERANCE) >= neighbour
    return np.where(stays, edges, np.float32(0))


def _triangle(values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Smoothed by a triangle that reaches `radius` pixels to each side."""
    rising = np.arange(1, radius + 2, dtype=np.float32)
    kernel = np.concatenate([rising, rising[-2::-1]])
    kernel /= kernel.sum()
    return np.asarray(cv2.sepFilter2D(values, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT))
