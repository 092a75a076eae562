"""The optimiser, its learning rate over a run, and the average of weights."""

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from opensam.config import Config


class OptimConfig(Config):
    """AdamW and its schedule.

    Attributes:
        lr: learning rate after the warm-up.
        final_lr: learning rate at the end of the run, reached along half a cosine.
        warmup: steps of linear warm-up (250 in the paper, A).
        betas: of AdamW (0.9, 0.999 in the paper).
        weight_decay: on matrices and convolutions; biases, norms and embeddings have none (0.1 in the paper).
        clip: bound of the gradient's norm.
        ema: decay of the average of weights per step; it is the average that is released.
    """

    lr: float = 8e-4
    final_lr: float = 0.0
    warmup: int = 250
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.1
    clip: float = 1.0
    ema: float = 0.999


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on what multiplies, and none on what shifts, scales or names."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decays = [p for name, p in trained if p.ndim > 1 and not _is_code(name)]
    others = [p for name, p in trained if p.ndim <= 1 or _is_code(name)]
    groups = [{"params": decays, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def _is_code(name: str) -> bool:
    """Embeddings, tokens and position tables: parameters that name something instead of mapping it."""
    codes = ("embed.weight", "embeddings", "token", "pos_embed", "rel_pos", "attention_biases")
    return any(code in name for code in codes)


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """The rate at `step` of a run of `steps`: linear warm-up, then half a cosine from `lr` to `final_lr`."""
    progress = min(1.0, step / max(1, steps))
    cosine = config.final_lr + (config.lr - config.final_lr) * (1 + math.cos(math.pi * progress)) / 2
    return cosine * min(1.0, (step + 1) / max(1, config.warmup))


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential average of the weights and of the batch-norm statistics."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
