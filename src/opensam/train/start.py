"""A start from which positions are easy to learn, for models that train from nothing on little data.

With random frequencies and random projections, the decoder learns where a click or a box lies as a table over places:
after forty thousand pictures a small box was still answered with a blob three times its size, and a box elsewhere in
the square not at all. Here the code of positions and the projections that compare them start in order: the frequencies
are geometric along each axis, and most heads of the cross attentions compare a query with a key by their distance, or
by the side that one lies of the other. Names and shapes of all weights stay those of the official models.
"""

import math

import torch
from torch import Tensor

from opensam.models.sam import Sam
from opensam.models.two_way_transformer import Attention

SLOWEST, FASTEST = 0.125, 8.0  # periods over half of the square
GAIN = 2.0  # of the projections
NEAR = 0.0  # the logit is highest where both positions are the same
SIDE = math.pi / 2  # the logit is high on one side and low on the other

# One entry per head that starts in order: the share of its frequencies along x, and the phase between query and key.
HEADS = ((0.5, NEAR), (0.5, NEAR), (1.0, SIDE), (1.0, -SIDE), (0.0, SIDE), (0.0, -SIDE))


@torch.no_grad()
def order_positions(sam: Sam) -> None:
    """Set the position code and the query and key projections of all cross attentions of the decoder; see above."""
    matrix = sam.prompt_encoder.pe_layer.get_buffer("positional_encoding_gaussian_matrix")
    half = matrix.shape[1] // 2
    frequencies = torch.logspace(math.log2(SLOWEST), math.log2(FASTEST), half, base=2.0)
    matrix.zero_()
    matrix[0, :half], matrix[1, half:] = frequencies, frequencies
    for name, module in sam.mask_decoder.transformer.named_modules():
        if isinstance(module, Attention) and not name.endswith("self_attn"):
            _order(module)


def _order(attention: Attention) -> None:
    """Let heads compare positions: each pair of its channels holds the sine and cosine of one frequency."""
    for projection in (attention.q_proj, attention.k_proj):
        projection.reset_parameters()
        width = projection.out_features // attention.num_heads
        for head, (share, phase) in enumerate(HEADS):
            rows = slice(head * width, (head + 1) * width)
            turn = phase if projection is attention.k_proj else 0.0
            projection.weight[rows] = _reader(width // 2, share, turn, projection.in_features)
            projection.bias[rows] = 0


def _reader(count: int, share: float, phase: float, dim: int) -> Tensor:
    """Rows (2 * count, dim) that read `count` frequencies of a position code, turned by `phase`."""
    half = dim // 4  # frequencies per axis; sines come first, then cosines
    along_x = round(count * share)
    places = [*_spread(half, along_x), *(half + i for i in _spread(half, count - along_x))]
    rows = torch.zeros(2 * count, dim)
    for i, place in enumerate(places):
        rows[2 * i, [place, 2 * half + place]] = GAIN * torch.tensor([math.cos(phase), math.sin(phase)])
        rows[2 * i + 1, [place, 2 * half + place]] = GAIN * torch.tensor([-math.sin(phase), math.cos(phase)])
    return rows


def _spread(size: int, count: int) -> list[int]:
    """`count` indices, evenly over `size`."""
    return [round((i + 0.5) * size / count - 0.5) for i in range(count)]
