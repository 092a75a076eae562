"""Prompts: what is asked of the model, for P objects at once, and how masks and strokes become that.

A person's prompts are numpy arrays until a predictor brings them to its device; only `Prompts` needs torch.

Letters: P prompts, N points per prompt, (h, w) the grid of image embeddings, (H, W) the original size.
"""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from opensam.geometry import Resize
from opensam.masks import deepest_point, mask_to_box

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PromptArrays = dict[str, NDArray[Any]]
"""Fields of `Prompts` as numpy arrays; what is not given is left out."""

# Point labels of the official code.
FOREGROUND = 1
BACKGROUND = 0
NOT_A_POINT = -1

# Logits written for a mask that a person gives: they grow by MASK_LOGIT_SLOPE per cell of the mask input grid
# away from the outline, up to MASK_LOGIT, much like the logits that the model itself feeds back.
MASK_LOGIT = 10.0
MASK_LOGIT_SLOPE = 4.0

# Clicks that stand for a scribble: at most as many as the corrective clicks of training (paper, A), and no
# closer than a sixteenth of the picture's longest side.
SCRIBBLE_POINTS = 8
SCRIBBLE_SPACING = 1 / 16


@dataclass(frozen=True)
class Prompts:
    """P prompts in the input frame (pixels after `Resize`), each over one image.

    All prompts of one value have the same number of points: a padding point is a token that others attend to,
    so it changes masks. Different numbers of points belong in different calls.

    Attributes:
        point_coords: (P, N, 2) float, (x, y).
        point_labels: (P, N) 1 foreground, 0 background, -1 not a point.
        boxes: (P, 4) float, XYXY.
        mask_input: (P, 1, 4h, 4w) float logits of an earlier round.
        image_index: (P,) int64, which image of the batch each prompt belongs to; None means the first one.

    Raises:
        ValueError: nothing is given, or a shape, a number of prompts or a label is not as above.
    """

    point_coords: "Tensor | None" = None
    point_labels: "Tensor | None" = None
    boxes: "Tensor | None" = None
    mask_input: "Tensor | None" = None
    image_index: "Tensor | None" = None

    def __post_init__(self) -> None:
        if (self.point_coords is None) != (self.point_labels is None):
            raise ValueError("expected point_coords and point_labels together, got only one; give both")
        _check_shape("point_coords", self.point_coords, (None, None, 2))
        _check_shape("point_labels", self.point_labels, (None, None))
        _check_shape("boxes", self.boxes, (None, 4))
        _check_shape("mask_input", self.mask_input, (None, 1, None, None))
        _check_shape("image_index", self.image_index, (None,))
        count_prompts(_given(self))
        if self.point_coords is not None and self.point_labels is not None:
            if self.point_coords.shape[1] != self.point_labels.shape[1]:
                got = f"{tuple(self.point_coords.shape)} and {tuple(self.point_labels.shape)}"
                raise ValueError(f"expected one label per point, got coordinates and labels of shape {got}")
            known = (self.point_labels >= NOT_A_POINT) & (self.point_labels <= FOREGROUND)
            if not bool(known.all()):
                bad = self.point_labels[~known].flatten()[0].item()
                raise ValueError(
                    f"expected point labels 1 (foreground), 0 (background) or -1 (not a point), got {bad:g}"
                )

    @property
    def count(self) -> int:
        """P, the number of prompts."""
        return next(len(v) for v in (self.point_coords, self.boxes, self.mask_input) if v is not None)

    @property
    def device(self) -> "torch.device":
        """Where the tensors are."""
        return next(v.device for v in (self.point_coords, self.boxes, self.mask_input) if v is not None)

    def to(self, device: "torch.device | str") -> "Prompts":
        """The same prompts on another device."""
        return replace(self, **{name: value.to(device) for name, value in _given(self).items()})

    def split(self, size: int) -> "list[Prompts]":
        """Consecutive groups of at most `size` prompts."""
        starts = range(0, self.count, size)
        return [Prompts(**{n: v[s : s + size] for n, v in _given(self).items()}) for s in starts]


def count_prompts(given: Mapping[str, Sized]) -> int:
    """P, from the fields of `Prompts` that are given.

    Raises:
        ValueError: there is no prompt among them, or fields differ in P.
    """
    counts = {field.name: len(given[field.name]) for field in fields(Prompts) if field.name in given}
    if not counts.keys() - {"image_index"}:
        raise ValueError("expected at least one of points, boxes or mask_input, got none; add a prompt")
    if len(set(counts.values())) != 1:
        raise ValueError(f"expected the same number of prompts P in every field, got {counts}")
    return next(iter(counts.values()))


def join(prompts: Sequence[PromptArrays]) -> PromptArrays:
    """Prompts with the same fields and number of points, one after the other, as one value."""
    return {name: np.concatenate([one[name] for one in prompts]) for name in prompts[0]}


def mask_prompts(masks: NDArray[np.bool_], image_size: int) -> PromptArrays:
    """Say with logits, a box and a click what masks say.

    The model was never trained on a mask alone, nor on hard masks: it knows its own soft logits of an earlier
    round, beside the prompts of that round. So the logits grow smoothly away from the outline, and the box
    around the mask and a click on its deepest point go with them.

    Args:
        masks: (P, H, W) bool over the whole picture, at any resolution; each with a pixel inside.
        image_size: side of the model's square.

    Returns:
        P prompts in the input frame, with one point each: `point_coords`, `point_labels`, `boxes` and `mask_input`,
        which is positive inside the mask and negative outside; what is thinner than a cell of its grid stays one cell
        wide instead of vanishing.
    """
    resize = Resize((masks.shape[1], masks.shape[2]), image_size)
    coverage = resize.apply_mask(masks.astype(np.float32)[:, None], padding=0.0)
    logits = np.stack([_logits_from_coverage(cells) for cells in coverage[:, 0]])
    points = np.array([[deepest_point(mask)] for mask in masks], dtype=np.float64)
    return {
        "point_coords": resize.apply_coords(points).astype(np.float32),
        "point_labels": np.full((len(masks), 1), FOREGROUND),
        "boxes": resize.apply_boxes(mask_to_box(masks).astype(np.float64)).astype(np.float32),
        "mask_input": logits[:, None],
    }


def scribble_points(stroke: ArrayLike, original_size: tuple[int, int]) -> NDArray[np.float64]:
    """Clicks (N, 2) that stand for a stroke: evenly spread along it, its ends left out.

    A stroke says where an object is, not how far it reaches, so neither a box nor logits come of it. For a
    stroke over the background, give these points with labels 0.

    Args:
        stroke: (K, 2) points in order.
        original_size: (H, W) of the picture.

    Raises:
        ValueError: not a (K, 2) array of finite numbers.
    """
    path = np.asarray(stroke, dtype=np.float64)
    if path.ndim != 2 or path.shape[1] != 2 or len(path) == 0 or not np.isfinite(path).all():
        raise ValueError(f"expected scribble as finite points (x, y) of shape (K, 2), got shape {path.shape}")
    steps = np.hypot(*np.diff(path, axis=0).T)
    travelled = np.concatenate([[0.0], steps.cumsum()])
    length = travelled[-1]
    count = int(np.clip(np.ceil(length / (SCRIBBLE_SPACING * max(original_size))), 1, SCRIBBLE_POINTS))
    stops = length * (np.arange(count) + 0.5) / count
    return np.stack([np.interp(stops, travelled, path[:, axis]) for axis in (0, 1)], axis=-1)


def _logits_from_coverage(coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of each cell a mask covers, (4h, 4w) in [0, 1], to logits that grow away from its outline."""
    # Half covered is inside; beside it, the strongest of what covers no cell by half is inside too.
    neighbourhood = cv2.dilate(coverage, np.ones((3, 3), dtype=np.uint8))
    inside = (coverage > 0) & (coverage >= neighbourhood / 2)
    depth, height = (
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for side in (inside, ~inside)
    )
    # Distances run between the centres of cells; the outline passes half a cell before that.
    distance = np.where(inside, depth - 0.5, 0.5 - height)
    return np.clip(MASK_LOGIT_SLOPE * distance, -MASK_LOGIT, MASK_LOGIT).astype(np.float32)


def _given(prompts: Prompts) -> "dict[str, Tensor]":
    return {f.name: value for f in fields(prompts) if (value := getattr(prompts, f.name)) is not None}


def _check_shape(name: str, value: "Tensor | None", expected: tuple[int | None, ...]) -> None:
    if value is None:
        return
    fits = value.ndim == len(expected) and all(e is None or e == s for e, s in zip(expected, value.shape, strict=True))
    if not fits:
        wanted = "(" + ", ".join("*" if e is None else str(e) for e in expected) + ")"
        raise ValueError(f"expected {name} of shape {wanted}, got {tuple(value.shape)}")
