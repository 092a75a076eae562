"""TinyViT for inference: the values of `TinyViT`, from other weights in another order.

What differs from the plain one, which stays the reference:

- batch norms are part of the convolutions before them, layer norms give their scale and shift to the linear layers
  after them, and attention biases are looked up once;
- channels are the last axis throughout, so that a 1x1 convolution is a linear layer and nothing is reordered;
- the wide layers are computed in strips that stay in the processor's cache;
- windows at the right and bottom edge are as large as what they hold. The official model pads them with zeros, which
  are keys of attention. After the norm all of them are one vector, so that their keys and values are one too, and
  many equal keys weigh as much as a single one whose bias is the logarithm of the sum of their exponentials.

Letters: B images, H x W grid, C channels, N cells of a window, d channels of a head.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models import fused
from opensam.models.layers import LayerNorm2d, attention
from opensam.models.tiny_vit import ConvBn, MBConv, PatchMerging, TinyViT, TinyViTBlock

# Values of the widest layer computed at once on a CPU: 8 MB in float32.
VALUES_AT_ONCE = 2**21


class FastTinyViT(nn.Module):
    """A `TinyViT` that only predicts; later changes of the given encoder do not reach it.

    Args:
        encoder: the weights.
        dtype: of linear layers, convolutions and what flows between them; norms and softmax are computed in at least
            float32.
    """

    def __init__(self, encoder: TinyViT, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        first, _, second = encoder.patch_embed.seq
        self.patch_embed = nn.Sequential(_conv(first, dtype, gelu=True), _conv(second, dtype))
        steps: list[nn.Module] = []
        for stage in encoder.layers:
            parts = [*stage.blocks] if stage.downsample is None else [*stage.blocks, stage.downsample]
            steps += [_Block(part, dtype) if isinstance(part, TinyViTBlock) else _Wide(part, dtype) for part in parts]
        self.steps = nn.Sequential(*steps)
        self.neck = _Neck(encoder.neck, dtype)
        self.dtype = dtype

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16), float32 unless `dtype` is wider."""
        x = pixels.permute(0, 2, 3, 1).to(self.dtype).contiguous()
        return self.neck(self.steps(self.patch_embed(x)))


class _Linear(nn.Module):
    """A linear layer with its own copy of the weights."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Buffer(weight.to(dtype, copy=True))
        self.bias = nn.Buffer(bias.to(dtype, copy=True))

    def forward(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        return fused.linear(x, self.weight, self.bias, gelu=gelu, add=add)


class _Conv(nn.Module):
    """A convolution on (B, H, W, C) with its batch norm folded in."""

    def __init__(
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, *, stride: int = 1, groups: int = 1, gelu: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Buffer(weight.to(dtype, copy=True, memory_format=torch.channels_last))
        self.bias = nn.Buffer(bias.to(dtype, copy=True))
        self.stride, self.groups, self.gelu = stride, groups, gelu

    def forward(self, x: Tensor) -> Tensor:
        return fused.conv(x, self.weight, self.bias, stride=self.stride, groups=self.groups, gelu=self.gelu)


class _Wide(nn.Module):
    """`MBConv` or `PatchMerging`: 1x1, depthwise 3x3 and 1x1 convolution."""

    def __init__(self, part: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        if not isinstance(part, MBConv | PatchMerging):
            raise TypeError(f"expected MBConv or PatchMerging, got {type(part).__name__}")
        self.widen = _pointwise(part.conv1, dtype)
        self.depthwise = _conv(part.conv2, dtype, gelu=True)
        self.narrow = _pointwise(part.conv3, dtype)
        self.is_residual = isinstance(part, MBConv)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H / stride, W / stride, C')."""
        b, h, w, _ = x.shape
        stride = self.depthwise.stride
        rows = _at_once(x, b * w * len(self.widen.weight)) // stride * stride or stride
        return _joined([self._rows(x, top, min(top + rows, h)) for top in range(0, h, rows)], dim=1)

    def _rows(self, x: Tensor, top: int, bottom: int) -> Tensor:
        """What becomes of the rows top to bottom, from them and the neighbours that the 3x3 convolution sees."""
        stride = self.depthwise.stride
        above = stride if top else 0  # a whole step, so that the strip has the rhythm of the grid
        hidden = self.widen(x[:, top - above : bottom + 1], gelu=True)
        # Where the strip ends but the picture does not, the padding of the convolution spoils a row that goes here.
        first, last = above // stride, (above + bottom - top + stride - 1) // stride
        hidden = self.depthwise(hidden)[:, first:last]
        if not self.is_residual:
            return self.narrow(hidden)
        return F.gelu(self.narrow(hidden, add=x[:, top:bottom]))


class _Block(nn.Module):
    """`TinyViTBlock`."""

    def __init__(self, block: TinyViTBlock, dtype: torch.dtype) -> None:
        super().__init__()
        attn, mlp, s = block.attn, block.mlp, block.window_size
        self.window_size, self.num_heads, self.eps = s, attn.num_heads, (attn.norm.eps, mlp.norm.eps)
        self.qkv = _normed(attn.norm, attn.qkv, dtype)
        self.proj = _linear(attn.proj, dtype)
        self.local_conv = _conv(block.local_conv, dtype)
        self.fc1 = _normed(mlp.norm, mlp.fc1, dtype)
        self.fc2 = _linear(mlp.fc2, dtype)
        biases = attn.attention_biases.detach()[:, attn.get_buffer("bias_index")]
        self.biases = nn.Buffer(biases.view(-1, s, s, s, s).to(torch.promote_types(dtype, torch.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = self.local_conv(self.proj(self._attended(_norm(x, self.eps[0])), add=x))
        tokens = x.flatten(0, 2)
        parts = tokens.split(_at_once(x, len(self.fc1.weight)))
        return _joined([self.fc2(self.fc1(_norm(part, self.eps[1]), gelu=True), add=part) for part in parts]).view_as(x)

    def _attended(self, x: Tensor) -> Tensor:
        """Attention inside each window of a normed grid, up to the last linear layer."""
        out = torch.empty_like(x)
        for rows, height in _spans(x.shape[1], self.window_size):
            for columns, width in _spans(x.shape[2], self.window_size):
                source, target = (_in_windows(grid[:, rows, columns], height, width) for grid in (x, out))
                windows = source.reshape(-1, height * width, x.shape[3])
                target.copy_(self._in_each(windows, height, width).view_as(target))
        return out

    def _in_each(self, windows: Tensor, height: int, width: int) -> Tensor:
        """(windows, N, C) -> (windows, N, C), N = height * width cells of windows that were cut to that size."""
        count, n, dim = windows.shape
        d = dim // self.num_heads
        q, k, v = self.qkv(windows).view(count, n, self.num_heads, 3, d).permute(3, 0, 2, 1, 4)
        rows = self.biases[:, :height, :width].flatten(1, 2)  # (heads, N, s, s): of all keys of a whole window
        biases = rows[:, :, :height, :width].flatten(2)
        if n < self.window_size**2:
            padding = torch.ones_like(rows[0, 0], dtype=torch.bool)
            padding[:height, :width] = False
            biases = torch.cat([biases, rows[:, :, padding].logsumexp(-1, keepdim=True)], -1)
            _, key, value = self.qkv.bias.view(self.num_heads, 3, d).permute(1, 0, 2)
            k, v = (torch.cat([a, b[:, None].expand(count, -1, 1, d)], 2) for a, b in ((k, key), (v, value)))
        return attention(q, k, v, biases[None]).transpose(1, 2).reshape(count, n, dim)


class _Neck(nn.Module):
    """`Neck`; its norms, the last of which gives the embeddings, are not narrower than float32."""

    def __init__(self, neck: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        first, norm1, second, norm2 = neck
        wide = torch.promote_types(dtype, torch.float32)
        none = torch.zeros(len(first.weight), device=first.weight.device)
        self.first = _Linear(first.weight.detach().flatten(1), none, dtype)
        self.second = _Conv(second.weight.detach(), none, dtype)
        self.norms = nn.ModuleList(_frozen(norm, wide) for norm in (norm1, norm2))
        self.wide = wide

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, 256, h, w)."""
        norm1, norm2 = self.norms
        x = self.second(norm1.channels_last(self.first(x).to(self.wide)).to(x.dtype))
        return norm2.channels_last(x.to(self.wide)).permute(0, 3, 1, 2)


def _frozen(norm: nn.Module, dtype: torch.dtype) -> LayerNorm2d:
    """A copy that is not trained."""
    copied = LayerNorm2d(len(norm.get_parameter("weight"))).to(norm.get_parameter("weight").device)
    copied.load_state_dict(norm.state_dict())
    return copied.to(dtype).requires_grad_(False)


def _folded(layer: ConvBn) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does what the convolution and its batch norm did."""
    mean, var = (layer.bn.get_buffer(name).double() for name in ("running_mean", "running_var"))
    scale = layer.bn.weight.detach().double() / (var + layer.bn.eps).sqrt()
    weight = layer.c.weight.detach().double() * scale[:, None, None, None]
    return weight, layer.bn.bias.detach().double() - mean * scale


def _conv(layer: nn.Module, dtype: torch.dtype, *, gelu: bool = False) -> _Conv:
    if not isinstance(layer, ConvBn):
        raise TypeError(f"expected a ConvBn, got {type(layer).__name__}")
    return _Conv(*_folded(layer), dtype, stride=layer.c.stride[0], groups=layer.c.groups, gelu=gelu)


def _pointwise(layer: ConvBn, dtype: torch.dtype) -> _Linear:
    weight, bias = _folded(layer)
    return _Linear(weight.flatten(1), bias, dtype)


def _linear(layer: nn.Linear, dtype: torch.dtype) -> _Linear:
    return _Linear(layer.weight.detach(), layer.bias.detach(), dtype)


def _normed(norm: nn.LayerNorm, layer: nn.Linear, dtype: torch.dtype) -> _Linear:
    """A linear layer that takes over scale and shift of the norm before it."""
    weight = layer.weight.detach().double()
    bias = layer.bias.detach().double() + weight @ norm.bias.detach().double()
    return _Linear(weight * norm.weight.detach().double(), bias, dtype)


def _norm(x: Tensor, eps: float) -> Tensor:
    """A layer norm without scale and shift; torch computes it in at least float32."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def _spans(length: int, window_size: int) -> Iterator[tuple[slice, int]]:
    """Where along an axis the whole windows are and where the cut one is, with how much one of them holds."""
    whole = length // window_size * window_size
    if whole:
        yield slice(0, whole), window_size
    if length > whole:
        yield slice(whole, length), length - whole


def _in_windows(grid: Tensor, height: int, width: int) -> Tensor:
    """A view of (B, H, W, C) as (B, H / height, W / width, height, width, C)."""
    return grid.unflatten(2, (-1, width)).unflatten(1, (-1, height)).transpose(2, 3)


def _at_once(x: Tensor, values: int) -> int:
    """How many things of so many values are computed at once: few on a CPU, all on other devices."""
    return max(1, VALUES_AT_ONCE // values) if x.is_cpu else x.numel()


def _joined(parts: list[Tensor], dim: int = 0) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
