"""The ViT encoder for inference: weights and embeddings of `ImageEncoderViT`, in less time and far less memory.

What is different: positions are looked up once, at construction. Padding is zero before the map to queries, keys and
values, so it gets their bias and no arithmetic. Blocks go through the picture in bands whose intermediates stay in
the processor's cache, and global attention builds its bias for some queries at a time, never for all pairs of cells.

Letters: (H, W) the grid of patches, D embedding width, d width of one head, n windows.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models import fused
from opensam.models.layers import LayerNorm2d, Neck
from opensam.models.vit import Block, ImageEncoderViT, relative_positions

# Bias entries at a time. On a CPU 8 MB of float32 stay in the cache of level 3; a GPU wants long rows of work.
TILE, GPU_TILE = 2**21, 2**27
BAND = 16  # rows of the grid at a time through linear layers on a CPU: the hidden layer of 1,024 tokens is 12 MB


class FastImageEncoderViT(nn.Module):
    """An `ImageEncoderViT` for inference only: pixels (B, 3, S, S) -> image embeddings (B, 256, S/16, S/16).

    Weights that already have the wanted type are shared with the encoder, the others are copies, and positions are
    computed here: once the encoder has changed, make another. Norms and the sums of blocks are float32.

    Args:
        encoder: the plain encoder.
        dtype: type of linear layers and convolutions; the embeddings come in float32, or float64 if this is.
    """

    pos_embed: Tensor

    def __init__(self, encoder: ImageEncoderViT, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        wide = torch.promote_types(dtype, torch.float32)
        _, height, width, _ = encoder.pos_embed.shape
        patches = encoder.patch_embed.proj
        self.patch_size = patches.kernel_size[0]
        self.patch_embed = _Linear(patches.weight.flatten(1), patches.bias, dtype)
        self.register_buffer("pos_embed", encoder.pos_embed.detach()[0].to(wide), persistent=False)
        self.blocks = nn.ModuleList(_Block(cast("Block", block), (height, width), dtype) for block in encoder.blocks)
        self.neck = _Neck(encoder.neck, dtype)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16), one picture at a time: that fills the machine, and bounds memory."""
        return torch.stack([self._embed(picture) for picture in pixels])

    def _embed(self, picture: Tensor) -> Tensor:
        patch, (height, width) = self.patch_size, self.pos_embed.shape[:2]
        patches = picture.to(self.patch_embed.weight.dtype).view(-1, height, patch, width, patch)
        x = self.patch_embed(patches.permute(1, 3, 0, 2, 4).flatten(2)) + self.pos_embed
        for block in self.blocks:
            block(x)
        embedding: Tensor = self.neck(x)
        return embedding


class _Linear(nn.Module):
    """A linear layer with weights in `dtype`, and an exact GELU behind it if asked for."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().to(dtype), persistent=False)
        self.register_buffer("bias", None if bias is None else bias.detach().to(dtype), persistent=False)

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """(..., in) of any floating-point type -> (..., out) in the type of the weights."""
        return fused.linear(x.to(self.weight.dtype), self.weight, self.bias, gelu=gelu)


class _Norm(nn.Module):
    """A layer norm over the last axis, in float32 or wider."""

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.LayerNorm | LayerNorm2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.eps = norm.eps
        self.register_buffer("weight", norm.weight.detach().to(dtype), persistent=False)
        self.register_buffer("bias", norm.bias.detach().to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.bias, self.eps)


class _Block(nn.Module):
    """One `Block` on one picture, in place."""

    rows: Tensor
    columns: Tensor

    def __init__(self, block: Block, grid: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__()
        wide = torch.promote_types(dtype, torch.float32)
        attention, mlp = block.attn, block.mlp
        self.heads, self.window_size = attention.num_heads, block.window_size
        height, width = (block.window_size,) * 2 if block.window_size else grid
        self.norm1, self.norm2 = _Norm(block.norm1, wide), _Norm(block.norm2, wide)
        self.qkv = _Linear(attention.qkv.weight, attention.qkv.bias, dtype)
        self.proj = _Linear(attention.proj.weight, attention.proj.bias, dtype)
        self.lin1 = _Linear(mlp.lin1.weight, mlp.lin1.bias, dtype)
        self.lin2 = _Linear(mlp.lin2.weight, mlp.lin2.bias, dtype)
        for name, size, table in (("rows", height, attention.rel_pos_h), ("columns", width, attention.rel_pos_w)):
            self.register_buffer(name, relative_positions(size, table.detach().to(wide)), persistent=False)

    def forward(self, x: Tensor) -> None:
        """Adds attention, then the feed-forward part, to x (H, W, D)."""
        band = (self.window_size or BAND) if x.is_cpu else len(x)
        if self.window_size:
            for part in x.split(band):
                part += self.proj(self._in_windows(self.qkv(self.norm1(part))))
        else:
            attended = (
                self._everywhere(x, band, 1, TILE) if x.is_cpu else self._everywhere(x, band, self.heads, GPU_TILE)
            )
            for part, added in zip(x.split(band), attended.split(band), strict=True):
                part += self.proj(added)
        for part in x.split(band):
            part += self.lin2(self.lin1(self.norm2(part), gelu=True))

    def _in_windows(self, qkv: Tensor) -> Tensor:
        """Attention inside windows: (h, w, 3 D) -> (h, w, D); windows begin in the first row and column.

        Cells beyond the right and bottom edge take part as keys; where there is one row of windows, they ask nothing.
        """
        (h, w), size = qkv.shape[:2], self.window_size
        rows, columns = -(-h // size), -(-w // size)
        if (h, w) != (rows * size, columns * size):
            padding = qkv.new_zeros(qkv.shape[-1]) if self.qkv.bias is None else self.qkv.bias
            padded = padding.repeat(rows * size, columns * size, 1)
            padded[:h, :w] = qkv
            qkv = padded
        windows = qkv.view(rows, size, columns, size, 3, self.heads, -1).permute(4, 0, 2, 5, 1, 3, 6)
        windows = windows.flatten(1, 2)  # (3, n, heads, size, size, d)
        q, (k, v) = windows[0, :, :, :h], windows[1:].flatten(3, 4)
        # A product: adding rows to columns that are as short as a window's takes six times as long.
        bias = torch.cat(self._positions(q, 0), dim=-1).flatten(2, 3) @ self._places(q)
        x = _attention(q.flatten(2, 3), k, v, bias)
        x = x.view(rows, columns, self.heads, q.shape[2], size, -1).permute(0, 3, 1, 4, 2, 5)
        return x.flatten(4).flatten(2, 3).flatten(0, 1)[:h, :w]

    def _everywhere(self, x: Tensor, band: int, heads: int, entries: int) -> Tensor:
        """Attention over the whole grid, for so many heads and entries of their bias at a time.

        (H, W, D) -> (H, W, D)
        """
        height, width, dim = x.shape
        qkv = x.new_empty(3, 1, self.heads, height, width, dim // self.heads, dtype=self.qkv.weight.dtype)
        for part, into in zip(x.split(band), qkv.split(band, dim=3), strict=True):
            parts = self.qkv(self.norm1(part)).view(1, len(part), width, 3, self.heads, -1)
            into.copy_(parts.permute(3, 0, 4, 1, 2, 5))
        q, (k, v) = qkv[0], qkv[1:].flatten(3, 4)
        tile = max(1, entries // (heads * width * height * width))  # rows of queries
        bias = q.new_empty(min(heads, self.heads) * min(tile, height) * width * height * width)
        attended = q.new_empty(height, width, self.heads, q.shape[-1])
        for head in range(0, self.heads, heads):
            some = slice(head, head + heads)
            for row in range(0, height, tile):
                found = self._attend(q[:, some, row : row + tile], k[:, some], v[:, some], row, bias)
                attended[row : row + tile, :, some] = found.view(heads, -1, width, q.shape[-1]).permute(1, 2, 0, 3)
        return attended.flatten(2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, row: int, bias: Tensor) -> Tensor:
        """Attention of whole rows of queries from `row` on, with relative positions; `bias` is memory for them.

        (n, heads, r, w, d), (n, heads, K, d), (n, heads, K, d) -> (n, heads, r * w, d)
        """
        rows, columns = self._positions(q, row)
        shape = (*rows.shape, columns.shape[-1])
        bias = bias[: math.prod(shape)].view(shape)
        torch.add(rows[..., :, None], columns[..., None, :], out=bias)
        return _attention(q.flatten(2, 3), k, v, bias.flatten(4).flatten(2, 3))

    def _positions(self, q: Tensor, row: int) -> tuple[Tensor, Tensor]:
        """What is added to the scores of all keys of a row, and of a column, for whole rows of queries from `row` on.

        (n, heads, r, w, d) -> (n, heads, r, w, rows) and (n, heads, r, w, columns)
        """
        rows = torch.einsum("nhrcd,rkd->nhrck", q, self.rows[row : row + q.shape[2]].to(q.dtype))
        return rows, torch.einsum("nhrcd,ckd->nhrck", q, self.columns.to(q.dtype))

    def _places(self, like: Tensor) -> Tensor:
        """Which row and which column of a window a key is in, as ones: (2 * size, size * size)."""
        cells = torch.eye(self.window_size, dtype=like.dtype, device=like.device)
        return torch.cat([cells.repeat_interleave(self.window_size, dim=1), cells.repeat(1, self.window_size)])


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention of (n, heads, Q, d) to (n, heads, K, d) with a bias (n, heads, Q, K), which is written over."""
    if q.is_cpu and q.dtype == torch.bfloat16:
        # The fused kernel for CPUs takes as long as in float32, plain products half of it.
        scores = bias.flatten(0, 1).baddbmm_(q.flatten(0, 1) * q.shape[-1] ** -0.5, k.flatten(0, 1).mT)
        return torch.bmm(scores.softmax(dim=-1), v.flatten(0, 1)).view_as(q)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class _Neck(nn.Module):
    """A `Neck` on one picture whose channels are the last axis."""

    convolution: Tensor

    def __init__(self, neck: Neck, dtype: torch.dtype) -> None:
        super().__init__()
        wide = torch.promote_types(dtype, torch.float32)
        first, norm1, second, norm2 = cast("tuple[nn.Conv2d, LayerNorm2d, nn.Conv2d, LayerNorm2d]", tuple(neck))
        self.linear = _Linear(first.weight.flatten(1), None, dtype)
        self.norm1, self.norm2 = _Norm(norm1, wide), _Norm(norm2, wide)
        self.register_buffer("convolution", second.weight.detach().to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(H, W, D) -> (256, H, W)."""
        x = self.norm1(self.linear(x)).to(self.convolution.dtype)
        x = F.conv2d(x.permute(2, 0, 1)[None], self.convolution, padding=1)
        embedding: Tensor = self.norm2(x[0].permute(1, 2, 0))
        return embedding.permute(2, 0, 1).contiguous()
