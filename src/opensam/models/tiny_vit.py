"""The TinyViT image encoder, in the key layout of MobileSAM: 6 million parameters instead of ViT-H's 637.

Convolutions, then window attention with a depthwise convolution in every block. Grids of a 1024 x 1024 input: 256
after the patch embedding, then 128, 64 and 64. Feature maps stay in channels-last memory, so that (B, C, H, W) for
convolutions and (B, H, W, C) for attention are two views of one tensor.

Masked autoencoding hides squares of the picture. Then every part gets `hidden` (B, h, w), True where nothing may be
seen, at a grid as coarse as the squares, and keeps to what is visible, as sparse convolutions would (SparK, arXiv
2301.03580): hidden cells stay zero, are no keys of attention, and do not count in the statistics of batch norms.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.config import Config
from opensam.models.layers import DropPath, Neck, attention, join_windows, split_windows
from opensam.models.recomputation import BlockRunner


class TinyViTConfig(Config):
    """Sizes of a TinyViT encoder; the defaults are MobileSAM's (TinyViT-5M)."""

    kind: Literal["tiny_vit"] = "tiny_vit"
    image_size: int = 1024
    embed_dims: tuple[int, int, int, int] = (64, 128, 160, 320)
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    num_heads: tuple[int, int, int, int] = (2, 4, 5, 10)
    window_sizes: tuple[int, int, int, int] = (7, 7, 14, 7)
    out_chans: int = 256


class ConvBn(nn.Sequential):
    """A convolution without bias and its batch norm, under the key names `c` and `bn`."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = kernel // 2
        self.c = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, in, H, W) -> (B, out, H/stride, W/stride)."""
        x = self.c(x)
        if hidden is None:
            return self.bn(x)
        tokens = x.permute(0, 2, 3, 1)
        visible = ~on_grid(hidden, tokens)
        normed = self.bn(tokens[visible].T[None, :, :, None])[0, :, :, 0].T  # the visible cells as one tall picture
        empty = torch.zeros_like(tokens, dtype=normed.dtype)
        return empty.masked_scatter(visible[..., None], normed).permute(0, 3, 1, 2)


def on_grid(hidden: Tensor, tokens: Tensor) -> Tensor:
    """What is hidden (B, h, w), at the finer grid of tokens (B, H, W, C): (B, H, W)."""
    factor = tokens.shape[1] // hidden.shape[1]
    return hidden.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def _blank(tokens: Tensor, hidden: Tensor | None) -> Tensor:
    """Tokens (B, H, W, C) with zeros where they are hidden."""
    return tokens if hidden is None else tokens.masked_fill(on_grid(hidden, tokens)[..., None], 0)


class PatchEmbed(nn.Module):
    """Two stride-2 convolutions: (B, 3, S, S) -> (B, dim, S/4, S/4)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvBn(3, dim // 2, 3, stride=2), nn.GELU(), ConvBn(dim // 2, dim, 3, stride=2))

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) -> (B, dim, S/4, S/4)."""
        first, activation, second = self.seq
        return second(activation(first(x, hidden)), hidden)


class MBConv(nn.Module):
    """Inverted bottleneck: widen by 4, depthwise 3x3, narrow, add the input."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = dim * expansion
        self.conv1 = ConvBn(dim, hidden, 1)
        self.conv2 = ConvBn(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvBn(hidden, dim, 1)
        self.drop_path = DropPath()
        nn.init.zeros_(self.conv3.bn.weight)  # the block starts as the identity

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, dim, H, W) -> (B, dim, H, W)."""
        branch = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x, hidden)), hidden)), hidden)
        return F.gelu(x + self.drop_path(branch))


class PatchMerging(nn.Module):
    """Widen, then a depthwise 3x3 that halves the grid when `stride` is 2."""

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBn(dim, out_dim, 1)
        self.conv2 = ConvBn(out_dim, out_dim, 3, stride, groups=out_dim)
        self.conv3 = ConvBn(out_dim, out_dim, 1)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H/stride, W/stride)."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x, hidden)), hidden)), hidden)


class WindowAttention(nn.Module):
    """Attention inside one window, with a learned bias for every |offset| between two cells."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window_size**2))
        cells = torch.cartesian_prod(torch.arange(window_size), torch.arange(window_size))
        offset = (cells[:, None] - cells[None]).abs()
        self.register_buffer("bias_index", (offset[..., 0] * window_size + offset[..., 1]).flatten(), persistent=False)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(windows, N, dim) -> (windows, N, dim), N = window_size ** 2; `hidden` (windows, N) are no keys."""
        count, n, dim = x.shape
        # Per head the linear layer gives [q, k, v]: heads are the outer axis.
        qkv = self.qkv(self.norm(x)).view(count, n, self.num_heads, 3, dim // self.num_heads)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)
        # Gathered at each call: a cached copy goes stale when weights are loaded or trained.
        bias = self.attention_biases.index_select(1, self.get_buffer("bias_index")).view(1, self.num_heads, n, n)
        if hidden is not None:
            bias = bias.masked_fill(hidden[:, None, None], -1e4)  # not infinite: a whole window may be hidden
        x = attention(q, k, v, bias)
        return self.proj(x.transpose(1, 2).reshape(count, n, dim))


class FeedForward(nn.Module):
    """Layer norm and two linear layers around GELU."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim * expansion)
        self.fc2 = nn.Linear(dim * expansion, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class TinyViTBlock(nn.Module):
    """Window attention, a depthwise convolution that lets windows see their neighbours, and a feed-forward part."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.attn = WindowAttention(dim, num_heads, window_size)
        self.local_conv = ConvBn(dim, dim, 3, groups=dim)
        self.mlp = FeedForward(dim)
        self.drop_path = DropPath()

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, dim, H, W) -> (B, dim, H, W)."""
        tokens = x.permute(0, 2, 3, 1)
        windows = split_windows(tokens, self.window_size)
        windows = self.attn(windows.flatten(1, 2), self._in_windows(hidden, tokens)).view_as(windows)
        attended = join_windows(windows, (tokens.shape[1], tokens.shape[2]))
        tokens = _blank(tokens + self.drop_path(attended), hidden)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2), hidden).permute(0, 2, 3, 1)
        return _blank(tokens + self.drop_path(self.mlp(tokens)), hidden).permute(0, 3, 1, 2)

    def _in_windows(self, hidden: Tensor | None, tokens: Tensor) -> Tensor | None:
        """(windows, N) which cells are hidden; the padding of a window is not: it is a key in every pass."""
        if hidden is None:
            return None
        return split_windows(on_grid(hidden, tokens)[..., None], self.window_size).flatten(1)


class Stage(BlockRunner):
    """Blocks of one grid size, then the step to the next grid."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H', W')."""
        for block in self.blocks:
            x = self.run(block, x, hidden)
        return x if self.downsample is None else self.downsample(x, hidden)


class TinyViT(nn.Module):
    """Image encoder: pixels (B, 3, S, S) -> image embeddings (B, 256, S/16, S/16), for any S that 16 divides."""

    def __init__(self, config: TinyViTConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.patch_embed = PatchEmbed(dims[0])
        stages = []
        for i, dim in enumerate(dims):
            blocks: list[nn.Module] = [
                TinyViTBlock(dim, config.num_heads[i], config.window_sizes[i]) if i else MBConv(dim)
                for _ in range(config.depths[i])
            ]
            # The step into the last stage keeps the grid, so that the embedding has one cell per 16 pixels.
            last_step = i == len(dims) - 2
            merge = None if i == len(dims) - 1 else PatchMerging(dim, dims[i + 1], stride=1 if last_step else 2)
            stages.append(Stage(blocks, merge))
        self.layers = nn.ModuleList(stages)
        self.neck = Neck(dims[-1], config.out_chans)
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        return self.neck(self.features(pixels))

    def features(self, pixels: Tensor, hidden: Tensor | None = None) -> Tensor:
        """What the neck gets: (B, 3, S, S) -> (B, dim, S/16, S/16), zero where `hidden` (B, h, w) is True."""
        x = pixels.contiguous(memory_format=torch.channels_last)
        x = self.patch_embed(_blank(x.permute(0, 2, 3, 1), hidden).permute(0, 3, 1, 2), hidden)
        for stage in self.layers:
            x = stage(x, hidden)
        return x


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
