"""What a person gives as a prompt, checked and brought into the input frame.

Letters: P prompts, N points per prompt, K corners, (H, W) the original size, (h, w) the grid of embeddings.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opensam.geometry import Resize
from opensam.masks import fill_polygons
from opensam.prompts import (
    BACKGROUND,
    FOREGROUND,
    NOT_A_POINT,
    PromptArrays,
    count_prompts,
    mask_prompts,
    scribble_points,
)

if TYPE_CHECKING:
    from torch import Tensor


class PromptInput(TypedDict, total=False):
    """What a person says about one object, or about P objects, in pixels of the picture as given.

    Without a prompt axis it is one prompt, and the answer has no prompt axis; with P in front it is P
    prompts, also when P is 1. Either every field has the axis or none. Shapes decide that, never values.

    Attributes:
        point_coords: (N, 2) or (P, N, 2), (x, y).
        point_labels: (N,) or (P, N): 1 foreground, 0 background, -1 not a point; all 1 when left out.
        boxes: (4,) or (P, 4), XYXY; cut at the border of the picture.
        mask_input: (1, 4h, 4w) or (P, 1, 4h, 4w) logits of an earlier round, as in `best.low_res_mask`.
        mask: (H, W) or (P, H, W), 0 outside and one other value inside, over the whole picture at any
            resolution. It becomes logits; where no box is given also its box, and where no point is given
            also its deepest point (`prompts.mask_prompts`).
        polygons: outlines (K, 2) of one object, filled by `masks.fill_polygons` and then used like `mask`.
        scribble: a stroke (K, 2) over one object; it becomes clicks on it (`prompts.scribble_points`).
        multimask_output: see `Predictor.predict`.
        image_index: which image is meant, in `Predictor.predict_batch` only; 0 when left out.
    """

    point_coords: "ArrayLike | Tensor | None"
    point_labels: "ArrayLike | Tensor | None"
    boxes: "ArrayLike | Tensor | None"
    mask_input: "ArrayLike | Tensor | None"
    mask: "ArrayLike | Tensor | None"
    polygons: Sequence[ArrayLike] | None
    scribble: ArrayLike | None
    multimask_output: bool | None
    image_index: int


def read_prompts(resize: Resize, given: PromptInput) -> tuple[PromptArrays, bool]:
    """Check what a person gave and bring it into the input frame.

    Args:
        resize: of the picture.
        given: in the original frame; nothing in it is modified.

    Returns:
        P prompts, and whether the input had a prompt axis.

    Raises:
        ValueError: a shape, a value or a combination is not as `PromptInput` says; or nothing is given.
    """
    arrays, has_axis = _read_arrays(resize.original_size, given)
    prompts: PromptArrays = {}
    if "mask" in arrays:
        prompts = mask_prompts(_checked_masks(arrays["mask"], resize), resize.image_size)
    if "mask_input" in arrays:
        prompts["mask_input"] = _checked_logits(arrays["mask_input"], resize.image_size // 4)
    if "point_labels" in arrays and "point_coords" not in arrays:
        raise ValueError("expected point_coords beside point_labels, got only labels; give both")
    if "point_coords" in arrays:
        coords = arrays["point_coords"]
        labels = arrays.get("point_labels", np.full(coords.shape[:-1], FOREGROUND))
        _check_points(coords, labels, resize.original_size)
        # In place of the deepest point of a mask: clicks correct it, and may take away just that point.
        prompts["point_coords"] = resize.apply_coords(coords).astype(np.float32)
        prompts["point_labels"] = labels.astype(np.int64)
    if "boxes" in arrays:
        boxes = _cut_boxes(arrays["boxes"], resize.original_size)
        prompts["boxes"] = resize.apply_boxes(boxes).astype(np.float32)
    count_prompts(prompts)
    return prompts, has_axis


# Shapes of one prompt; None is any length of at least 1.
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "point_coords": (None, 2),
    "point_labels": (None,),
    "boxes": (4,),
    "mask_input": (1, None, None),
    "mask": (None, None),
}


def _read_arrays(size: tuple[int, int], given: PromptInput) -> tuple[dict[str, NDArray[Any]], bool]:
    """The given values as arrays with a prompt axis, and whether they came with one.

    Polygons are given back as "mask", a scribble as points.
    """
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if unknown := values.keys() - PromptInput.__annotations__.keys():
        known = ", ".join(PromptInput.__annotations__)
        raise ValueError(f"expected a prompt of {known}, got {', '.join(sorted(unknown))}")
    if len(values.keys() & {"mask", "polygons", "mask_input"}) > 1:
        raise ValueError("expected only one of mask, polygons and mask_input, got several; choose one")
    arrays = {name: _array(name, values[name], shape) for name, shape in _SHAPES.items() if name in values}
    axes = {name: array.ndim > len(_SHAPES[name]) for name, array in arrays.items()}
    if "polygons" in values:
        arrays["mask"], axes["polygons"] = fill_polygons(values["polygons"], size), False
    if "scribble" in values:
        axes["scribble"] = False
    if len(set(axes.values())) > 1:
        got = ", ".join(f"{name} {'with' if axis else 'without'}" for name, axis in axes.items())
        raise ValueError(f"expected a prompt axis P in front of every field or of none, got {got}")
    if "scribble" in values:
        _add_clicks(arrays, scribble_points(values["scribble"], size))
    has_axis = any(axes.values())
    return {name: array if has_axis else array[None] for name, array in arrays.items()}, has_axis


def _array(name: str, value: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """The value as an array of one prompt's shape, or with P in front; it may be the caller's memory."""
    wanted = f"({', '.join('*' if side is None else str(side) for side in shape)})"
    if hasattr(value, "detach"):  # a tensor, for which torch need not be imported here
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value  # numpy has no bfloat16
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, dtype=object)  # rows of different lengths
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"expected {name} as numbers of shape {wanted}, or with P in front, got other things or rows of "
            "different lengths; prompts with different numbers of points go to predict_batch"
        )
    extra = array.ndim - len(shape)
    sides = zip(shape, array.shape[extra:], strict=False)
    if extra not in (0, 1) or array.size == 0 or any(side not in (None, got) for side, got in sides):
        raise ValueError(f"expected {name} of shape {wanted}, or with P in front for P prompts, got {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers in {name}, got NaN or infinity")
    return array


def _add_clicks(arrays: dict[str, NDArray[Any]], clicks: NDArray[np.float64]) -> None:
    """Append foreground clicks (N, 2) to the points of one prompt."""
    coords = arrays.get("point_coords", np.zeros((0, 2)))
    labels = arrays.get("point_labels", np.full(len(coords), FOREGROUND))
    arrays["point_coords"] = np.concatenate([coords, clicks])
    arrays["point_labels"] = np.concatenate([labels, np.full(len(clicks), FOREGROUND)])


def _check_points(coords: NDArray[Any], labels: NDArray[Any], size: tuple[int, int]) -> None:
    wrong = ~np.isin(labels, (FOREGROUND, BACKGROUND, NOT_A_POINT))
    if wrong.any():
        raise ValueError(
            f"expected point labels 1 (foreground), 0 (background) or -1 (not a point), got {float(labels[wrong][0]):g}"
        )
    if labels.shape != coords.shape[:-1]:
        raise ValueError(f"expected one label per point, got {coords.shape[:-1]} points, {labels.shape} labels")
    outside = ((coords < 0) | (coords > size[::-1])).any(axis=-1) & (labels != NOT_A_POINT)
    if outside.any():
        x, y = coords[outside][0]
        raise ValueError(
            f"expected points (x, y) inside the picture, {size[1]} wide and {size[0]} high, "
            f"got ({x:g}, {y:g}); give pixels of the picture as it was opened"
        )


def _cut_boxes(boxes: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """Boxes cut at the border of the picture, each with an area left."""
    limits = np.array([size[1], size[0]] * 2, dtype=np.float64)
    cut = np.clip(boxes.astype(np.float64), 0, limits)
    for box, inside in zip(boxes.tolist(), cut.tolist(), strict=True):
        got = "({:g}, {:g}, {:g}, {:g})".format(*box)
        if box[2] <= box[0] or box[3] <= box[1]:
            raise ValueError(
                f"expected boxes (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {got}; "
                "give two corners, not a corner, width and height"
            )
        if inside[2] <= inside[0] or inside[3] <= inside[1]:
            raise ValueError(
                f"expected boxes that reach into the picture, {size[1]} wide and {size[0]} high, got {got}"
            )
    return cut


def _checked_logits(low_res_masks: NDArray[Any], side: int) -> NDArray[np.float32]:
    if low_res_masks.shape[-2:] != (side, side) or low_res_masks.dtype.kind != "f":
        raise ValueError(
            f"expected mask_input as float logits of shape (1, {side}, {side}) from an earlier round, "
            f"got {low_res_masks.dtype} of shape {low_res_masks.shape[1:]}; a mask of pixels goes to mask="
        )
    return np.array(low_res_masks, dtype=np.float32)


def _checked_masks(masks: NDArray[Any], resize: Resize) -> NDArray[np.bool_]:
    """Masks (P, H, W) of two values as bool, each with a pixel inside and the proportions of the picture."""
    inside: NDArray[np.bool_] = masks != 0
    if not inside.any(axis=(1, 2)).all():
        raise ValueError("expected masks with at least one pixel inside, got an empty one; leave it out")
    values = masks[inside]
    if values.min() != values.max():
        raise ValueError(
            f"expected a mask of 0 and one other value, got several from {values.min()} to {values.max()}; "
            "choose one label, or threshold probabilities"
        )
    own = Resize((masks.shape[1], masks.shape[2]), resize.image_size)
    # Rounding: half a pixel of the mask, seen in the square, and one of the square itself.
    tolerance = own.scale / 2 + 1
    if any(abs(a - b) > tolerance for a, b in zip(own.input_size, resize.input_size, strict=True)):
        raise ValueError(
            f"expected a mask with the proportions of the picture, {resize.original_size} (height, width), "
            f"got {own.original_size}; a mask covers the whole picture, at any resolution"
        )
    return inside
