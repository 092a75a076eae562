"""The verbs of `opensam.predictor` on ONNX Runtime alone.

Letters: P prompts, N points per prompt, C = 4 masks per prompt, K masks, (h, w) the grid of embeddings.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from opensam import image as images
from opensam.geometry import Resize
from opensam.masks import stability_score
from opensam.predictor.base import Answer, BasePredictor, ClickMasks, Task
from opensam.predictor.prediction import Prediction
from opensam.prompts import FOREGROUND, NOT_A_POINT, PromptArrays, count_prompts

PARTS = ("encoder", "decoder_image", "decoder_prompt")
SUFFIXES = {"float32": "", "fp16": "_fp16", "int8": "_int8"}  # of files, as `opensam export` names them
CORNERS = (2, 3)  # labels of the corners of a box, which are points for the graphs (official ONNX model)
# Prompts decoded at once: at 1024 the graph needs some 30 MB for each, and 16 together are slower than four times 4.
PROMPTS_AT_ONCE = 4
# A logit where there is no picture, and so nothing to decode.
OUTSIDE = -100.0

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class OnnxEmbedding:
    """What a model saw in one picture.

    Attributes:
        embeddings: (1, 256, h, w).
        resize: how the picture was brought into the model's square; holds its original size.
        model_name: of the files that made it, and the only ones that understand it.
        image: what the decoder makes of the embeddings without a mask prompt, by the names of its inputs.
    """

    embeddings: Floats
    resize: Resize
    model_name: str
    image: dict[str, Floats] = field(repr=False)


class OnnxPredictor(BasePredictor[OnnxEmbedding]):
    """Masks from exported graphs, without torch; `load` makes one.

    It holds no picture and no prompts, and serves many threads. Its answers are those of `opensam.Predictor` with the
    model that was exported, up to rounding.

    Attributes:
        name: of the model that was exported.
        model_name: what its embeddings are called: its name, the side of its square, a digest of its encoder's file.
        image_size: side of the model's square in pixels.
    """

    def __init__(self, sessions: Sequence[onnxruntime.InferenceSession], digest: str) -> None:
        self._encoder, self._image_side, self._prompt_side = sessions
        facts = self._prompt_side.get_modelmeta().custom_metadata_map
        self.name, self.image_size = facts["model"], int(facts["image_size"])
        self._mask_threshold = float(facts["mask_threshold"])
        self.model_name = f"{self.name}-{self.image_size}-{digest[:10]}"
        self._names = [output.name for output in self._image_side.get_outputs()]

    @classmethod
    def load(cls, folder: str | Path, precision: str = "float32", threads: int = 0) -> Self:
        """Open the graphs in a folder.

        Args:
            folder: holds `encoder.onnx`, `decoder_image.onnx` and `decoder_prompt.onnx`, as `opensam export` writes.
            precision: float32; or fp16, int8, of which the files have the ending, if they were exported too.
            threads: that compute; 0: one for each core.

        Raises:
            ValueError: a file is missing, damaged, or was not written by `opensam export`; no such precision.
        """
        paths = graph_files(folder, precision)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        sessions = [_open(path, options) for path in paths]
        try:
            return cls(sessions, hashlib.sha256(paths[0].read_bytes()).hexdigest())
        except KeyError as error:
            raise ValueError(
                f"expected a graph that opensam has exported, got {paths[-1]}, which does not say its "
                f"{error.args[0]}; export the model again"
            ) from None

    @property
    def mask_threshold(self) -> float:
        """See `BasePredictor`."""
        return self._mask_threshold

    @property
    def on_cpu(self) -> bool:
        """See `BasePredictor`."""
        return True

    def embed(self, image: images.Source) -> OnnxEmbedding:
        """Look at a picture: the expensive step, once per picture.

        Args:
            image: anything `opensam.image.read` takes.

        Raises:
            ValueError: it cannot be read as a picture (`opensam.image.ImageError`).
        """
        picture = images.read(image)
        resize = Resize((picture.shape[0], picture.shape[1]), self.image_size)
        scaled = resize.apply_image(picture).astype(np.float32).transpose(2, 0, 1)
        (embeddings,) = self._encoder.run(None, {"image": np.ascontiguousarray(scaled[None])})
        return OnnxEmbedding(embeddings, resize, self.model_name, self._see(embeddings, None))

    def click_masks(self, embedding: OnnxEmbedding, points: NDArray[np.float64], above: float) -> ClickMasks:
        """See `BasePredictor`."""
        groups = [
            self._click_masks(embedding, points[start : start + PROMPTS_AT_ONCE], above)
            for start in range(0, len(points), PROMPTS_AT_ONCE)
        ]
        clicks = [start * PROMPTS_AT_ONCE + click for start, group in enumerate(groups) for click in group.clicks]
        scores = [score for group in groups for score in group.predicted_iou]
        return ClickMasks(clicks, scores, np.concatenate([group.low_res_masks for group in groups]))

    def _click_masks(self, embedding: OnnxEmbedding, points: NDArray[np.float64], above: float) -> ClickMasks:
        side = embedding.embeddings.shape[-1]
        # A mask's pixel is computed of its neighbours too: of as many rows of the grid as may be looked at.
        rows, columns = (min(side, (length // 4 + 1) // 4 + 1) for length in embedding.resize.input_size)
        coords = embedding.resize.apply_coords(points).astype(np.float32)[:, None]
        prompts = {"point_coords": coords, "point_labels": np.full((len(points), 1), FOREGROUND)}
        masks, scores = self._decode(prompts, embedding.image, (rows, columns), side)
        masks, scores = masks[:, 1:], scores[:, 1:]
        passing = scores > above if above > 0 else np.ones_like(scores, dtype=np.bool_)
        low_res_masks = np.full((np.count_nonzero(passing), 4 * side, 4 * side), OUTSIDE, dtype=np.float32)
        low_res_masks[:, : 4 * rows, : 4 * columns] = masks[passing]
        return ClickMasks(passing.nonzero()[0].tolist(), scores[passing].tolist(), low_res_masks)

    def side_by_side(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> list[Answer]:
        """One after the other: ONNX Runtime shares each of them among its own threads."""
        return list(map(function, tasks))

    def _answers(
        self,
        embeddings: Sequence[OnnxEmbedding],
        prompts: PromptArrays,
        image_index: NDArray[np.int64],
        multimask_output: bool,
    ) -> Iterator[Prediction]:
        wanted = slice(1, 4) if multimask_output else slice(0, 1)
        # A mask is part of what the decoder sees of an image, so such prompts come one by one.
        at_once = 1 if "mask_input" in prompts else PROMPTS_AT_ONCE
        for index, group in groupby(range(len(image_index)), key=image_index.tolist().__getitem__):
            embedding, numbers = embeddings[index], list(group)
            side = embedding.embeddings.shape[-1]
            for start in range(0, len(numbers), at_once):
                part = {name: value[numbers[start : start + at_once]] for name, value in prompts.items()}
                mask = part.get("mask_input")
                image = embedding.image if mask is None else self._see(embedding.embeddings, mask)
                for masks, scores in zip(*self._decode(part, image, (side, side), side), strict=True):
                    yield self._answer(masks[wanted], scores[wanted], embedding.resize)

    def _answer(self, low_res_masks: Floats, iou_predictions: Floats, resize: Resize) -> Prediction:
        """From what the decoder gives for one prompt, (C, 4h, 4w) and (C,), best candidate first."""
        order = np.argsort(-iou_predictions, kind="stable")
        masks, scores = [], []
        for low_res_mask in low_res_masks[order]:  # one by one, as a large picture has many pixels
            logits = resize.restore_masks(low_res_mask[None, None])[0, 0]
            masks.append(logits > self._mask_threshold)
            scores.append(stability_score(logits, self._mask_threshold))
        return Prediction(np.stack(masks), iou_predictions[order], np.stack(scores), low_res_masks[order])

    def _see(self, embeddings: Floats, mask_input: Floats | None) -> dict[str, Floats]:
        """What the decoder makes of an image, with a mask (1, 1, 4h, 4w) or without."""
        side = embeddings.shape[-1]
        given = {
            "image_embeddings": embeddings,
            "mask_input": np.zeros((1, 1, 4 * side, 4 * side), np.float32) if mask_input is None else mask_input,
            "has_mask_input": np.array([mask_input is not None], dtype=np.float32),
        }
        return dict(zip(self._names, self._image_side.run(self._names, given), strict=True))

    def _decode(
        self, prompts: PromptArrays, image: dict[str, Floats], grid: tuple[int, int], side: int
    ) -> tuple[Floats, Floats]:
        """Masks (P, C, 4 * rows, 4 * columns) over the first cells of the square, and predicted IoU (P, C)."""
        coords, labels = _as_points(prompts)
        cells = (np.arange(grid[0])[:, None] * side + np.arange(grid[1])).ravel()
        given = {"point_coords": coords, "point_labels": labels, "cells": cells, **image}
        masks, scores = self._prompt_side.run(["cell_masks", "iou_predictions"], given)
        pixels = masks.reshape(*masks.shape[:4], *grid).transpose(0, 1, 4, 2, 5, 3)
        return pixels.reshape(*masks.shape[:2], 4 * grid[0], 4 * grid[1]), scores


def graph_files(folder: str | Path, precision: str = "float32") -> list[Path]:
    """The files of a folder that a predictor opens; see `OnnxPredictor.load`.

    Raises:
        ValueError: no such precision.
    """
    if precision not in SUFFIXES:
        raise ValueError(f"expected a precision of {', '.join(SUFFIXES)}, got {precision}")
    return [Path(folder) / f"{part}{SUFFIXES[precision]}.onnx" for part in PARTS]


def _as_points(prompts: PromptArrays) -> tuple[Floats, Floats]:
    """Points (P, N, 2) and labels (P, N) as the graphs take them: with the corners of a box, or else with padding."""
    count = count_prompts(prompts)
    coords = [prompts.get("point_coords", np.zeros((count, 0, 2), np.float32))]
    labels = [prompts.get("point_labels", np.zeros((count, 0)))]
    if "boxes" in prompts:
        coords.append(prompts["boxes"].reshape(count, 2, 2))
        labels.append(np.tile(CORNERS, (count, 1)))
    elif "point_coords" in prompts:
        coords.append(np.zeros((count, 1, 2), np.float32))
        labels.append(np.full((count, 1), NOT_A_POINT))
    return np.concatenate(coords, axis=1), np.concatenate(labels, axis=1).astype(np.float32)


def _open(path: Path, options: Any) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise ValueError(f"expected {path.name} in {path.parent}, got no such file; export the model there")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class of its own for each thing that may be wrong with a file
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a graph in {path}, got a damaged file: {reason}; export the model again") from error
