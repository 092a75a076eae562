"""Prompts: what is asked of the model, for P objects at once.

Letters: P prompts, N points per prompt, (h, w) the grid of image embeddings.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

# Point labels of the official code.
FOREGROUND = 1
BACKGROUND = 0
NOT_A_POINT = -1


@dataclass(frozen=True)
class Prompts:
    """P prompts in the input frame (pixels after `Resize`), each over one image.

    All prompts of one value have the same number of points: a padding point is a token that others attend to, so it
    changes masks. Different numbers of points belong in different calls.

    Attributes:
        point_coords: (P, N, 2) float, (x, y).
        point_labels: (P, N) 1 foreground, 0 background, -1 not a point.
        boxes: (P, 4) float, XYXY.
        mask_input: (P, 1, 4h, 4w) float logits of an earlier round.
        image_index: (P,) int64, which image of the batch each prompt belongs to; None means the first one.

    Raises:
        ValueError: nothing is given, or a shape, a number of prompts or a label is not as above.
    """

    point_coords: Tensor | None = None
    point_labels: Tensor | None = None
    boxes: Tensor | None = None
    mask_input: Tensor | None = None
    image_index: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.point_coords is None) != (self.point_labels is None):
            raise ValueError("expected point_coords and point_labels together, got only one of them; give both")
        _check_shape("point_coords", self.point_coords, (None, None, 2))
        _check_shape("point_labels", self.point_labels, (None, None))
        _check_shape("boxes", self.boxes, (None, 4))
        _check_shape("mask_input", self.mask_input, (None, 1, None, None))
        _check_shape("image_index", self.image_index, (None,))
        counts = {field.name: len(value) for field in fields(self) if (value := getattr(self, field.name)) is not None}
        counts_of_prompts = {name: count for name, count in counts.items() if name != "image_index"}
        if not counts_of_prompts:
            raise ValueError("expected at least one of points, boxes or mask_input, got none; add a prompt")
        if len(set(counts.values())) != 1:
            raise ValueError(f"expected the same number of prompts P in every field, got {counts}")
        if self.point_coords is not None and self.point_labels is not None:
            if self.point_coords.shape[1] != self.point_labels.shape[1]:
                got = f"{tuple(self.point_coords.shape)} and {tuple(self.point_labels.shape)}"
                raise ValueError(f"expected one label per point, got point_coords, point_labels of shape {got}")
            known = (self.point_labels >= NOT_A_POINT) & (self.point_labels <= FOREGROUND)
            if not bool(known.all()):
                bad = self.point_labels[~known].flatten()[0].item()
                raise ValueError(f"expected point labels 1 (foreground), 0 (background) or -1 (not a point), got {bad}")

    @property
    def count(self) -> int:
        """P, the number of prompts."""
        return next(len(v) for v in (self.point_coords, self.boxes, self.mask_input) if v is not None)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(v.device for v in (self.point_coords, self.boxes, self.mask_input) if v is not None)

    def to(self, device: torch.device | str) -> "Prompts":
        """The same prompts on another device."""
        moved = {f.name: value.to(device) for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return replace(self, **moved)


def _check_shape(name: str, value: Tensor | None, expected: tuple[int | None, ...]) -> None:
    if value is None:
        return
    fits = value.ndim == len(expected) and all(e is None or e == s for e, s in zip(expected, value.shape, strict=True))
    if not fits:
        wanted = "(" + ", ".join("*" if e is None else str(e) for e in expected) + ")"
        raise ValueError(f"expected {name} of shape {wanted}, got {tuple(value.shape)}")
