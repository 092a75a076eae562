"""The image encoder of SAM: a plain vision transformer with window attention and a few blocks of global attention.

Letters: B images, D embedding width, (H, W) the grid of patches, d width of one head.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.config import Config
from opensam.models.layers import DropPath, MLPBlock, Neck, attention, join_windows, split_windows
from opensam.models.recomputation import BlockRunner


class ViTConfig(Config):
    """Sizes of a ViT encoder; `vit_b`, `vit_l` and `vit_h` of the model zoo fill them in."""

    kind: Literal["vit"] = "vit"
    embed_dim: int
    depth: int
    num_heads: int
    global_attn_indexes: tuple[int, ...]
    image_size: int = 1024
    patch_size: int = 16
    window_size: int = 14
    out_chans: int = 256
    mlp_ratio: float = 4.0


class PatchEmbed(nn.Module):
    """One linear map per patch: (B, 3, S, S) -> (B, S / patch, S / patch, D)."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, H, W, D)."""
        patches: Tensor = self.proj(pixels)
        return patches.permute(0, 2, 3, 1)


def relative_positions(size: int, table: Tensor) -> Tensor:
    """The rows of a relative-position table for every pair of coordinates along one axis.

    Args:
        size: cells along the axis.
        table: (2 * trained_size - 1, d); interpolated linearly when `size` differs from the trained size.

    Returns:
        (size, size, d): entry [q, k] is the row of offset q - k.
    """
    rows = 2 * size - 1
    if len(table) != rows:
        table = F.interpolate(table.T[None], size=rows, mode="linear")[0].T
    cells = torch.arange(size, device=table.device)
    return table[cells[:, None] - cells[None] + size - 1]


class Attention(nn.Module):
    """Multi-head attention over an (H, W) grid with decomposed relative positions."""

    def __init__(self, dim: int, num_heads: int, grid_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid_size - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid_size - 1, dim // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, D); or (B, N, D) -> (B, N, D), tokens without a grid and so without positions."""
        b, *grid, dim = x.shape
        qkv = self.qkv(x).view(b, math.prod(grid), 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, H * W, d)
        x = attention(q, k, v, self._position_bias(q, (grid[0], grid[1])) if len(grid) == 2 else None)
        return self.proj(x.transpose(1, 2).reshape(b, *grid, dim))

    def _position_bias(self, q: Tensor, grid: tuple[int, int]) -> Tensor:
        """What the unscaled query says about the row and column of each key: (B, heads, H * W, H * W)."""
        h, w = grid
        q = q.unflatten(2, grid)
        rows = torch.einsum("bnhwd,hkd->bnhwk", q, relative_positions(h, self.rel_pos_h).to(q.dtype))
        columns = torch.einsum("bnhwd,wkd->bnhwk", q, relative_positions(w, self.rel_pos_w).to(q.dtype))
        bias = rows[..., :, None] + columns[..., None, :]  # (B, heads, H, W, H, W)
        return bias.reshape(*q.shape[:2], h * w, h * w)


class Block(nn.Module):
    """Attention (inside windows, or over the whole grid when `window_size` is 0) and a feed-forward part."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, window_size: int, grid_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, window_size or grid_size)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio), nn.GELU)
        self.drop_path = DropPath()

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, D); or (B, N, D) -> (B, N, D), where all tokens attend to all."""
        normed = self.norm1(x)
        if self.window_size and x.ndim == 4:
            windows = self.attn(split_windows(normed, self.window_size))
            attended = join_windows(windows, (x.shape[1], x.shape[2]))
        else:
            attended = self.attn(normed)
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ImageEncoderViT(BlockRunner):
    """Image encoder: pixels (B, 3, S, S) -> image embeddings (B, 256, S/16, S/16)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        grid_size = config.image_size // config.patch_size
        self.patch_embed = PatchEmbed(config.patch_size, config.embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid_size, grid_size, config.embed_dim))
        self.blocks = nn.ModuleList(
            Block(
                config.embed_dim,
                config.num_heads,
                config.mlp_ratio,
                window_size=0 if i in config.global_attn_indexes else config.window_size,
                grid_size=grid_size,
            )
            for i in range(config.depth)
        )
        self.neck = Neck(config.embed_dim, config.out_chans)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        x = self.patch_embed(pixels) + self.pos_embed
        for block in self.blocks:
            x = self.run(block, x)
        return self.neck(x.permute(0, 3, 1, 2))
