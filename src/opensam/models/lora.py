"""Low-rank adapters (LoRA, arXiv 2106.09685): fine-tune an image encoder through a few thin matrices.

An adapter is a parametrisation of a weight, so the networks run as they are; only keys of the state dict change, until
`merge_lora` puts the sum into the weight.
"""

import math

from torch import Tensor, nn
from torch.nn.utils import parametrize

ADAPTED = ("qkv", "proj")  # names of the linear layers of attention, in both image encoders


class LowRank(nn.Module):
    """Adds `alpha / rank * b @ a` to a weight (out, in); `b` starts at zero."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.a = nn.Parameter(weight.new_empty(rank, weight.shape[1]))  # (rank, in)
        self.b = nn.Parameter(weight.new_zeros(weight.shape[0], rank))  # (out, rank)
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as a linear layer starts

    def forward(self, weight: Tensor) -> Tensor:
        """(out, in) -> (out, in)."""
        return weight + self.scale * (self.b @ self.a)


def add_lora(module: nn.Module, rank: int, alpha: float) -> None:
    """Put an adapter on every `qkv` and `proj` layer of an image encoder and freeze everything else.

    Outputs stay as they were. Other parts that should train, say the mask decoder, need `requires_grad_()` afterwards.

    Args:
        module: an image encoder, or a model with one; changed in place.
        rank: inner width of the adapters.
        alpha: their weight, divided by the rank.

    Raises:
        ValueError: there is no such layer, there are adapters already, or the rank is not positive.
    """
    if rank < 1:
        raise ValueError(f"expected a LoRA rank of at least 1, got {rank}; 4 to 16 is usual")
    layers = [layer for name, layer in module.named_modules() if _is_adapted(name, layer)]
    if not layers:
        raise ValueError(f"expected a module with linear layers called qkv or proj, got a {type(module).__name__}")
    if any(parametrize.is_parametrized(layer) for layer in layers):
        raise ValueError("expected a module without adapters, got one that has them; call merge_lora first")
    module.requires_grad_(False)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.get_parameter("weight"), rank, alpha))


def merge_lora(module: nn.Module) -> None:
    """Put every adapter into its weight: keys and shapes are official again, outputs stay as they are.

    What requires gradients stays as it is, the merged weights are frozen. A run that goes on saves a merged copy
    (`copy.deepcopy`).
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            # Not torch's remove_parametrizations: it edits the class, which copies of the layer share.
            weight = nn.Parameter(layer.weight.detach(), requires_grad=False)
            del layer.parametrizations
            layer.__class__ = type(layer).__bases__[0]
            layer.weight = weight


def _is_adapted(name: str, layer: nn.Module) -> bool:
    return name.rpartition(".")[2] in ADAPTED and isinstance(layer, nn.Linear)
