"""The other side of `everything`: the mask-generation pipeline of transformers over our weights.

transformers has no TinyViT, so the vision encoder of its SamModel is replaced by ours, in plain float32: prompts,
decoder, filters and everything around them are theirs. Its pipeline takes box suppression from torchvision, which this
project does not install; `suppress` stands in for it, a small part of the job.
"""

from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil, _rle_to_mask
from transformers.pipelines.mask_generation import MaskGenerationPipeline

from benchmarks import transformers_step
from opensam.models.sam import Sam
from opensam.models.vit import ViTConfig


class Processor(SamImageProcessorPil):
    """Theirs without torchvision."""

    def post_process_for_mask_generation(
        self, all_masks: list[Any], all_scores: Tensor, all_boxes: Tensor, crops_nms_thresh: float
    ) -> tuple[list[Any], Tensor, list[Any], Tensor]:
        kept = suppress(all_boxes.float(), all_scores, crops_nms_thresh)
        rles = [all_masks[number] for number in kept.tolist()]
        return [_rle_to_mask(rle) for rle in rles], all_scores[kept], rles, all_boxes[kept]


def suppress(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression as in torchvision, by falling score."""
    kept: list[int] = []
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for number in scores.argsort(descending=True, stable=True).tolist():
        top_left = boxes[kept, :2].maximum(boxes[number, :2])
        shared = (boxes[kept, 2:].minimum(boxes[number, 2:]) - top_left).clamp(min=0).prod(1)
        if not (shared / (areas[number] + areas[kept] - shared) > threshold).any():
            kept.append(number)
    return torch.tensor(kept, dtype=torch.int64)


class Encoder(nn.Module):
    """Our image encoder with the call of theirs."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixel_values: Tensor, **_: Any) -> tuple[Tensor]:
        return (self.encoder(pixel_values),)


def with_encoder_of(sam: Sam) -> transformers.SamModel:
    """A SamModel with the weights of `sam`, and its image encoder."""
    placeholder = ViTConfig(embed_dim=8, depth=1, num_heads=1, global_attn_indexes=(), image_size=sam.image_size)
    config = sam.config.model_copy(update={"image_encoder": placeholder})
    weights = {key: value for key, value in sam.state_dict().items() if not key.startswith("image_encoder.")}
    weights |= {f"image_encoder.{key}": value for key, value in Sam(config).image_encoder.state_dict().items()}
    model = transformers_step.build(config, weights).eval()
    model.vision_encoder = Encoder(sam.image_encoder)
    return model


def make_pipeline(model: transformers.SamModel, image_size: int) -> MaskGenerationPipeline:
    """The pipeline, which asks its model for squares of this size."""
    square = {"height": image_size, "width": image_size}
    processor = Processor(size={"longest_edge": image_size}, pad_size=square)
    return MaskGenerationPipeline(model=model, image_processor=processor)


def generate(pipeline: MaskGenerationPipeline, picture: Image.Image, settings: dict[str, Any]) -> dict[str, Any]:
    """`masks` and `scores` for settings with their official names; without crops."""
    names = {"points_per_side": "points_per_crop", "box_nms_thresh": "crops_nms_thresh"}
    return pipeline(picture, **{names.get(name, name): value for name, value in settings.items()})
