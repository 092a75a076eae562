"""Where a pixel goes: the one mapping between a picture and the square that the model sees, and boxes.

The model looks at a square of `image_size` pixels. A picture is scaled until its longest side fills the
square, and lies in its top left corner; the rest is padding.

    original frame --apply_*--> input frame (inside the square) --restore_*--> original frame

Points are (x, y) and boxes XYXY, both in pixels; sizes are (H, W). Letters: H, W the original size,
P prompts, C masks per prompt, h, w the low-resolution mask grid, N and M boxes.

Masks may be numpy arrays or torch tensors; what is given back is of the same kind. Only tensors need torch.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import torch

Coordinates = TypeVar("Coordinates", NDArray[Any], "torch.Tensor")
Masks = TypeVar("Masks", NDArray[np.float32], "torch.Tensor")
Box = tuple[int, int, int, int]

# Logits that `restore_strips` has in the original frame at once: 16 MB as float32.
STRIP_PIXELS = 2**22
# Pixels from a border that count as touching it (official code).
EDGE_TOLERANCE = 20
# torch has another kernel, which rounds otherwise, for results whose two sides add up to no more than this.
_SMALL_RESULT = 128


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

    def restore_masks(self, low_res_masks: Masks) -> Masks:
        """Bring the decoder's masks to the original frame.

        Args:
            low_res_masks: (P, C, h, w) logits over the whole square, padding included; of numpy, or of torch on any
                device.

        Returns:
            (P, C, H, W) logits of the same kind; threshold them to get masks. Both kinds are equal up to rounding.
        """
        height, width = self.input_size
        square = _interpolate(low_res_masks, (self.image_size, self.image_size))
        return _interpolate(square[..., :height, :width], self.original_size)

    def reach(self, low_res_box: Box) -> Box:
        """The part of the picture whose logits depend on some cells of a low-resolution mask.

        Args:
            low_res_box: XYXY of the cells, half open, on the (h, w) grid of image_size / 4.

        Returns:
            XYXY, half open, in the original frame, a few pixels generous; without pixels where the cells are padding.
        """
        sides = []
        for first, last, input_side, side in zip(
            low_res_box[:2], low_res_box[2:], self.input_size[::-1], self.original_size[::-1], strict=True
        ):
            ratio = input_side / side
            start = min(side, max(0, math.floor((4 * first - 4.5) / ratio - 0.5)))
            sides.append((start, min(side, math.ceil((4 * last + 4.5) / ratio + 0.5))))
        (x0, x1), (y0, y1) = sides
        return x0, y0, max(x0, x1), max(y0, y1)

    def restore_strips(self, low_res_mask: Masks, box: Box) -> Iterator[tuple[int, Masks]]:
        """A part of what `restore_masks` gives (of torch bit for bit), for a fraction of the work and of the memory.

        Both of its interpolations look at two neighbours, and both sum up along x first. So rows of the first and
        rows of the second can be left out before, columns of the second after the sums along x.

        Args:
            low_res_mask: (h, w) logits over the whole square, h = w = image_size / 4.
            box: XYXY, half open, the part of the picture.

        Yields:
            From left to right strips of the part: x of the first column, and (y1 - y0, n) logits. A strip has at
            most `STRIP_PIXELS` pixels, or one column.
        """
        x0, y0, x1, y1 = box
        (height, width), (rows, columns) = self.original_size, self.input_size
        if min(height, width, self.image_size) <= _SMALL_RESULT:
            yield x0, self.restore_masks(low_res_mask[None, None])[0, 0, y0:y1, x0:x1]
            return
        ratio = rows / height
        top = max(0, math.floor((y0 + 0.5) * ratio - 0.5) - 1)
        bottom = min(rows, math.floor((y1 - 0.5) * ratio - 0.5) + 3)
        first, last = max(0, top // 4 - 1), min(len(low_res_mask), (bottom - 1) // 4 + 2)
        band = _interpolate(low_res_mask[None, None, first:last], (4 * (last - first), self.image_size))
        wide = _interpolate(band[..., top - 4 * first : bottom - 4 * first, :columns], (bottom - top, width))
        step = max(1, STRIP_PIXELS // height)
        for start in range(x0, x1, step):
            stop = min(start + step, x1)
            tall = _zeros_like(wide, (1, 1, rows, stop - start))  # only rows top to bottom are looked at
            tall[..., top:bottom, :] = wide[..., start:stop]
            yield start, _interpolate(tall, (height, stop - start))[0, 0, y0:y1]

    def apply_mask(self, logits: NDArray[np.float32], padding: float) -> NDArray[np.float32]:
        """Bring masks from the original frame to the grid of the decoder's mask prompt.

        Shrinking averages (antialias), so that a thin structure weakens instead of breaking into dots; the
        padding takes no part in it, so that a mask does not weaken where it meets the border of the picture.

        Args:
            logits: (P, 1, H, W).
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
        bottom_and_right = ((0, 0), (0, 0), (0, self.image_size - height), (0, self.image_size - width))
        square = np.pad(_shrink(logits, (height, width)), bottom_and_right, mode="edge")
        grid = _shrink(square, (self.image_size // 4, self.image_size // 4))
        grid[..., math.ceil(height / 4) :, :] = padding
        grid[..., math.ceil(width / 4) :] = padding
        return grid

    def _ratios(self, back: bool = False) -> tuple[float, float]:
        (height, width), (input_height, input_width) = self.original_size, self.input_size
        if back:
            return width / input_width, height / input_height
        return input_width / width, input_height / height


def box_area(boxes: NDArray[Any]) -> NDArray[Any]:
    """Areas (N,) of XYXY boxes (N, 4); a box with a negative side has area 0."""
    areas: NDArray[Any] = (boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(axis=-1)
    return areas


def box_iou(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union of each pair of XYXY boxes.

    Args:
        boxes: (N, 4).
        others: (M, 4), in the same frame.

    Returns:
        (N, M) in [0, 1]; 0 for two boxes without area.
    """
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = box_area(np.concatenate([top_left, bottom_right], axis=-1))
    union = box_area(boxes)[:, None] + box_area(others)[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def box_nms(boxes: NDArray[Any], scores: NDArray[Any], threshold: float) -> NDArray[np.int64]:
    """Non-maximum suppression: of boxes that overlap too much, the one with the highest score.

    Args:
        boxes: (N, 4) XYXY.
        scores: (N,); of equal scores, the earlier box counts as the higher one.
        threshold: a box goes when its IoU with a better one that stays is larger than this.

    Returns:
        (K,) int64, which boxes stay, by falling score.
    """
    boxes, left = boxes.astype(np.float64), np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[box_iou(boxes[best][None], boxes[left])[0] <= threshold]
    return np.array(kept, dtype=np.int64)


def point_grid(points_per_side: int) -> NDArray[np.float64]:
    """Evenly spread points (points_per_side^2, 2), (x, y) in [0, 1], row by row (official code)."""
    side = np.linspace(1 / (2 * points_per_side), 1 - 1 / (2 * points_per_side), points_per_side)
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


def crop_boxes(original_size: tuple[int, int], layers: int, overlap_ratio: float) -> list[tuple[Box, int]]:
    """The picture, and layers of ever smaller crops that overlap: 2 x 2, 4 x 4, ... (paper, B; official code).

    Args:
        original_size: (H, W).
        layers: of crops, beside the whole picture.
        overlap_ratio: how much neighbours of the first layer share, over half of the short side of the picture; in
            each further layer half as much.

    Returns:
        Crops, XYXY half open, each with its layer; the picture is layer 0. A layer runs column by column.
    """
    height, width = original_size
    crops = [((0, 0, width, height), 0)]
    for layer in range(1, layers + 1):
        number = 2**layer
        overlap = int(overlap_ratio * min(original_size) * (2 / number))
        crop_width, crop_height = (math.ceil((overlap * (number - 1) + side) / number) for side in (width, height))
        for column, row in itertools.product(range(number), repeat=2):
            x0, y0 = column * (crop_width - overlap), row * (crop_height - overlap)
            if x0 < width and y0 < height:  # a picture of a few pixels has none left for the last crops
                crops.append(((x0, y0, min(x0 + crop_width, width), min(y0 + crop_height, height)), layer))
    return crops


def touches_crop_edge(box: Box, crop_box: Box, original_size: tuple[int, int]) -> bool:
    """Whether something may have been cut off by a crop: its box is near a side of it that is not the picture's.

    Args:
        box: XYXY, both corners inside, original frame.
        crop_box: XYXY, half open.
        original_size: (H, W).
    """
    picture = (0, 0, original_size[1], original_size[0])
    return any(
        abs(side - edge) <= EDGE_TOLERANCE < abs(side - border)
        for side, edge, border in zip(box, crop_box, picture, strict=True)
    )


def _multiply(values: Coordinates, ratios: tuple[float, ...], what: str) -> Coordinates:
    if not values.ndim or values.shape[-1] != len(ratios):
        raise ValueError(f"expected {what} in an array of shape (..., {len(ratios)}), got shape {tuple(values.shape)}.")
    if isinstance(values, np.ndarray):
        moved: NDArray[Any] = values.astype(np.float64) * np.asarray(ratios)
        return moved
    import torch

    # Half precision cannot tell neighbouring pixels of a large picture apart.
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    return values * torch.tensor(ratios, dtype=values.dtype, device=values.device)


def _interpolate(masks: Masks, size: tuple[int, int]) -> Masks:
    """(P, C, h, w) scaled to `size`, between the centres of pixels."""
    if isinstance(masks, np.ndarray):
        planes = masks.reshape(-1, *masks.shape[-2:])
        scaled = [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in planes]
        return np.stack(scaled).reshape(*masks.shape[:2], *size)
    from torch.nn import functional

    return functional.interpolate(masks, size, mode="bilinear", align_corners=False)


def _shrink(masks: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """As `_interpolate`, but each pixel is a mean of all that it covers (torch calls it antialias)."""
    planes = masks.reshape(-1, *masks.shape[-2:]).astype(np.float32)
    scaled = [Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR) for plane in planes]
    return np.stack([np.asarray(plane) for plane in scaled]).reshape(*masks.shape[:2], *size)


def _zeros_like(masks: Masks, shape: tuple[int, ...]) -> Masks:
    if isinstance(masks, np.ndarray):
        return np.zeros(shape, dtype=masks.dtype)
    return masks.new_zeros(shape)
