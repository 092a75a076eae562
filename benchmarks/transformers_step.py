"""The other side of `train_step`: the paper's training step as one would write it over `transformers.SamModel`.

`SamModel` feeds a mask back to pictures, not to prompts, so each prompt goes in as a picture of its own with the
embedding of its picture, computed once. The simulated user is ours, drawn in our order, so that both sides get the
same prompts; everything else is written here.
"""

from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from opensam.data.samples import CELL, Batch
from opensam.interaction import jitter_boxes, sample_corrections, sample_points
from opensam.models.checkpoints import official_to_transformers
from opensam.models.sam import PIXEL_MEAN, PIXEL_STD, SamConfig
from opensam.train.segment import SegmentConfig, plan_rounds


def build(config: SamConfig, weights: dict[str, Tensor]) -> transformers.SamModel:
    """A SamModel with ViT of our sizes and our weights; its attention is what transformers chooses by itself."""
    encoder, dim = config.image_encoder, config.prompt_embed_dim
    if encoder.kind != "vit":
        raise ValueError(f"expected a model with a ViT, got {encoder.kind}; transformers has no other SAM")
    vision = {
        "hidden_size": encoder.embed_dim,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.num_heads,
        "global_attn_indexes": list(encoder.global_attn_indexes),
        "image_size": encoder.image_size,
        "window_size": encoder.window_size,
        "output_channels": encoder.out_chans,
        "mlp_ratio": encoder.mlp_ratio,
        "num_pos_feats": dim // 2,
    }
    decoder = {
        "hidden_size": dim,
        "num_hidden_layers": config.decoder_depth,
        "num_attention_heads": config.decoder_heads,
        "mlp_dim": config.decoder_mlp_dim,
        "iou_head_depth": config.iou_head_depth,
        "iou_head_hidden_dim": config.iou_head_hidden_dim,
        "layer_norm_eps": 1e-5,  # of the official code; transformers has 1e-6
    }
    prompts = {"hidden_size": dim, "image_size": encoder.image_size}
    given = {"vision_config": vision, "prompt_encoder_config": prompts, "mask_decoder_config": decoder}
    model = transformers.SamModel(transformers.SamConfig(**given))
    model.load_state_dict(official_to_transformers(weights))
    return model.train()


def preprocess(images: list[Tensor], size: int) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    normalised = ((image.float() - mean) / std for image in images)
    return torch.stack([F.pad(image, (0, size - image.shape[2], 0, size - image.shape[1])) for image in normalised])


def step_loss(
    model: transformers.SamModel, batch: Batch, shared: torch.Generator, generator: torch.Generator
) -> Tensor:
    """Eleven rounds on a batch of whole squares, half of the prompts from boxes and half from points."""
    size, device = model.config.vision_config.image_size, model.device
    rounds = plan_rounds(SegmentConfig(), shared)
    embeddings = model.vision_encoder(preprocess(batch.images, size).to(device)).last_hidden_state
    targets, index, boxes = (one.to(device) for one in (batch.masks, batch.image_index, batch.boxes))
    torch.randint(1, (2,), generator=generator, device=device)  # our crops lie somewhere, these do not
    order = torch.randperm(len(targets), generator=generator, device=device)
    half = round(0.5 * len(targets))
    total = embeddings.new_zeros((), dtype=torch.float32)
    for kind, chosen in (("box", order[:half]), ("point", order[half:])):
        prompts: dict[str, Any] = {}
        if kind == "box":
            prompts["input_boxes"] = jitter_boxes(boxes[chosen], size, generator)[:, None]
        else:
            prompts["input_points"] = sample_points(targets[chosen] > 0.5, CELL, generator)[:, None, None]
            prompts["input_labels"] = torch.ones(len(chosen), 1, 1, dtype=torch.int64, device=device)
        torch.rand((), generator=generator, device=device)  # ours draws how to answer boxes
        loss = interact(model, embeddings[index[chosen]], prompts, targets[chosen], rounds, generator)
        total = total + loss * len(chosen) / len(targets)
    return total


def interact(
    model: transformers.SamModel,
    embeddings: Tensor,
    prompts: dict[str, Any],
    targets: Tensor,
    rounds: list[bool],
    generator: torch.Generator,
) -> Tensor:
    """The mean loss over the rounds; `embeddings` (P, 256, h, w) are those of the picture of each prompt."""
    losses, previous = [], torch.empty(0)
    for number, adds_click in enumerate(rounds):
        if adds_click:
            points, labels = sample_corrections(targets > 0.5, previous[:, 0] > 0, CELL, generator)
            new = {"input_points": points[:, None, None], "input_labels": labels[:, None, None]}
            prompts = prompts | {k: torch.cat([prompts[k], v], dim=2) if k in prompts else v for k, v in new.items()}
        answer = model(image_embeddings=embeddings, multimask_output=number == 0, **prompts)
        logits, scores = answer.pred_masks[:, 0].float(), answer.iou_scores[:, 0].float()
        losses.append(mask_loss(logits, scores, targets))
        best = scores.argmax(dim=1)
        previous = logits.detach()[torch.arange(len(best), device=best.device), best][:, None]
        prompts = prompts | {"input_masks": previous}
    return torch.stack(losses).mean()


def mask_loss(logits: Tensor, scores: Tensor, targets: Tensor) -> Tensor:
    """20 focal + dice of the best of the masks (P, C, G, G), and the squared error of the scores of all."""
    wanted = targets[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    p = torch.sigmoid(logits)
    p_true = p * wanted + (1 - p) * (1 - wanted)
    alpha = 0.25 * wanted + 0.75 * (1 - wanted)
    focal = (alpha * (1 - p_true) ** 2 * entropy).mean(dim=(2, 3))
    both = (p * wanted).sum(dim=(2, 3))
    dice = 1 - (2 * both + 1) / (p.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3)) + 1)
    with torch.no_grad():
        answer = (logits > 0).float()
        common = (answer * wanted).sum(dim=(2, 3))
        iou = common / (answer.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3)) - common).clamp(min=1e-6)
    return (20 * focal + dice).amin(dim=1).mean() + F.mse_loss(scores, iou)
