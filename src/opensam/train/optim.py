"""The optimiser, its learning rate over a run, and the average of weights."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from opensam.config import Config


class OptimConfig(Config):
    """AdamW and its schedule; the defaults are the paper's for ViT-H (A), where it states them.

    Attributes:
        lr: learning rate after the warm-up.
        schedule: "step" multiplies the rate by 0.1 at each milestone, "cosine" lets it fall to `final_lr` along half a
            cosine.
        milestones: shares of the run (60,000 and 86,666 of 90,000 steps in the paper).
        final_lr: see `schedule`.
        warmup: steps of linear warm-up.
        layer_decay: factor on the rate for every layer that a parameter of the image encoder lies further from its
            output (ViT-L the same, ViT-B 0.6).
        betas: of AdamW.
        weight_decay: on matrices and convolutions; biases, norms and embeddings have none.
        clip: bound of the gradient's norm (not stated; ViTDet's).
        ema: decay of the average of weights per step; it is the average that is released. 0 releases the last weights.
    """

    lr: float = Field(default=8e-4, gt=0)
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[float, ...] = (60_000 / 90_000, 86_666 / 90_000)
    final_lr: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=250, ge=0)
    layer_decay: float = Field(default=0.8, gt=0, le=1)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.0, ge=0, lt=1)


def same_rate(name: str) -> float:  # noqa: ARG001
    """The factor of parameters that all learn at the same rate."""
    return 1.0


def make_optimizer(
    model: nn.Module, config: OptimConfig, rate_factor: Callable[[str], float] = same_rate
) -> torch.optim.AdamW:
    """AdamW with weight decay on what multiplies, and none on what shifts, scales or names.

    Args:
        model: its parameters that require gradients are trained.
        config: see there.
        rate_factor: of the name of a parameter; the groups of the optimiser carry it as `lr_scale`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 and not _is_code(name) else 0.0
            groups.setdefault((decay, rate_factor(name)), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": group, "weight_decay": decay, "lr_scale": scale} for (decay, scale), group in groups.items()],
        lr=config.lr,
        betas=config.betas,
        fused=True,
    )


def _is_code(name: str) -> bool:
    """Embeddings, tokens and position tables: parameters that name something instead of mapping it."""
    codes = ("embed.weight", "embeddings", "token", "pos_embed", "rel_pos", "attention_biases")
    return any(code in name for code in codes)


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """The rate at `step` of a run of `steps`: linear warm-up, then the schedule."""
    progress = min(1.0, step / max(1, steps))
    if config.schedule == "cosine":
        rate = config.final_lr + (config.lr - config.final_lr) * (1 + math.cos(math.pi * progress)) / 2
    else:
        rate = config.lr * 0.1 ** sum(progress >= milestone for milestone in config.milestones)
    return rate * min(1.0, (step + 1) / max(1, config.warmup))


class Average:
    """An exponential average of the weights and batch-norm statistics of a module.

    Its decay rises to the one of the config, (1 + n) / (10 + n) after n updates, so that what the weights were at the
    start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: value.clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the weights of now into the average."""
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        now = module.state_dict()
        averaged = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([local(self.values[n]) for n in averaged], [local(now[n]) for n in averaged], weight)
        for name in now.keys() - set(averaged):  # counters
            self.values[name].copy_(now[name])

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The module has the averaged weights inside the block, and its own again after it."""
        own = {name: value.clone() for name, value in module.state_dict().items()}
        _assign(module, self.values)
        try:
            yield
        finally:
            _assign(module, own)


@torch.no_grad()
def _assign(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, value in module.state_dict().items():
        local(value).copy_(local(values[name]))


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that is spread over several, and any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
