"""Where a pixel goes: the one mapping between a picture and the square that the model sees, and boxes.

The model looks at a square of `image_size` pixels. A picture is scaled until its longest side fills the
square, and lies in its top left corner; the rest is padding.

    original frame --apply_*--> input frame (inside the square) --restore_*--> original frame

Points are (x, y) and boxes XYXY, both in pixels; sizes are (H, W). Letters: H, W the original size,
P prompts, C masks per prompt, h, w the low-resolution mask grid, N and M boxes.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

Coordinates = TypeVar("Coordinates", NDArray[Any], torch.Tensor)


@dataclass(frozen=True)
class Resize:
    """The mapping of one picture into the model's square and back.

    Attributes:
        original_size: (H, W) of the picture as given.
        image_size: side of the model's square in pixels.

    Raises:
        ValueError: a size is not a positive whole number.
    """

    original_size: tuple[int, int]
    image_size: int

    def __post_init__(self) -> None:
        sizes = (*self.original_size, self.image_size)
        if len(sizes) != 3 or any(int(size) != size or size < 1 for size in sizes):
            raise ValueError(
                "Resize expects original_size=(height, width) and image_size as whole numbers of at least 1, "
                f"got original_size={self.original_size}, image_size={self.image_size}."
            )
        # numpy integers would not survive json, and a list or torch.Size would break equality and hashing.
        object.__setattr__(self, "original_size", (int(sizes[0]), int(sizes[1])))
        object.__setattr__(self, "image_size", int(sizes[2]))

    @property
    def scale(self) -> float:
        """Side of the square over the longest side of the picture."""
        return self.image_size / max(self.original_size)

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) after scaling and before padding: rounded half up as in the official code, at least 1 px."""
        height, width = (max(1, int(side * self.scale + 0.5)) for side in self.original_size)
        return height, width

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scale a picture to `input_size` with the filter of the official code (Pillow's bilinear).

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (*input_size, 3) uint8, always new memory.

        Raises:
            ValueError: the picture is not uint8 or does not have `original_size`.
        """
        if image.dtype != np.uint8 or image.shape != (*self.original_size, 3):
            raise ValueError(
                f"apply_image expects a uint8 picture of shape {(*self.original_size, 3)}, "
                f"got {image.dtype} of shape {image.shape}; read pictures with opensam.image.read."
            )
        height, width = self.input_size
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    def apply_coords(self, coords: Coordinates) -> Coordinates:
        """Move points (..., 2) from the original frame to the input frame.

        The two axes scale by their own ratio of rounded sizes, as in the official code.

        Args:
            coords: (..., 2) numpy array or torch tensor; never modified.

        Returns:
            The same kind: numpy comes back as float64, torch keeps its floating dtype (float32 at least).

        Raises:
            ValueError: the last axis does not have length 2.
        """
        return _multiply(coords, self._ratios(), "points (x, y)")

    def restore_coords(self, coords: Coordinates) -> Coordinates:
        """Move points (..., 2) from the input frame to the original frame; see `apply_coords`."""
        return _multiply(coords, self._ratios(back=True), "points (x, y)")

    def apply_boxes(self, boxes: Coordinates) -> Coordinates:
        """Move XYXY boxes (..., 4) from the original frame to the input frame; see `apply_coords`."""
        return _multiply(boxes, self._ratios() * 2, "boxes (x0, y0, x1, y1)")

    def restore_boxes(self, boxes: Coordinates) -> Coordinates:
        """Move XYXY boxes (..., 4) from the input frame to the original frame; see `apply_coords`."""
        return _multiply(boxes, self._ratios(back=True) * 2, "boxes (x0, y0, x1, y1)")

    def restore_masks(self, low_res_masks: torch.Tensor) -> torch.Tensor:
        """Bring the decoder's masks to the original frame.

        Args:
            low_res_masks: (P, C, h, w) logits over the whole square, padding included.

        Returns:
            (P, C, H, W) logits; threshold them to get masks.
        """
        height, width = self.input_size
        square = _interpolate(low_res_masks, (self.image_size, self.image_size))
        return _interpolate(square[..., :height, :width], self.original_size)

    def apply_mask(self, logits: torch.Tensor, padding: float) -> torch.Tensor:
        """Bring masks from the original frame to the grid of the decoder's mask prompt.

        Shrinking averages (antialias), so that a thin structure weakens instead of breaking into dots; the
        padding takes no part in it, so that a mask does not weaken where it meets the border of the picture.

        Args:
            logits: (P, 1, H, W) floating.
            padding: the logit outside the picture; use that of "surely background".

        Returns:
            (P, 1, image_size // 4, image_size // 4) logits.

        Raises:
            ValueError: the masks do not have `original_size`.
        """
        if logits.ndim != 4 or tuple(logits.shape[-2:]) != self.original_size:
            raise ValueError(
                f"apply_mask expects logits of shape (P, 1, H, W) with (H, W) = {self.original_size}, "
                f"got {tuple(logits.shape)}; a mask prompt has the size of its picture."
            )
        height, width = self.input_size
        scaled = _interpolate(logits, (height, width), antialias=True)
        right_and_bottom = (0, self.image_size - width, 0, self.image_size - height)
        square = functional.pad(scaled, right_and_bottom, mode="replicate")
        grid = _interpolate(square, (self.image_size // 4, self.image_size // 4), antialias=True)
        grid[..., math.ceil(height / 4) :, :] = padding
        grid[..., math.ceil(width / 4) :] = padding
        return grid

    def _ratios(self, back: bool = False) -> tuple[float, float]:
        (height, width), (input_height, input_width) = self.original_size, self.input_size
        if back:
            return width / input_width, height / input_height
        return input_width / width, input_height / height


def box_area(boxes: torch.Tensor) -> torch.Tensor:
    """Areas (N,) of XYXY boxes (N, 4); a box with a negative side has area 0."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def box_iou(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each pair of XYXY boxes.

    Args:
        boxes: (N, 4).
        others: (M, 4), in the same frame.

    Returns:
        (N, M) in [0, 1]; 0 for two boxes without area.
    """
    top_left = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = box_area(torch.cat([top_left, bottom_right], dim=-1))
    union = box_area(boxes)[:, None] + box_area(others)[None, :] - intersection
    return torch.where(union > 0, intersection / union, torch.zeros_like(union))


def _multiply(values: Coordinates, ratios: tuple[float, ...], what: str) -> Coordinates:
    if not values.ndim or values.shape[-1] != len(ratios):
        raise ValueError(f"expected {what} in an array of shape (..., {len(ratios)}), got shape {tuple(values.shape)}.")
    if isinstance(values, torch.Tensor):
        # Half precision cannot tell neighbouring pixels of a large picture apart.
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        return values * torch.tensor(ratios, dtype=values.dtype, device=values.device)
    moved: NDArray[Any] = np.asarray(values, dtype=np.float64) * np.asarray(ratios)
    return moved


def _interpolate(masks: torch.Tensor, size: tuple[int, int], antialias: bool = False) -> torch.Tensor:
    return functional.interpolate(masks, size, mode="bilinear", align_corners=False, antialias=antialias)
