"""A model that only predicts, from one that can be trained."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from opensam.models.fast_decoder import FastMaskDecoder
from opensam.models.fast_prompt_encoder import FastPromptEncoder
from opensam.models.fast_tiny_vit import FastTinyViT
from opensam.models.fast_vit import FastImageEncoderViT
from opensam.models.sam import Sam
from opensam.models.tiny_vit import TinyViT
from opensam.models.vit import ImageEncoderViT

# What an image encoder is -> what takes its place, made from it and the type to compute in.
FAST: dict[type[nn.Module], Callable[[Any, torch.dtype], nn.Module]] = {
    TinyViT: FastTinyViT,
    ImageEncoderViT: FastImageEncoderViT,
}


def for_inference(sam: Sam, dtype: torch.dtype = torch.float32) -> Sam:
    """A copy of a model whose parts are rearranged for speed: the same masks, no gradients, other keys.

    The given model stays as it is. The copy does not follow it: after training on, or loading other weights, make
    another.

    Args:
        sam: the model; an image encoder without a fast path is copied.
        dtype: what linear layers and convolutions of the fast parts compute in. Everything else is in float32, or in
            `dtype` where that is wider, and so are the embeddings and masks: those of one dtype serve with any other.

    Returns:
        the copy, in eval mode.

    Raises:
        ValueError: the model is such a copy.
    """
    if isinstance(sam.mask_decoder, FastMaskDecoder):
        raise ValueError(
            "expected a model that can be trained, got a copy for inference; give the model it was made from"
        )
    wide = torch.promote_types(dtype, torch.float32)
    replaced: dict[int, nn.Module] = {
        id(sam.prompt_encoder): FastPromptEncoder(sam.prompt_encoder, wide),
        id(sam.mask_decoder): FastMaskDecoder(sam.mask_decoder, dtype, sam.prompt_encoder),
    }
    if fast := FAST.get(type(sam.image_encoder)):
        replaced[id(sam.image_encoder)] = fast(sam.image_encoder, dtype)
    copied = copy.deepcopy(sam, dict[int, Any](replaced))  # what is in the dictionary counts as copied already
    for part in copied.children():
        if part not in replaced.values():
            part.to(wide)
    for name, buffer in list(copied.named_buffers(recurse=False)):
        setattr(copied, name, buffer.to(wide))
    return copied.requires_grad_(False).eval()
