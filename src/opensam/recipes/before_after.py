"""What fine-tuning changed: the same prompts on the same held-out pictures, before and after."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from opensam.data.dataset import Source
from opensam.data.selection import evenly
from opensam.eval.metrics import iou, mean_scores
from opensam.eval.segmenters import Masks, SamSegmenter, prompts_per_call
from opensam.eval.single_point import score_image
from opensam.files import replacing
from opensam.geometry import Resize
from opensam.image import Rgb
from opensam.masks import Rle, area, decode_rle, encode_rle, mask_to_box
from opensam.models.sam import Sam
from opensam.train.frozen import EmbeddingMemory

SCORES = {"box": "box", "iou@1": "1 click", "iou@3": "3 clicks", "iou@5": "5 clicks"}
CLICKS = 5
SHOWN = 8


@dataclass(frozen=True)
class HeldOut:
    """A picture to measure on, and those of its masks that are asked for."""

    source: Source
    masks: tuple[Rle, ...]

    @property
    def truths(self) -> Masks:
        """(P, H, W) bool."""
        return np.stack([decode_rle(mask) for mask in self.masks])


@dataclass(frozen=True)
class Shown:
    """A held-out picture with what there is and what the model said to boxes around it, before and after."""

    name: str
    rgb: Rgb
    truths: Masks
    before: Masks
    after: Masks

    @classmethod
    def of(cls, picture: HeldOut, before: Masks, after: Masks) -> Self:
        """Of a picture and the `answers` to it."""
        return cls(picture.source.name, _rgb(picture), picture.truths, before, after)

    @property
    def ious(self) -> tuple[float, float]:
        """Means over the masks, before and after."""
        first, second = (
            float(np.mean([float(iou(mask, truth)) for mask, truth in zip(masks, self.truths, strict=True)]))
            for masks in (self.before, self.after)
        )
        return first, second


class RememberingSegmenter(SamSegmenter):
    """A `SamSegmenter` that looks into a cache before it embeds a picture."""

    def __init__(self, sam: Sam, cache: EmbeddingMemory) -> None:
        super().__init__(sam)
        self.cache = cache

    @torch.no_grad()
    def embed(self, image: Rgb) -> tuple[Resize, Tensor]:
        """As `SamSegmenter.embed`."""
        made = self.cache.embed([torch.from_numpy(image)], lambda _: super(RememberingSegmenter, self).embed(image)[1])
        return Resize((image.shape[0], image.shape[1]), self.sam.image_size), made.to(self.sam.device)


def choose(sources: Sequence[Source], masks_per_image: int) -> list[HeldOut]:
    """Of each picture some of its masks, evenly spaced in their order, empty ones left out."""
    chosen = []
    for source in sources:
        masks = [mask for mask in source.masks if area(mask)]
        chosen.append(HeldOut(source, tuple(masks[i] for i in evenly(len(masks), masks_per_image))))
    return chosen


def measure(sam: Sam, pictures: Sequence[HeldOut], cache: EmbeddingMemory) -> dict[str, float]:
    """The mean IoU over all masks from a box, and after 1, 3 and 5 clicks, at the size of the pictures.

    The first click is answered with three masks, of which the model takes the one it thinks best. Clicks come where
    `opensam.eval.single_point` plays them; nothing is random.

    Args:
        sam: in eval mode.
        pictures: see `choose`.
        cache: of embeddings of this image encoder; they are taken from there and put there.
    """
    segmenter, rows = RememberingSegmenter(sam, cache), []
    together = prompts_per_call(sam.device.type)
    for picture in pictures:
        rows += score_image(segmenter, _rgb(picture), picture.truths, together, CLICKS)
    means = mean_scores(rows)
    return {score: means[score] for score in SCORES}


def answers(sam: Sam, pictures: Sequence[HeldOut], cache: EmbeddingMemory) -> list[Masks]:
    """For each picture the masks (P, H, W) that the model gives for the tight boxes of the true ones."""
    segmenter = RememberingSegmenter(sam, cache)
    return [
        segmenter.segment_boxes(segmenter.embed(_rgb(picture)), mask_to_box(picture.truths).astype(np.float64))
        for picture in pictures
    ]


def write_before(path: Path, scores: dict[str, float], masks: Sequence[Masks]) -> None:
    """Keep what was measured before, for a run that is interrupted."""
    content = {"scores": scores, "masks": [[encode_rle(mask) for mask in each] for each in masks]}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content))


def read_before(path: Path) -> tuple[dict[str, float], list[Masks]]:
    """What `write_before` wrote."""
    content = json.loads(path.read_text())
    return content["scores"], [np.stack([decode_rle(mask) for mask in each]) for each in content["masks"]]


def table(before: dict[str, float], after: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """Rows of text: the prompt, IoU before, IoU after, the difference."""
    return [
        (title, f"{before[score]:.3f}", f"{after[score]:.3f}", f"{after[score] - before[score]:+.3f}")
        for score, title in SCORES.items()
    ]


def write_report(
    folder: Path, before: dict[str, float], after: dict[str, float], facts: dict[str, Any]
) -> tuple[Path, Path]:
    """Write `report.md` and `report.json`; returns their paths."""
    heads = ("IoU from", "before", "after", "difference")
    lines = [heads, ("---", "---:", "---:", "---:"), *table(before, after)]
    note = (
        "IoU: mean over the held-out masks. Of several states of the run the one with the best IoU on some of these "
        "pictures was taken, so `after` is a little better than on new pictures."
    )
    conditions = [f"- {name}: {value}" for name, value in facts.items()]
    text = "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", note, "", *conditions]) + "\n"
    difference = {score: after[score] - before[score] for score in SCORES}
    content = {"before": before, "after": after, "difference": difference, **facts}
    markdown, machine = folder / "report.md", folder / "report.json"
    for path, written in ((markdown, text), (machine, json.dumps(content, indent=2) + "\n")):
        with replacing(path) as temporary:
            temporary.write_text(written, encoding="utf-8")
    return markdown, machine


def _rgb(picture: HeldOut) -> Rgb:
    """Decoded again each time, so that a hundred pictures do not stay in memory."""
    return replace(picture.source).rgb
