"""A model that only predicts, from one that can be trained."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from opensam.models.fast_tiny_vit import FastTinyViT
from opensam.models.sam import Sam
from opensam.models.tiny_vit import TinyViT

# What a part is -> what takes its place, made from it and the type to compute in.
FAST: dict[type[nn.Module], Callable[[Any, torch.dtype], nn.Module]] = {
    TinyViT: FastTinyViT,
}


def for_inference(sam: Sam, dtype: torch.dtype = torch.float32) -> Sam:
    """A copy of a model whose parts are rearranged for speed: the same masks, no gradients, other keys.

    The given model stays as it is. The copy does not follow it: after training on, or loading other weights, make
    another.

    Args:
        sam: the model; of its parts those with a fast path get it, the others are copied.
        dtype: what linear layers and convolutions of the fast parts compute in. Everything else is in float32, or in
            `dtype` where that is wider, and so are the embeddings and masks: those of one dtype serve with any other.

    Returns:
        the copy, in eval mode.
    """
    wide = torch.promote_types(dtype, torch.float32)
    replaced = {id(part): FAST[type(part)](part, dtype) for part in sam.children() if type(part) in FAST}
    copied = copy.deepcopy(sam, dict[int, Any](replaced))  # what is in the dictionary counts as copied already
    for part in copied.children():
        if part not in replaced.values():
            part.to(wide)
    for name, buffer in list(copied.named_buffers(recurse=False)):
        setattr(copied, name, buffer.to(wide))
    return copied.requires_grad_(False).eval()
