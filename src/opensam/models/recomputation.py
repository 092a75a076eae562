"""Blocks that are computed again in the backward pass instead of keeping what they computed: time for memory."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class BlockRunner(nn.Module):
    """A module made of blocks; how it runs them, `set_recomputation` decides."""

    recompute = False

    def run(self, block: nn.Module, *inputs: Tensor | None) -> Tensor:
        """`block(*inputs)`; where gradients are kept and recomputation is on, only the inputs stay in memory."""
        if not (self.recompute and torch.is_grad_enabled()):
            return block(*inputs)
        output: Tensor = checkpoint(  # the second pass draws the same random numbers as the first
            block, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_kept(block))
        )
        return output


def set_recomputation(module: nn.Module, on: bool) -> None:
    """Let the blocks of every image encoder in `module` be computed again in the backward pass, or not.

    Gradients and batch-norm statistics are the same either way; a step takes a second forward pass of the blocks.
    """
    for part in module.modules():
        if isinstance(part, BlockRunner):
            part.recompute = on


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """A batch counts once in the statistics of batch norms: what the second pass writes goes to copies."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    buffers = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers()]
    for norm, name, buffer in buffers:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in buffers:
            setattr(norm, name, buffer)
