"""The official model: its call, and the functions that build it from a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from opensam.geometry import Resize
from opensam.models import sam as models
from opensam.models.checkpoints import load_into, read_state_dict
from opensam.models.zoo import find
from opensam.prompts import Prompts


class Sam(models.Sam):
    """The model with the official call: a list of pictures, each with its prompts."""

    image_format = "RGB"

    def __init__(self, config: models.SamConfig, name: str = "") -> None:
        super().__init__(config, name)
        cast("Any", self.image_encoder).img_size = config.image_size

    @torch.no_grad()
    def forward(  # type: ignore[override]  # the official signature is the point of this class
        self, batched_input: list[dict[str, Any]], multimask_output: bool
    ) -> list[dict[str, Tensor]]:
        """Masks for prompts over several pictures.

        Args:
            batched_input: per picture `image` (3, h, w) scaled to the model's frame, `original_size` (H, W),
                and any of `point_coords` (B, N, 2) with `point_labels` (B, N), `boxes` (B, 4), `mask_inputs`
                (B, 1, 4h, 4w), in the model's frame.
            multimask_output: 3 masks per prompt, or 1.

        Returns:
            Per picture `masks` (B, C, H, W) bool, `iou_predictions` (B, C), `low_res_logits` (B, C, 4h, 4w).
        """
        image_embeddings = self.encode(torch.cat([self.preprocess(one["image"]) for one in batched_input]))
        answers = []
        for one, embedding in zip(batched_input, image_embeddings, strict=True):
            prompts = Prompts(
                one.get("point_coords"), one.get("point_labels"), one.get("boxes"), one.get("mask_inputs")
            )
            low_res_masks, iou_predictions = self.decode(embedding[None], prompts, multimask_output)
            masks = self.postprocess_masks(low_res_masks, one["image"].shape[-2:], one["original_size"])
            answers.append(
                {
                    "masks": masks > self.mask_threshold,
                    "iou_predictions": iou_predictions,
                    "low_res_logits": low_res_masks,
                }
            )
        return answers

    def postprocess_masks(
        self,
        masks: Tensor,
        input_size: tuple[int, ...],  # noqa: ARG002  # follows from original_size; official argument
        original_size: tuple[int, ...],
    ) -> Tensor:
        """Logits (B, C, 4h, 4w) to logits (B, C, H, W) of the original picture."""
        return Resize((original_size[0], original_size[1]), self.image_size).restore_masks(masks)


def _build(name: str, checkpoint: str | Path | None) -> Sam:
    sam = Sam(find(name).config, name)
    if checkpoint is not None:
        load_into(sam, read_state_dict(checkpoint), checkpoint)
    return sam.eval()


def build_sam_vit_h(checkpoint: str | Path | None = None) -> Sam:
    """SAM ViT-H in eval mode, from a checkpoint file; without one with random weights, as officially."""
    return _build("sam_vit_h", checkpoint)


def build_sam_vit_l(checkpoint: str | Path | None = None) -> Sam:
    """SAM ViT-L; see `build_sam_vit_h`."""
    return _build("sam_vit_l", checkpoint)


def build_sam_vit_b(checkpoint: str | Path | None = None) -> Sam:
    """SAM ViT-B; see `build_sam_vit_h`."""
    return _build("sam_vit_b", checkpoint)


def build_sam_vit_t(checkpoint: str | Path | None = None) -> Sam:
    """MobileSAM, as that project calls it; see `build_sam_vit_h`."""
    return _build("mobile_sam", checkpoint)


build_sam = build_sam_vit_h
sam_model_registry: dict[str, Callable[..., Sam]] = {
    "default": build_sam_vit_h,
    "vit_h": build_sam_vit_h,
    "vit_l": build_sam_vit_l,
    "vit_b": build_sam_vit_b,
    "vit_t": build_sam_vit_t,
}
