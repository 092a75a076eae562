"""How far exported graphs are from torch, on pictures and prompts that they were not traced with.

A graph may agree to the sixth digit and still be wrong at another shape of picture, where a traced length has become a
constant. So each is tried on pictures of several shapes, with points, a box and a mask, from the pixels to the masks.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opensam.export.decoder_graphs import to_pixels
from opensam.files import replacing
from opensam.geometry import Resize
from opensam.models.sam import Sam
from opensam.prompts import Prompts

SIZES = ((600, 900), (900, 600), (512, 512), (37, 400))  # (H, W): landscape, portrait, square, a strip
# float32 graphs differ from torch by the order of sums alone; logits are about 10, embeddings about 1.
EMBEDDINGS_TOLERANCE, LOGITS_TOLERANCE, SCORES_TOLERANCE, SAME_PIXELS = 1e-3, 1e-2, 1e-3, 0.999
# But for GELU by tanh in decoder_prompt.onnx: with the embedded model 0.012 in logits, a pixel in 300 of a small mask.
HALVES_TOLERANCE, HALVES_SAME_PIXELS = 0.1, 0.99


@dataclass(frozen=True)
class Parity:
    """What one precision of an exported model does differently from torch, the worst over all pictures and prompts.

    Attributes:
        precision: float32, fp16 or int8.
        embeddings: largest difference of image embeddings.
        logits: of low-resolution masks, from the graphs' own embeddings.
        iou_predictions: of those.
        mask_iou: the lowest IoU of a mask in the picture with torch's.
        mean_mask_iou: the mean.
        halves: largest difference of logits between decoder.onnx and its two halves.
        halves_mask_iou: the lowest IoU of a mask by the two halves with torch's.
        megabytes: of each file.
        encode_ratio: time of torch's plain encoder over that of the graph.
        decode_ratio: time of torch's plain decoder over that of decoder.onnx.
        click_ratio: the same over that of decoder_prompt.onnx.
    """

    precision: str
    embeddings: float
    logits: float
    iou_predictions: float
    mask_iou: float
    mean_mask_iou: float
    halves: float
    halves_mask_iou: float
    megabytes: dict[str, float]
    encode_ratio: float
    decode_ratio: float
    click_ratio: float

    def raise_if_far(self) -> None:
        """Refuse graphs that are not the model.

        Raises:
            ValueError: a difference is larger than rounding explains.
        """
        far = {
            "image embeddings": (self.embeddings, EMBEDDINGS_TOLERANCE),
            "logits": (self.logits, LOGITS_TOLERANCE),
            "predicted IoU": (self.iou_predictions, SCORES_TOLERANCE),
            "logits of the two halves": (self.halves, HALVES_TOLERANCE),
            "masks, 1 - IoU": (1 - self.mask_iou, 1 - SAME_PIXELS),
            "masks of the two halves, 1 - IoU": (1 - self.halves_mask_iou, 1 - HALVES_SAME_PIXELS),
        }
        for what, (found, allowed) in far.items():
            if not found <= allowed:
                raise ValueError(
                    f"expected exported graphs to answer as torch does, got a difference of {found:.2g} in {what} "
                    f"where {allowed:.2g} is rounding; nothing was written, please report this with the model's name"
                )


def check(sam: Sam, folder: Path, precision: str) -> Parity:
    """Run the graphs of one precision in a folder and compare.

    Args:
        sam: what they were exported from.
        folder: with PART.onnx, or PART_PRECISION.onnx.
        precision: float32, fp16 or int8.
    """
    graphs = _Graphs(folder, precision)
    rng = np.random.default_rng(0)
    differences: defaultdict[str, list[float]] = defaultdict(list)
    ratios: defaultdict[str, list[float]] = defaultdict(list)
    for size in SIZES:
        resize = Resize(size, sam.image_size)
        pixels = resize.apply_image(draw_picture(size, rng)).transpose(2, 0, 1)[None].astype(np.float32)
        with torch.no_grad():
            expected, torch_seconds = _timed(_encode, sam, pixels)
        embeddings, seconds = _timed(graphs.encode, pixels)
        ratios["encode"].append(torch_seconds / seconds)
        differences["embeddings"].append(_distance(embeddings, expected.numpy()))
        for prompt in draw_prompts(resize, rng):
            with torch.no_grad():
                answer, torch_seconds = _timed(_decode, sam, expected, prompt)
            (masks, scores, low_res_masks), seconds = _timed(graphs.decode, embeddings, prompt, size)
            ratios["decode"].append(torch_seconds / seconds)
            differences["logits"].append(_distance(low_res_masks, answer[0].numpy()))
            differences["scores"].append(_distance(scores, answer[1].numpy()))
            truth = resize.restore_masks(answer[0]).numpy() > sam.mask_threshold
            cells, seconds = graphs.click(embeddings, prompt)
            in_halves = resize.restore_masks(torch.from_numpy(cells)).numpy()
            for name, got in (("iou", masks), ("halves_iou", in_halves)):
                differences[name] += [_iou(*pair) for pair in zip(got[0] > sam.mask_threshold, truth[0], strict=True)]
            ratios["click"].append(torch_seconds / seconds)
            differences["halves"].append(_distance(cells, low_res_masks))
    worst = {name: max(values) for name, values in differences.items()}
    return Parity(
        precision=precision,
        embeddings=worst["embeddings"],
        logits=worst["logits"],
        iou_predictions=worst["scores"],
        mask_iou=min(differences["iou"]),
        mean_mask_iou=float(np.mean(differences["iou"])),
        halves=worst["halves"],
        halves_mask_iou=min(differences["halves_iou"]),
        megabytes=graphs.megabytes,
        encode_ratio=float(np.median(ratios["encode"])),
        decode_ratio=float(np.median(ratios["decode"])),
        click_ratio=float(np.median(ratios["click"])),
    )


def write_report(found: list[Parity], sam: Sam, folder: Path) -> None:
    """parity.json and parity.md."""
    heads = ["precision", "embeddings", "logits", "predicted IoU", "lowest mask IoU", "mean mask IoU"]
    heads += ["lowest of the two halves", "MB"]
    heads += ["encode", "decode", "click"]
    facts = {
        "model": sam.name,
        "image_size": sam.image_size,
        "pictures": SIZES,
        "results": [asdict(one) for one in found],
    }
    lines = [
        f"# {sam.name or 'The model'} as ONNX, against torch",
        "",
        f"{len(SIZES)} drawn pictures of different shapes, each with points, a box and a mask as prompts: the largest",
        "differences of all. The last columns: how many times as fast as torch's plain code, in as many threads.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for one in found:
        numbers = [f"{value:.1e}" for value in (one.embeddings, one.logits, one.iou_predictions)]
        numbers += [f"{value:.4f}" for value in (one.mask_iou, one.mean_mask_iou, one.halves_mask_iou)]
        numbers += [f"{sum(one.megabytes.values()):.1f}"]
        numbers += [f"{ratio:.2f}" for ratio in (one.encode_ratio, one.decode_ratio, one.click_ratio)]
        lines.append(f"| {' | '.join([one.precision, *numbers])} |")
    for name, content in (("parity.json", json.dumps(facts, indent=2)), ("parity.md", "\n".join(lines))):
        with replacing(folder / name) as temporary:
            temporary.write_text(content + "\n")


def draw_picture(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of discs on a slope of colour: it has edges, and needs no file."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 255 / width, y * 255 / height, (x + y) * 127 / (height + width)], axis=-1)
    for _ in range(6):
        at, radius = rng.uniform(0, 1, 2) * size, rng.uniform(0.05, 0.3) * min(size)
        picture[np.hypot(y - at[0], x - at[1]) < radius] = rng.uniform(0, 255, 3)
    return (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)


def draw_prompts(resize: Resize, rng: np.random.Generator) -> list[Prompts]:
    """A point, three points, a box, and points with a mask, in the input frame."""
    height, width = resize.input_size
    side = resize.image_size // 4

    def points(count: int) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(0, (width, height), (1, count, 2)).astype(np.float32))

    labels = torch.tensor([[1, 0, 1]])
    corners = torch.sort(points(2), dim=1).values.reshape(1, 4)
    y, x = np.mgrid[:side, :side]
    mask = torch.from_numpy((8 - np.hypot(y - side / 5, x - side / 4) / side * 40).astype(np.float32))[None, None]
    return [
        Prompts(point_coords=points(1), point_labels=labels[:, :1]),
        Prompts(point_coords=points(3), point_labels=labels),
        Prompts(boxes=corners),
        Prompts(point_coords=points(1), point_labels=labels[:, :1], boxes=corners),
        Prompts(point_coords=points(2), point_labels=labels[:, :2], mask_input=mask),
    ]


def official_points(prompts: Prompts) -> dict[str, NDArray[np.float32]]:
    """The points of P prompts for the official ONNX model: a box is two points, and without one there is padding."""
    coords, labels = [], []
    if prompts.point_coords is not None and prompts.point_labels is not None:
        coords.append(prompts.point_coords.numpy())
        labels.append(prompts.point_labels.numpy())
    if prompts.boxes is not None:
        coords.append(prompts.boxes.numpy().reshape(-1, 2, 2))
        labels.append(np.tile([2, 3], (prompts.count, 1)))
    else:
        coords.append(np.zeros((prompts.count, 1, 2)))
        labels.append(np.full((prompts.count, 1), -1))
    return {
        "point_coords": np.concatenate(coords, axis=1).astype(np.float32),
        "point_labels": np.concatenate(labels, axis=1).astype(np.float32),
    }


class _Graphs:
    """The files of one precision, running in ONNX Runtime in one thread."""

    def __init__(self, folder: Path, precision: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        end = "" if precision == "float32" else f"_{precision}"
        self.sessions: dict[str, Any] = {}
        self.megabytes: dict[str, float] = {}
        for part in ("encoder", "decoder", "decoder_image", "decoder_prompt"):
            path = folder / f"{part}{end}.onnx"
            self.sessions[part] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            self.megabytes[part] = path.stat().st_size / 1e6

    def encode(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        embeddings: NDArray[np.float32] = self.sessions["encoder"].run(None, {"image": pixels})[0]
        return embeddings

    def decode(self, embeddings: NDArray[np.float32], prompts: Prompts, size: tuple[int, int]) -> Any:
        given = {"image_embeddings": embeddings, **official_points(prompts), **_mask(prompts, embeddings)}
        return self.sessions["decoder"].run(None, {**given, "orig_im_size": np.array(size, dtype=np.float32)})

    def click(self, embeddings: NDArray[np.float32], prompts: Prompts) -> tuple[NDArray[np.float32], float]:
        """The same logits by the two halves, and the seconds of the second one."""
        first, second = self.sessions["decoder_image"], self.sessions["decoder_prompt"]
        names = [output.name for output in first.get_outputs()]
        image = dict(
            zip(names, first.run(None, {"image_embeddings": embeddings, **_mask(prompts, embeddings)}), strict=True)
        )
        h, w = embeddings.shape[2:]
        given = {**image, **official_points(prompts), "cells": np.arange(h * w)}
        (cells, _), seconds = _timed(second.run, None, given)
        return to_pixels(torch.from_numpy(cells), (h, w)).numpy(), seconds


def _mask(prompts: Prompts, embeddings: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    h, w = embeddings.shape[2:]
    mask = np.zeros((1, 1, 4 * h, 4 * w)) if prompts.mask_input is None else prompts.mask_input.numpy()
    has_mask = np.array([prompts.mask_input is not None], dtype=np.float32)
    return {"mask_input": mask.astype(np.float32), "has_mask_input": has_mask}


def _encode(sam: Sam, pixels: NDArray[np.float32]) -> torch.Tensor:
    return sam.encode(sam.preprocess(torch.from_numpy(pixels)))


def _decode(sam: Sam, embeddings: torch.Tensor, prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
    """The mask of an unambiguous prompt and the three of an ambiguous one."""
    single, several = (sam.decode(embeddings, prompts, multimask_output=several) for several in (False, True))
    return torch.cat([single[0], several[0]], dim=1), torch.cat([single[1], several[1]], dim=1)


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    return function(*arguments), time.perf_counter() - started


def _distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(one - other).max())


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0
