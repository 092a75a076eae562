"""One training step of promptable segmentation: prompts, rounds of interaction, loss (paper, A).

A prompt starts as a random point or a noisy box. Then the simulated user clicks where the answer is wrong, and the
model also gets the logits of its previous answer; some rounds add no click, so that the model learns to gain from its
own logits. The image embedding is computed once for all rounds.

The pictures of a batch are crops of the model's square. Where in the square they lie is drawn anew for each step, so
that the decoder learns positions everywhere.

Letters: B pictures, P prompts, C masks per prompt, (G, G) the mask grid of the crops.
"""

from dataclasses import replace
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from opensam.config import Config
from opensam.data.samples import CELL, AugmentConfig, Batch
from opensam.interaction import BOX_NOISE, jitter_boxes, sample_corrections, sample_points
from opensam.models.prompt_encoder import EMBEDDING_STRIDE
from opensam.models.sam import Sam
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig
from opensam.prompts import FOREGROUND, Prompts
from opensam.train.loop import RunConfig
from opensam.train.losses import coverage_iou, cross_entropy_loss, dice_loss, focal_loss, grouping_loss


class SegmentConfig(Config):
    """The interaction and the loss; the defaults are the paper's (A), 11 rounds in all.

    Attributes:
        box_probability: share of the prompts that start with a box instead of a point.
        single_mask_boxes: how often a first box is answered with the single mask instead of three (never in the paper).
            People ask so for a box, because a box is seldom ambiguous.
        box_noise: standard deviation of a first box's sides over their length.
        clicks: clicks after the first prompt.
        random_clicks: draw the number of clicks of each step from 0 to `clicks`, to save time.
        mask_rounds: rounds without a new click; the last one comes at the end, the others at random places.
        mask_loss: "focal", or "cross_entropy": focal loss collapses to empty masks when an encoder starts from nothing.
        mask_weight: weight of that loss.
        dice_weight: weight of the dice loss.
        iou_weight: weight of the squared error of the predicted IoU.
        grouping_weight: weight of `grouping_loss`, not in the paper.
    """

    box_probability: float = 0.5
    single_mask_boxes: float = 0.0
    box_noise: float = BOX_NOISE
    clicks: int = 8
    random_clicks: bool = False
    mask_rounds: int = 2
    mask_loss: Literal["focal", "cross_entropy"] = "focal"
    mask_weight: float = 20.0
    dice_weight: float = 1.0
    iou_weight: float = 1.0
    grouping_weight: float = 0.0


class TrainConfig(RunConfig):
    """One run of promptable training; the defaults are the paper's for ViT-H (A).

    Attributes:
        model: a name of `opensam models`: which architecture, not which weights.
        encoder: an image encoder of other sizes than the model's; its own `image_size` does not count.
        image_size: side of the model's square.
        crop_size: side of the crops that the model is trained on, a multiple of 16; None: whole squares.
        masks_per_image: prompts per picture, on as many of its masks as it has (the paper has at most 64 per GPU).
        mixture_power: a data set of n pictures is drawn with weight n ** power.
        data_share: of the pictures of each data set that are used, always the same ones.
        drop_path: rate of stochastic depth, see `set_regularisation`.
        decoder_dropout: see there.
        recompute: save memory by computing the blocks of the image encoder again in the backward pass.
        freeze_batch_norm: keep batch-norm statistics as they are, for small batches of large pictures.
        ordered_positions: a run from random weights begins with `start.order_positions`; the official models did not.
        segment, augment: see there.
    """

    model: str = "sam_vit_h"
    encoder: Annotated[ViTConfig | TinyViTConfig, Field(discriminator="kind")] | None = None
    image_size: int = Field(default=1024, ge=EMBEDDING_STRIDE, multiple_of=EMBEDDING_STRIDE)
    crop_size: int | None = Field(default=None, ge=EMBEDDING_STRIDE, multiple_of=EMBEDDING_STRIDE)
    masks_per_image: int = Field(default=64, ge=1)
    mixture_power: float = 0.5
    data_share: float = Field(default=1.0, gt=0, le=1)
    drop_path: float = Field(default=0.4, ge=0, lt=1)
    decoder_dropout: float = Field(default=0.1, ge=0, lt=1)
    recompute: bool = False
    freeze_batch_norm: bool = False
    ordered_positions: bool = False
    segment: SegmentConfig = SegmentConfig()
    augment: AugmentConfig = AugmentConfig()

    @model_validator(mode="after")
    def _crops_fit(self) -> Self:
        if self.crop_size is not None and self.crop_size > self.image_size:
            raise ValueError(f"expected crop_size up to image_size {self.image_size}, got {self.crop_size}")
        return self


def plan_rounds(config: SegmentConfig, generator: torch.Generator) -> list[bool]:
    """For each round of a step: does it add a click? The first round, which answers the first prompt, does not.

    Processes that train together share a plan, so that none waits for another.
    """
    clicks = config.clicks
    if config.random_clicks:
        clicks = int(torch.randint(clicks + 1, (), generator=generator))
    rounds = [True] * clicks
    for _ in range(config.mask_rounds - 1):
        rounds.insert(int(torch.randint(len(rounds) + 1, (), generator=generator)), False)
    return [False, *rounds, *([False] if config.mask_rounds else [])]


class SegmentStep(nn.Module):
    """A batch to a loss, as one module, so that wrappers for precision and many devices see one `forward`."""

    def __init__(self, sam: Sam, config: SegmentConfig, freeze_batch_norm: bool = False) -> None:
        """Wrap a model.

        Args:
            sam: what is trained.
            config: the interaction and the loss.
            freeze_batch_norm: see `TrainConfig`.
        """
        super().__init__()
        self.sam = sam
        self.config = config
        self.freeze_batch_norm = freeze_batch_norm

    def train(self, mode: bool = True) -> Self:
        """As usual, but a frozen batch norm stays in eval mode."""
        super().train(mode)
        if self.freeze_batch_norm:
            for module in self.sam.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(
        self, batch: Batch, shared: torch.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Plan rounds with `shared`, a generator that processes which train together have in common, and run them."""
        return self.run_rounds(batch, plan_rounds(self.config, shared), generator)

    def run_rounds(
        self, batch: Batch, rounds: list[bool], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of all rounds on a batch.

        Args:
            batch: pictures and masks.
            rounds: see `plan_rounds`.
            generator: source of prompts and clicks.

        Returns:
            The loss, and means for the log: `box_iou` and `point_iou` (first round, the mask that the model
            ranks first), `point_oracle_iou` (its best mask), `last_iou` (last round).
        """
        sam, device = self.sam, self.sam.device
        crop_size = batch.masks.shape[-1] * CELL
        embeddings = self.embed(batch.images, crop_size)
        masks, index = batch.masks.to(device), batch.image_index.to(device)
        origin = self._draw_origin(crop_size, generator)
        shift = _in_pixels(origin, device)
        boxes = batch.boxes.to(device) + shift.repeat(2)
        order = torch.randperm(len(masks), generator=generator, device=device)
        boxed = round(len(masks) * self.config.box_probability)
        total = embeddings.new_zeros((), dtype=torch.float32)
        facts: dict[str, Tensor] = {}
        last = []
        for kind, chosen in (("box", order[:boxed]), ("point", order[boxed:])):
            if not len(chosen):
                continue
            if kind == "box":
                noisy = jitter_boxes(boxes[chosen], sam.image_size, generator, self.config.box_noise)
                first = Prompts(boxes=noisy, image_index=index[chosen])
            else:
                points = sample_points(masks[chosen] > 0.5, CELL, generator)[:, None] + shift
                labels = torch.full((len(chosen), 1), FOREGROUND, device=device)
                first = Prompts(point_coords=points, point_labels=labels, image_index=index[chosen])
            loss, ious = self._interact(embeddings, origin, first, masks[chosen], rounds, generator)
            total = total + loss * (len(chosen) / len(masks))
            facts[f"{kind}_iou"] = ious["first"].mean()
            if kind == "point":
                facts["point_oracle_iou"] = ious["first_best"].mean()
            last.append(ious["last"])
        facts["last_iou"] = torch.cat(last).mean()
        if self.config.grouping_weight:
            total = total + self.config.grouping_weight * grouping_loss(embeddings, masks, index)
        return total, facts

    def embed(self, pictures: list[Tensor], crop_size: int) -> Tensor:
        """The image embeddings (B, 256, h, w) of pictures (3, H, W) uint8 in squares of `crop_size` pixels."""
        return self.sam.encode(
            torch.cat([self.sam.preprocess(picture.to(self.sam.device), crop_size) for picture in pictures])
        )

    def _draw_origin(self, crop_size: int, generator: torch.Generator) -> tuple[int, int]:
        """The (row, column) of the embedding cell of the square where the crops begin."""
        places = (self.sam.image_size - crop_size) // EMBEDDING_STRIDE + 1
        row, column = torch.randint(places, (2,), generator=generator, device=self.sam.device).tolist()
        return row, column

    def _interact(
        self,
        embeddings: Tensor,
        origin: tuple[int, int],
        prompts: Prompts,
        targets: Tensor,
        rounds: list[bool],
        generator: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss over the rounds of one kind of first prompt, and IoU (P,) of the first and last round."""
        total = embeddings.new_zeros((), dtype=torch.float32)
        ious: dict[str, Tensor] = {}
        draw = torch.rand((), generator=generator, device=embeddings.device)
        ambiguous = prompts.boxes is None or bool(draw >= self.config.single_mask_boxes)
        for number, adds_click in enumerate(rounds):
            if adds_click:
                prompts = self._add_click(prompts, origin, targets, generator)
            logits, predicted = self.sam.decode(embeddings, prompts, ambiguous and number == 0, origin)
            logits, predicted = logits.float(), predicted.float()
            loss, actual = self._loss(logits, predicted, targets)
            total = total + loss / len(rounds)
            rows, best = torch.arange(len(targets), device=targets.device), predicted.argmax(dim=1)
            prompts = replace(prompts, mask_input=logits.detach()[rows, best][:, None])
            if number == 0:
                ious |= {"first": actual[rows, best], "first_best": actual.amax(dim=1)}
            ious["last"] = actual[rows, best]
        return total, ious

    def _add_click(
        self, prompts: Prompts, origin: tuple[int, int], targets: Tensor, generator: torch.Generator
    ) -> Prompts:
        if prompts.mask_input is None:
            raise ValueError("expected the logits of a first answer before a correcting click, got none")
        points, labels = sample_corrections(targets > 0.5, prompts.mask_input[:, 0] > 0, CELL, generator)
        points, labels = points[:, None] + _in_pixels(origin, points.device), labels[:, None]
        if prompts.point_coords is not None and prompts.point_labels is not None:
            points = torch.cat([prompts.point_coords, points], dim=1)
            labels = torch.cat([prompts.point_labels, labels], dim=1)
        return replace(prompts, point_coords=points, point_labels=labels)

    def _loss(self, logits: Tensor, predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest loss among the masks of each prompt, plus the error of the predicted IoU of all of them."""
        config = self.config
        wanted = targets[:, None].expand_as(logits)
        pixel_loss = focal_loss if config.mask_loss == "focal" else cross_entropy_loss
        mask_losses = config.mask_weight * pixel_loss(logits, wanted) + config.dice_weight * dice_loss(logits, wanted)
        actual = coverage_iou(logits.detach() > self.sam.mask_threshold, targets[:, None])
        iou_loss = (predicted - actual).square().mean()
        return mask_losses.amin(dim=1).mean() + config.iou_weight * iou_loss, actual


def _in_pixels(origin: tuple[int, int], device: torch.device) -> Tensor:
    """(x, y) in the input frame of the first pixel of the embedding cell (row, column)."""
    row, column = origin
    return EMBEDDING_STRIDE * torch.tensor([column, row], device=device)
