"""Building blocks that several networks share.

Letters: B images, C channels, H x W grid, N tokens.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of (B, C, H, W)."""

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.channels_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def channels_last(self, x: Tensor) -> Tensor:
        """The same norm on a tensor whose channels are the last axis."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class MLP(nn.Module):
    """`num_layers` linear layers with ReLU between them: hypernetworks and IoU head of the mask decoder."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        widths = [input_dim] + [hidden_dim] * (num_layers - 1) + [output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., input_dim) -> (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class MLPBlock(nn.Module):
    """Two linear layers around an activation: the feed-forward part of a transformer block."""

    def __init__(self, embedding_dim: int, mlp_dim: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        """(..., embedding_dim) -> (..., embedding_dim)."""
        return self.lin2(self.act(self.lin1(x)))


class Neck(nn.Sequential):
    """Encoder width to the 256 channels of image embeddings: 1x1 and 3x3 convolution, each with its layer norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )


class DropPath(nn.Module):
    """Stochastic depth: while training, leave a residual branch out for some of the batch (arXiv 1603.09382).

    Off until `regularisation.set_regularisation` gives it a rate, which is no part of a state dict.
    """

    rate = 0.0

    def forward(self, branch: Tensor) -> Tensor:
        """(B, ...) -> (B, ...): zero with probability `rate`, else scaled so that the mean stays as it is."""
        if not (self.training and self.rate):
            return branch
        keep = 1 - self.rate
        kept = branch.new_empty(len(branch), *[1] * (branch.ndim - 1)).bernoulli_(keep)
        return branch * (kept / keep)


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention with an optional bias on the scores: (..., N, d), (..., K, d), (..., K, d), (..., N, K) -> (..., N, d).

    Where gradients are kept, the formula is written out: the fused kernel gives none to a bias, and on a CPU its
    backward pass over few queries or keys takes twice the time of plain products.
    """
    if torch.is_grad_enabled() and (bias is not None or q.is_cpu):
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return (scores if bias is None else scores + bias).softmax(dim=-1).to(v.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))


def split_windows(x: Tensor, window_size: int) -> Tensor:
    """Cut a grid into windows, zero-padded at the right and bottom to a multiple of the window.

    (B, H, W, C) -> (B * windows, window_size, window_size, C)
    """
    b, h, w, c = x.shape
    pad_h, pad_w = -h % window_size, -w % window_size
    if pad_h or pad_w:
        x = F.pad(x, (0, 0, 0, pad_w, 0, pad_h))
    rows, columns = (h + pad_h) // window_size, (w + pad_w) // window_size
    x = x.view(b, rows, window_size, columns, window_size, c)
    return x.transpose(2, 3).reshape(b * rows * columns, window_size, window_size, c)


def join_windows(windows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Undo `split_windows` for a grid of (H, W): put windows back in place and crop the padding.

    (B * windows, window_size, window_size, C) -> (B, H, W, C)
    """
    (h, w), window_size, c = grid, windows.shape[1], windows.shape[-1]
    rows, columns = -(-h // window_size), -(-w // window_size)
    x = windows.view(-1, rows, columns, window_size, window_size, c).transpose(2, 3)
    return x.reshape(-1, rows * window_size, columns * window_size, c)[:, :h, :w]
