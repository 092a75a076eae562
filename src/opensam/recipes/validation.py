"""Measuring a model on held-out pictures while it is trained: the same prompts every time, and pictures to look at."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import nn

from opensam.data.mixture import Mixture
from opensam.data.samples import CELL, AugmentConfig, Batch, make_batch
from opensam.models.sam import Sam
from opensam.prompts import Prompts
from opensam.train.log import Picture, Validation
from opensam.train.segment import SegmentConfig, SegmentStep, TrainConfig

PICTURES = 48
MASKS = 4
SHOWN = 4
# A first prompt and four clicks: what the log calls last_iou is the IoU after five.
INTERACTION = SegmentConfig(clicks=4, mask_rounds=0)


def validator(mixture: Mixture, config: TrainConfig) -> Callable[[nn.Module], Validation]:
    """A function that measures a `Sam` on some pictures of a mixture, whole and unchanged.

    Its facts are those of a training step (`box_iou`, `point_iou`, `point_oracle_iou`, `last_iou`, `loss`), its
    pictures show the masks and the answers to boxes.
    """
    rng = np.random.default_rng(0)
    size = config.image_size
    batches = [make_batch(mixture, 1, size, size, MASKS, AugmentConfig(), rng) for _ in range(PICTURES)]

    def validate(model: nn.Module) -> Validation:
        if not isinstance(model, Sam):
            raise TypeError(f"expected a Sam, got {type(model).__name__}")
        step = SegmentStep(model, INTERACTION).eval()
        rows = []
        for number, batch in enumerate(batches):
            loss, facts = step(batch, torch.Generator(), torch.Generator(model.device).manual_seed(number))
            rows.append({name: float(value) for name, value in facts.items()} | {"loss": float(loss)})
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        pictures = {f"boxes/{number}": _show(model, batch) for number, batch in enumerate(batches[:SHOWN])}
        return Validation(means, (means["box_iou"] + means["point_iou"] + means["last_iou"]) / 3, pictures)

    return validate


def _show(sam: Sam, batch: Batch) -> Picture:
    """The picture of a batch with the outlines of its masks in green, and of the model's answers to boxes in red."""
    image = batch.images[0].permute(1, 2, 0).numpy().copy(order="C")
    embeddings = sam.encode(sam.preprocess(batch.images[0].to(sam.device)))
    prompts = Prompts(boxes=batch.boxes.to(sam.device), image_index=batch.image_index.to(sam.device))
    logits, _ = sam.decode(embeddings, prompts, multimask_output=False)
    answers = logits[:, 0] > sam.mask_threshold
    for masks, color in ((batch.masks > 0.5, (0, 200, 0)), (answers, (230, 0, 0))):
        for mask in masks.cpu().numpy().astype(np.uint8):
            full = cv2.resize(mask, None, fx=CELL, fy=CELL, interpolation=cv2.INTER_NEAREST)
            outlines, _ = cv2.findContours(full, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, outlines, -1, color, thickness=max(1, sam.image_size // 400))
    return image
