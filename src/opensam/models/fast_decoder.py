"""The mask decoder for inference, with its products in another order: no image token is copied or projected per prompt.

Letters: P prompts, T tokens per prompt, H heads, d channels per head, C channels, K = h * w image tokens, N rows, M of
them from a mask.

The plain decoder adds to its image tokens what each prompt attended to, K * C values per prompt and layer, and projects
the sums anew. But what attention adds is a product of few columns: T * H attention weights per image token times T * H
vectors. And a layer norm is linear up to one factor per image token. So after l layers the image tokens of a prompt are

    scale * X_l + vectors^T rows + constant

with X_l = (a matrix of layer l) x, the same for all prompts of an image x; rows (N, K), the attention weights of the
layers so far, N = l * T * H; vectors (N, C); and one scale per image token. Each projection of image tokens is then one
of X_l, done once per image, and one of the few vectors. The variances of a layer norm follow from those of X_l, its
products with the vectors, and the products of the vectors with each other. A mask prompt is 17 rows more, which are
there before the first layer (`image_side.fold_masks`).

Constants: a softmax over image tokens does not see what is the same for all of them, and weights which sum to one carry
a constant through. The weights of a head sum to one over its tokens, so c / H added to every vector adds c.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models import fused
from opensam.models.image_side import ImageSide, Read, Write, blocks, fold, fold_masks, same
from opensam.models.layers import LayerNorm2d
from opensam.models.mask_decoder import MaskDecoder
from opensam.models.prompt_encoder import PromptEncoder
from opensam.models.two_way_transformer import Attention, TwoWayAttentionBlock

# Prompts, and image tokens of an upscaling, at once: what stays in the caches of a CPU, or fills another device.
PROMPTS_ON_CPU, PROMPTS_ELSEWHERE = 1, 64
TOKENS_ON_CPU = 2048


@dataclass
class PromptSide:
    """What P prompts add to one image, as in the head of this file.

    Attributes:
        scale: (P, K).
        rows: (P, N, K), with room for all layers.
        vectors: (P, n, C), n the rows so far.
        masks: how many rows there were before the first layer, M with a mask and 0 without; they come first.
        values: per layer so far (P, H, T, d + 1), what the vectors of that layer were projected from.
    """

    scale: Tensor
    rows: Tensor
    vectors: Tensor
    masks: int
    values: list[Tensor]

    def part(self, prompts: slice) -> tuple[Tensor, Tensor, Tensor]:
        """The rows so far, vectors and scale of some prompts."""
        return self.rows[prompts, : self.vectors.shape[1]], self.vectors[prompts], self.scale[prompts]


# For each image the numbers of its prompts, its upscaled tokens, and what its prompts add.
Sides = list[tuple[Tensor, Tensor, PromptSide]]


class FastMaskDecoder(MaskDecoder):
    """A `MaskDecoder` for inference: the same arguments and answers, without gradients.

    It keeps what it made of the last image (about 50 MB for 64 x 64 tokens in float32) for the next click. An image
    that is not equal to that one, value for value, is done anew, so no answer depends on what was asked before. Dense
    embeddings of masks are those of a `FastPromptEncoder`; those of a plain one are right too, but then each prompt
    is an image of its own, and takes about as long as in the plain decoder.

    Args:
        decoder: its weights are copied, and those of image tokens are taken together, as they are now.
        dtype: of all that is as large as the image tokens or the masks; tokens of prompts, and results, have the
            type of the weights.
        encoder: of the prompts; None: masks of a `FastPromptEncoder` are not understood.
    """

    image_matrix: Tensor
    code_matrix: Tensor
    code_bias: Tensor
    constants: Tensor
    outs: Tensor
    upscaling_matrix: Tensor
    first_matrix: Tensor
    first_bias: Tensor
    second_matrix: Tensor
    second_bias: Tensor
    mask_outs: Tensor
    mask_matrix: Tensor
    no_mask: Tensor

    def __init__(
        self, decoder: MaskDecoder, dtype: torch.dtype = torch.float32, encoder: PromptEncoder | None = None
    ) -> None:
        nn.Module.__init__(self)  # the parts are those of the copy
        # A copy, 16 MB: the parts are made to hold still, which must not happen to a model in training.
        decoder = copy.deepcopy(decoder).to(torch.promote_types(dtype, torch.float32)).requires_grad_(False).eval()
        self.dtype = dtype
        for name, part in decoder.named_children():
            self.add_module(name, part)
        self.heads = decoder.transformer.final_attn_token_to_image.num_heads
        width = decoder.transformer.final_attn_token_to_image.k_proj.out_features
        self.sizes = []  # the parts of `image_matrix`
        for number in range(len(self.transformer.layers)):
            self.sizes += [width] * 3 + [width + self.heads] * (number + 1)
        self.sizes += [width, width]
        weight = decoder.iou_token.weight
        nothing = weight.new_zeros(len(self.transformer.layers), 0, weight.shape[1])
        masks = {"mask_outs": nothing, "mask_matrix": nothing} if encoder is None else fold_masks(decoder, encoder)
        for name, value in (fold(decoder) | masks).items():
            self.register_buffer(name, value.to(weight.dtype), persistent=False)
        self._last_image: ImageSide | None = None
        self._last_code: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def _attend(
        self,
        tokens: Tensor,
        image_embeddings: Tensor,
        image_pe: Tensor,
        dense_prompt_embeddings: Tensor,
        image_index: Tensor | None,
    ) -> tuple[Tensor, Sides]:
        count = len(tokens)
        index = tokens.new_zeros(count, dtype=torch.int64) if image_index is None else image_index
        dense, rows = dense_prompt_embeddings, tokens.new_empty(count, 0, 1)
        if dense.shape[1] == self.mask_outs.shape[1]:  # M = 17, which no embedding has for its width: that is even
            dense, rows = self.no_mask[:, None, None].expand(count, -1, *dense.shape[2:]), dense.flatten(2)
        # Without a mask prompt the dense embedding is one vector, expanded over prompts and grid.
        of_prompt, *of_cell = (dense.stride(axis) for axis in (0, 2, 3))
        one_vector = not any(of_cell) and (of_prompt == 0 or count == 1)
        answers, images = torch.empty_like(tokens), Sides()
        for numbers in _by_image(index) if one_vector else torch.arange(count, device=index.device).split(1):
            embedding = image_embeddings[index[numbers[0]]].flatten(1).to(tokens.dtype)
            added = (dense[numbers[0], :, :1, :1] if one_vector else dense[numbers[0]]).flatten(1).to(tokens.dtype)
            image = self._image_side(embedding, added, image_pe[0].flatten(1), keep=one_vector)
            answers[numbers], side = self._transform(tokens[numbers], image, rows[numbers])
            images.append((numbers, image.upscaled, side))
        return answers, images

    @torch.no_grad()
    def _masks(self, images: Sides, chosen: Tensor | None, hyper: Tensor, grid: tuple[int, int]) -> Tensor:
        (count, outputs, _), (h, w) = hyper.shape, grid
        chosen = torch.arange(count, device=hyper.device) if chosen is None else chosen
        masks, hyper = hyper.new_empty(count, outputs, 4 * h, 4 * w), hyper.to(self.dtype)
        bias = self.first_bias.to(self.dtype)
        for numbers, upscaled, side in images:
            wanted, own = (chosen[:, None] == numbers).nonzero().unbind(1)
            for part in _chunks(len(wanted), masks):
                which, at = _number(wanted[part]), _number(own[part])
                rows, scale = side.rows[at].transpose(1, 2), side.scale[at].to(self.dtype).unsqueeze(-1)
                matrix = (side.vectors[at] @ self.first_matrix.T).to(self.dtype)  # (P, N, C)
                for lines in _lines(h, w, masks):
                    cells = slice(lines.start * w, lines.stop * w)
                    x = _add_product(torch.addcmul(bias, upscaled[cells], scale[:, cells]), rows[:, cells], matrix)
                    masks[which, :, 4 * lines.start : 4 * lines.stop] = self._upscale(x, hyper[which], w)
        return masks

    def _upscale(self, x: Tensor, hyper: Tensor, width: int) -> Tensor:
        """(P, k, 4 * C), before the layer norm, and (P, outputs, C') to masks (P, outputs, y, x)."""
        norm = cast("LayerNorm2d", self.output_upscaling[1])
        x = x.unflatten(-1, (4, -1))
        x = F.gelu(F.layer_norm(x, x.shape[-1:], norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps))
        x = fused.linear(x, self.second_matrix.to(x.dtype), self.second_bias.to(x.dtype), gelu=True)
        x = _product(hyper, x.flatten(1, 2).unflatten(-1, (4, -1)).flatten(1, 2).transpose(1, 2))
        # To (P, outputs, 16, k): the pixels of a cell apart, each with all columns in its inner loop.
        cells = x.unflatten(-1, (-1, 16)).transpose(2, 3).contiguous()
        # From (P, outputs, y, x of the first upscaling, y, x of the second, rows, columns).
        cells = cells.unflatten(2, (2, 2, 2, 2)).unflatten(-1, (-1, width))
        planes = cells.permute(3, 5, 0, 1, 6, 2, 4, 7).flatten(0, 1)
        return torch.stack(list(planes), dim=-1).flatten(5).flatten(2, 4)

    def _image_side(self, embedding: Tensor, dense: Tensor, position: Tensor, keep: bool) -> ImageSide:
        """Project image tokens (C, K), the sum of the two, and their position code, or take what was kept of them."""
        image, code = self._last_image, self._last_code
        if code is None or not same(code[0], position):
            code = position.clone(), torch.addmm(self.code_bias[:, None], self.code_matrix, position)
            self._last_code = code
        elif image is not None and image.code is code and image.is_of(embedding, dense):
            return image
        tokens = embedding + dense
        low = tokens.to(self.dtype)
        projected = (self.image_matrix.to(self.dtype) @ low).split(self.sizes)
        coded = code[1].to(self.dtype).unflatten(0, (-1, self.heads, self.sizes[0] // self.heads)).unbind(0)
        rest = iter([one.unflatten(0, (self.heads, -1)) for one in projected])
        masks = self.mask_matrix.to(self.dtype) @ low
        reads, writes, x = [], [], tokens
        for number, layer in enumerate(blocks(self.transformer)):
            keys, values, queries, *outs = (next(rest) for _ in range(number + 4))
            key_code, query_code = coded[2 * number : 2 * number + 2]
            x = x - x.mean(dim=0)
            variance = x.square().mean(dim=0)
            if number == 0:
                reads.append(Read(keys + key_code, values, None))
                writes.append(Write(queries + query_code, None, outs, masks[number], variance))
            else:
                reads.append(Read(keys, values, key_code))
                writes.append(Write(queries, query_code, outs, masks[number], variance))
            x = x * layer.norm4.weight[:, None]
        keys, values = rest
        reads.append(Read(keys, values, coded[-1]))
        upscaled = low.T @ self.upscaling_matrix.to(self.dtype).T
        image = ImageSide(embedding.clone(), dense.clone(), code, reads, writes, upscaled)
        if keep:
            self._last_image = image
        return image

    def _transform(self, tokens: Tensor, image: ImageSide, rows: Tensor) -> tuple[Tensor, PromptSide]:
        """The two-way transformer for P prompts over one image: (P, T, C), and rows of masks (P, M or 0, K)."""
        layers, (count, length, _), cells = blocks(self.transformer), tokens.shape, image.embedding.shape[1]
        masks = rows.shape[1]
        side = PromptSide(
            scale=tokens.new_ones(count, cells),
            rows=tokens.new_empty(count, masks + len(layers) * self.heads * length, cells, dtype=self.dtype),
            vectors=self.mask_outs[0, :masks].expand(count, -1, -1),
            masks=masks,
            values=[],
        )
        side.rows[:, :masks] = rows
        queries = tokens
        for layer, read, write, constant in zip(layers, image.reads, image.writes, self.constants, strict=False):
            queries = layer.attend_to_tokens(queries, tokens)
            attended = self._read(layer.cross_attn_token_to_image, queries + tokens, read, side, constant)
            queries = layer.norm2(queries + attended)
            queries = layer.norm3(queries + layer.mlp(queries))
            self._write(layer, queries + tokens, queries, write, side)
        final = self.transformer.final_attn_token_to_image
        attended = self._read(final, queries + tokens, image.reads[-1], side, self.constants[-1])
        return self.transformer.norm_final_attn(queries + attended), side

    def _read(self, attention: Attention, q: Tensor, image: Read, side: PromptSide, constant: Tensor) -> Tensor:
        """Tokens attend to the image: (P, T, C) -> (P, T, C)."""
        queries, found = self._split(attention.q_proj(q)), []
        matrix = attention.v_proj.weight.unflatten(0, (self.heads, -1)).transpose(1, 2)  # (H, C, d)
        for part in _chunks(len(q), q):
            rows, vectors, scale = own = side.part(part)
            weights = self._scores(queries[part], attention.k_proj, image.keys, image.code, own).softmax(dim=-1)
            added = _product(weights, rows.transpose(1, 2)).to(q.dtype) @ vectors
            weights = _heads_first(weights.mul_(scale[:, None].to(self.dtype)).unflatten(1, (self.heads, -1)))
            read = _prompts_first(torch.bmm(weights, image.values.transpose(1, 2)).to(q.dtype), len(rows))
            found.append(read + added.unflatten(1, (self.heads, -1)) @ matrix)
        read = torch.cat(found).transpose(1, 2).flatten(2)
        return attention.out_proj(read + attention.v_proj(constant))

    def _write(self, layer: TwoWayAttentionBlock, k: Tensor, v: Tensor, image: Write, side: PromptSide) -> None:
        """The image attends to tokens (P, T, C) and the sum is normed: `side` after one layer more."""
        attention, norm, number = layer.cross_attn_image_to_token, layer.norm4, len(side.values)
        keys = self._split(attention.k_proj(k))
        side.values.append(F.pad(self._split(attention.v_proj(v)), (0, 1), value=1.0))
        vectors = torch.cat([side.vectors, (side.values[-1] @ self.outs[number]).flatten(1, 2)], dim=1)
        vectors -= vectors.mean(dim=-1, keepdim=True)
        for part in _chunks(len(k), k):
            scores = self._scores(keys[part], attention.q_proj, image.queries, image.code, side.part(part))
            rows, scale, own = side.rows[part, : vectors.shape[1]], side.scale[part], vectors[part]
            rows[:, side.vectors.shape[1] :] = scores.unflatten(1, (self.heads, -1)).softmax(dim=2).flatten(1, 2)
            # The variance over the channels of scale * X + own^T rows, both of mean zero.
            products = torch.cat(
                [
                    image.masks[: side.masks].expand(len(rows), -1, -1),
                    *(
                        _prompts_first(torch.bmm(_heads_first(values[part]).to(self.dtype), out), len(rows)).flatten(
                            1, 2
                        )
                        for values, out in zip(side.values, image.outs, strict=True)
                    ),
                ],
                dim=1,
            )
            products = products.mul_((2 * scale[:, None]).to(self.dtype))
            products = _add_product(products, (own @ own.transpose(1, 2)).to(self.dtype), rows)
            variance = products.mul_(rows).sum(dim=1).to(k.dtype) / own.shape[-1]
            variance.addcmul_(scale.square(), image.variance)
            # Rounding in bfloat16 may go below zero.
            factor = variance.clamp_(min=0).add_(norm.eps).rsqrt_().to(self.dtype)
            rows *= factor[:, None]
            scale *= factor
        side.vectors = vectors * norm.weight

    def _scores(
        self,
        x: Tensor,
        projection: nn.Linear,
        image: Tensor,
        code: Tensor | None,
        own: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """Scores of (P, H, T, d) and the projected image tokens, without what is the same for all: (P, H * T, K)."""
        rows, vectors, scale = own
        x = x * x.shape[-1] ** -0.5
        flat = _heads_first(x).to(self.dtype)
        scores = torch.bmm(flat, image)
        if code is not None:
            scores.unflatten(1, (len(x), -1)).mul_(scale[:, None].to(self.dtype))
            scores = _add_product(scores, flat, code)
        scores = _prompts_first(scores, len(x)).flatten(1, 2)
        if not vectors.shape[1]:
            return scores
        matrix = (x @ projection.weight.unflatten(0, (self.heads, -1))).flatten(1, 2) @ vectors.transpose(1, 2)
        return _add_product(scores, matrix.to(self.dtype), rows)

    def _split(self, x: Tensor) -> Tensor:
        """(P, T, H * d) -> (P, H, T, d)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _heads_first(x: Tensor) -> Tensor:
    """(P, H, T, d) -> (H, P * T, d), without a copy for one prompt."""
    return x.transpose(0, 1).flatten(1, 2)


def _prompts_first(x: Tensor, count: int) -> Tensor:
    """(H, P * T, K) -> (P, H, T, K)."""
    return x.unflatten(1, (count, -1)).transpose(0, 1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """(P, i, j) and (P, j, k) to (P, i, k); one without a batch, which in bfloat16 would copy what is transposed."""
    return (a[0] @ b[0])[None] if len(a) == 1 else torch.bmm(a, b)


def _add_product(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Add that product to x in place."""
    return x[0].addmm_(a[0], b[0])[None] if len(x) == 1 else x.baddbmm_(a, b)


def _chunks(count: int, like: Tensor) -> Iterator[slice]:
    """Some of `count` prompts at a time."""
    step = PROMPTS_ON_CPU if like.is_cpu else PROMPTS_ELSEWHERE
    return (slice(start, start + step) for start in range(0, count, step))


def _by_image(image_index: Tensor) -> list[Tensor]:
    """The numbers of the prompts of each image."""
    order = image_index.argsort(stable=True)
    return list(order.split(image_index[order].unique_consecutive(return_counts=True)[1].tolist()))


def _lines(h: int, w: int, like: Tensor) -> Iterator[slice]:
    """Some lines of an (h, w) grid at a time."""
    step = max(1, TOKENS_ON_CPU // w) if like.is_cpu else h
    return (slice(top, min(top + step, h)) for top in range(0, h, step))


def _number(numbers: Tensor) -> Tensor | slice:
    """For indexing: the same numbers, without a copy of what one number selects."""
    return slice(int(numbers), int(numbers) + 1) if len(numbers) == 1 else numbers
