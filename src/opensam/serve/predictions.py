"""Prompts as JSON to masks as JSON."""

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from opensam.masks import Rle
from opensam.predictor import ImageEmbedding, Prediction, Predictor
from opensam.records import MaskRecord
from opensam.serve.settings import ServeConfig

_PIXELS_AT_ONCE = 1 << 28  # of masks (P, C, H, W) in memory: one byte each

Xy = Annotated[list[float], Field(min_length=2, max_length=2)]
Xyxy = Annotated[list[float], Field(min_length=4, max_length=4)]
_EXAMPLE: dict[str, Any] = {"embedding": "3f2a91c0" * 8, "point_coords": [[500, 375]], "point_labels": [1]}


class PredictRequest(BaseModel):
    """Prompts for one picture, in pixels of the original; with an axis P in front of every field, for P objects.

    Attributes:
        embedding: the id that /v1/embed gave.
        point_coords: (N, 2) or (P, N, 2), [x, y].
        point_labels: (N,) or (P, N): 1 on the object, 0 beside it, -1 not a point; all 1 when left out.
        boxes: [x0, y0, x1, y1] or P of them.
        mask_input: base64 of little-endian float16, (1, 4h, 4w) or (P, 1, 4h, 4w) logits of an earlier round.
        multimask_output: three candidates or one; when left out, three for a single point or box.
        low_res_masks: whether the logits of the masks are wanted.
        segmentations: whether the masks themselves are.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    embedding: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    point_coords: list[Xy] | list[list[Xy]] | None = None
    point_labels: list[int] | list[list[int]] | None = None
    boxes: Xyxy | list[Xyxy] | None = None
    mask_input: str | None = None
    multimask_output: bool | None = None
    low_res_masks: bool = False
    segmentations: bool = True


class PredictedMask(BaseModel):
    """One candidate.

    Attributes:
        segmentation: COCO compressed RLE.
        bbox: [x, y, width, height] in pixels.
        area: in pixels.
        predicted_iou: the model's estimate, as it comes: it may exceed 1.
        stability_score: in [0, 1].
        low_res_mask: base64 of little-endian float16, logits over the model's square.
        low_res_shape: [4h, 4w].
    """

    segmentation: Rle | None = None
    bbox: list[float]
    area: int
    predicted_iou: float
    stability_score: float
    low_res_mask: str | None = None
    low_res_shape: list[int] | None = None


class PredictAnswer(BaseModel):
    """The candidates of one prompt, best first; of several prompts a list of such lists.

    Attributes:
        masks: of a request without an axis P.
        prompts: of one with it.
    """

    masks: list[PredictedMask] | None = None
    prompts: list[list[PredictedMask]] | None = None


def answer(
    predictor: Predictor, embedding: ImageEmbedding, request: PredictRequest, config: ServeConfig
) -> dict[str, Any]:
    """What `PredictAnswer` describes, as plain values.

    Raises:
        ValueError: a prompt is not as described, or there are too many.
    """
    prompts, has_axis = read_request(request, predictor.model.image_size // 4, config)
    size = embedding.resize.original_size
    several = 3 if request.multimask_output is not False else 1
    at_once = max(1, _PIXELS_AT_ONCE // (size[0] * size[1] * several))
    answers: list[list[dict[str, Any]]] = []
    for part in _parts(prompts, at_once):
        prediction = predictor.predict(embedding, multimask_output=request.multimask_output, **part)
        answers += [list(_candidates(one, request)) for one in _each(prediction)]
    return {"prompts": answers} if has_axis else {"masks": answers[0]}


def read_request(request: PredictRequest, side: int, config: ServeConfig) -> tuple[dict[str, NDArray[Any]], bool]:
    """The prompts as arrays with an axis P, and whether they came with one.

    Args:
        request: as it came.
        side: of low-resolution masks.
        config: limits.

    Raises:
        ValueError: rows of different lengths, fields that disagree about the axis, or too many prompts or points.
    """
    given: dict[str, tuple[Any, int]] = {
        "point_coords": (request.point_coords, 2),
        "point_labels": (request.point_labels, 1),
        "boxes": (request.boxes, 1),
    }
    arrays: dict[str, NDArray[Any]] = {}
    axes = set()
    for name, (value, dimensions) in given.items():
        if value is not None:
            arrays[name] = _array(name, value)
            axes.add(arrays[name].ndim > dimensions)
    if len(axes) > 1:
        raise ValueError("expected an axis P in front of every field or of none, got both")
    has_axis = axes == {True}
    if request.mask_input is not None:
        masks = _logits(request.mask_input, side)
        has_axis = has_axis or (not axes and len(masks) > 1)
        arrays["mask_input"] = masks
    for name in arrays.keys() - {"mask_input"}:
        arrays[name] = arrays[name] if has_axis else arrays[name][None]
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1:
        raise ValueError(f"expected as many prompts in every field, got {' and '.join(map(str, sorted(counts)))}")
    if max(counts, default=0) > config.max_prompts:
        raise ValueError(f"expected at most {config.max_prompts} prompts, got {max(counts)}; ask several times")
    if "point_coords" in arrays and arrays["point_coords"].shape[1] > config.max_points:
        raise ValueError(f"expected at most {config.max_points} points, got {arrays['point_coords'].shape[1]}")
    return arrays, has_axis


def _array(name: str, value: Any) -> NDArray[Any]:
    try:
        array = np.array(value, dtype=np.float64)
    except (ValueError, OverflowError):
        raise ValueError(
            f"expected {name} with rows of one length, got several; pad points with the label -1"
        ) from None
    if array.size == 0:
        raise ValueError(f"expected something in {name}, got nothing; leave it out")
    return array


def _logits(text: str, side: int) -> NDArray[np.float32]:
    """(P, 1, side, side)."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("expected base64 in mask_input, got something else") from None
    if not data or len(data) % (2 * side * side):
        raise ValueError(f"expected float16 of shape (1, {side}, {side}) in mask_input, got {len(data)} bytes")
    return np.frombuffer(data, dtype="<f2").reshape(-1, 1, side, side).astype(np.float32)


def _parts(prompts: dict[str, NDArray[Any]], at_once: int) -> Iterator[dict[str, Any]]:
    count = max((len(array) for array in prompts.values()), default=1)
    for start in range(0, count, at_once):
        yield {name: array[start : start + at_once] for name, array in prompts.items()}


def _each(prediction: Prediction) -> Iterator[Prediction]:
    """The answers to P prompts one by one."""
    for number in range(len(prediction.masks)):
        yield Prediction(
            prediction.masks[number],
            prediction.iou_predictions[number],
            prediction.stability_score[number],
            prediction.low_res_masks[number],
        )


def _candidates(prediction: Prediction, request: PredictRequest) -> Iterator[dict[str, Any]]:
    for number, mask in enumerate(prediction.masks):
        record = MaskRecord.from_mask(
            mask,
            number,
            predicted_iou=float(prediction.iou_predictions[number]),
            stability_score=float(prediction.stability_score[number]),
        ).to_dict()
        names = ["segmentation"] * request.segmentations + ["bbox", "area", "predicted_iou", "stability_score"]
        candidate = {name: record[name] for name in names}
        if request.low_res_masks:
            logits = prediction.low_res_masks[number]
            candidate["low_res_mask"] = base64.b64encode(logits.clip(-60000, 60000).astype("<f2").tobytes()).decode()
            candidate["low_res_shape"] = list(logits.shape)
        yield candidate
