"""The optimiser, its learning rate over a run, and the average of weights."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

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
    groups = [
        {"params": decays, "weight_decay": config.weight_decay, "lr_scale": 1.0},
        {"params": others, "weight_decay": 0.0, "lr_scale": 1.0},
    ]
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
