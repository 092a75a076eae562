"""The mask decoder as graphs for ONNX: what the fast decoder does (`models/fast_decoder`), traceable and without loops.

One image goes through `ImageGraph` once. Its tensors, by the names of `image_names`, are inputs of all that follows:

    image_embeddings --ImageGraph--> image tensors --PromptGraph--> low_res_masks, iou_predictions
                                                   --PaintGraph---> one mask at once, iou_predictions, PROMPT_NAMES
                                     image tensors, PROMPT_NAMES --MasksGraph--> low_res_masks

A person who clicks waits for one mask on the screen, so `PaintGraph` decodes the best candidate alone, and upscales
only cells near its edge. `MasksGraph` makes all candidates of what `PaintGraph` already knows, in full.

Here the image tokens of a prompt are scale * (X + vectors^T rows) + constant: the rows are not scaled themselves, as
they are in `fast_decoder`, which spares a pass over them for each layer.

Letters: P prompts, N points, T tokens, H heads, d channels per head, C channels, K = h * w image tokens, M rows.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models.fast_decoder import FastMaskDecoder
from opensam.models.image_side import Read, Write, blocks
from opensam.models.layers import LayerNorm2d
from opensam.models.prompt_encoder import PromptEncoder
from opensam.models.sam import Sam
from opensam.models.two_way_transformer import Attention, TwoWayAttentionBlock
from opensam.prompts import NOT_A_POINT

PROMPT_NAMES = ("rows", "matrix", "inverse_scale", "hyper")
# A cell is upscaled for painting if a logit of it or of a neighbour is on the other side of zero, or nearer than this.
MARGIN = 1.0
# Pixels of the input frame around a prompt in which every cell is upscaled for painting.
NEAR = 32


class Attended(NamedTuple):
    """P prompts whose tokens have seen the image.

    Attributes:
        rows: (P, M, K).
        matrix: (P, M, 4 * C'), what the first upscaling makes of the vectors.
        inverse_scale: (P, K).
        hyper: (P, 4, C'').
    """

    rows: Tensor
    matrix: Tensor
    inverse_scale: Tensor
    hyper: Tensor


class State(NamedTuple):
    """What a layer leaves to the next one: rows (P, M, K), vectors (P, M, C), scale (P, K); see the head of this file."""

    rows: Tensor
    vectors: Tensor
    scale: Tensor


def image_names(layers: int = 2) -> list[str]:
    """Names of the tensors of an image side for a decoder of so many layers, in the order of `ImageGraph`."""
    names = []
    for number in range(layers):
        codes = ["key_code", "query_code"] if number else []
        own = ["keys", "values", "queries", *codes, *(f"outs_{i}" for i in range(number + 1)), "variance"]
        names += [f"layer_{number}_{name}" for name in own]
    return [*names, "final_keys", "final_values", "final_key_code", "upscaled"]


class ImageGraph(nn.Module):
    """image_embeddings (1, C, h, w) -> the image side without a mask prompt, as `image_names`."""

    def __init__(self, sam: Sam, decoder: FastMaskDecoder) -> None:
        super().__init__()
        self.prompt_encoder, self.decoder = sam.prompt_encoder, decoder

    def forward(self, image_embeddings: Tensor) -> list[Tensor]:
        """One image."""
        no_mask = self.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        return self.of_tokens(image_embeddings + no_mask)

    def of_tokens(self, embeddings: Tensor) -> list[Tensor]:
        """Image embeddings with their dense prompt embedding (1, C, h, w)."""
        position = self.prompt_encoder.dense_pe((embeddings.shape[-2], embeddings.shape[-1]))
        code = position[0].flatten(1)
        projected = torch.addmm(self.decoder.code_bias[:, None], self.decoder.code_matrix, code)
        side = self.decoder.project(embeddings[0].flatten(1), (code, projected))
        tensors: list[Tensor] = []
        for read, write in zip(side.reads, side.writes, strict=False):
            codes = [code for code in (read.code, write.code) if code is not None]
            tensors += [read.keys, read.values, write.queries, *codes, *write.outs, write.variance]
        last = side.reads[-1]
        return [*tensors, last.keys, last.values, cast("Tensor", last.code), side.upscaled.transpose(0, 1)]


class Attend(nn.Module):
    """Prompts over the tensors of an image side: everything but the masks."""

    def __init__(self, sam: Sam, decoder: FastMaskDecoder) -> None:
        super().__init__()
        self.prompt_encoder, self.decoder = sam.prompt_encoder, decoder

    def forward(self, point_coords: Tensor, point_labels: Tensor, image: list[Tensor]) -> tuple[Attended, Tensor]:
        """(P, N, 2) in the input frame, (P, N) and `image_names` -> `Attended` and iou_predictions (P, 4)."""
        decoder, prompts = self.decoder, embed_points(self.prompt_encoder, point_coords, point_labels)
        outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        # Not len(prompts), which would make a constant of P.
        tokens = torch.cat([outputs.expand(prompts.shape[0], -1, -1), prompts], dim=1)
        layers, queries = blocks(decoder.transformer), tokens
        reads, writes = self._sides(image, len(layers))
        state, values = None, list[Tensor]()
        for number, (layer, read, write) in enumerate(zip(layers, reads, writes, strict=False)):
            queries = layer.attend_to_tokens(queries, tokens)
            constant = decoder.constants[number]
            attended = self._read(layer.cross_attn_token_to_image, queries + tokens, read, state, constant)
            queries = layer.norm2(queries + attended)
            queries = layer.norm3(queries + layer.mlp(queries))
            state = self._write(layer, queries + tokens, queries, write, state, values)
        if state is None:
            raise ValueError("expected a decoder with at least one layer, got none; give another model")
        # Nobody asks what the tokens of the prompts have become.
        count, final = outputs.shape[0], decoder.transformer.final_attn_token_to_image
        queries, tokens = queries[:, :count], tokens[:, :count]
        attended = self._read(final, queries + tokens, reads[-1], state, decoder.constants[-1])
        queries = decoder.transformer.norm_final_attn(queries + attended)
        networks = enumerate(decoder.output_hypernetworks_mlps, start=1)
        hyper = torch.stack([network(queries[:, number]) for number, network in networks], dim=1)
        matrix = state.vectors @ decoder.first_matrix.transpose(0, 1)
        attended_prompts = Attended(state.rows, matrix, 1 / state.scale, hyper)
        return attended_prompts, decoder.iou_prediction_head(queries[:, 0])

    @staticmethod
    def _sides(image: list[Tensor], layers: int) -> tuple[list[Read], list[Write]]:
        """`image_names` as what the layers, and the final attention, read and write."""
        named, reads, writes = dict(zip(image_names(layers), image, strict=True)), [], []
        for number in range(layers):
            name = f"layer_{number}"
            reads.append(Read(named[f"{name}_keys"], named[f"{name}_values"], named.get(f"{name}_key_code")))
            outs = [named[f"{name}_outs_{i}"] for i in range(number + 1)]
            code, variance = named.get(f"{name}_query_code"), named[f"{name}_variance"]
            writes.append(Write(named[f"{name}_queries"], code, outs, variance))
        reads.append(Read(named["final_keys"], named["final_values"], named["final_key_code"]))
        return reads, writes

    def _read(self, attention: Attention, q: Tensor, image: Read, state: State | None, constant: Tensor) -> Tensor:
        """Tokens attend to the image: (P, T, C) -> (P, T, C)."""
        queries = self._split(attention.q_proj(q))
        weights = self._scores(queries, attention.k_proj, image.keys, image.code, state).softmax(dim=-1)
        if state is None:
            read = weights @ image.values.transpose(1, 2)
        else:
            weights = weights * state.scale[:, None, None]
            added = weights.flatten(1, 2) @ state.rows.transpose(1, 2) @ state.vectors
            matrix = attention.v_proj.weight.unflatten(0, (self.decoder.heads, -1)).transpose(1, 2)  # (H, C, d)
            read = weights @ image.values.transpose(1, 2) + added.unflatten(1, (self.decoder.heads, -1)) @ matrix
        return attention.out_proj(read.transpose(1, 2).flatten(2) + attention.v_proj(constant))

    def _write(
        self,
        layer: TwoWayAttentionBlock,
        k: Tensor,
        v: Tensor,
        image: Write,
        state: State | None,
        values: list[Tensor],
    ) -> State:
        """The image attends to tokens (P, T, C) and the sum is normed; `values` grows by those of this layer."""
        attention, norm, number = layer.cross_attn_image_to_token, layer.norm4, len(values)
        keys = self._split(attention.k_proj(k))
        values.append(F.pad(self._split(attention.v_proj(v)), (0, 1), value=1.0))
        vectors = (values[-1] @ self.decoder.outs[number]).flatten(1, 2)
        scores = self._scores(keys, attention.q_proj, image.queries, image.code, state)
        # Written out: a softmax over another axis than the last is two copies more in onnxruntime.
        powers = (scores - scores.amax(dim=2, keepdim=True)).exp()
        total = powers.sum(dim=2, keepdim=True)
        if state is None:
            rows = (powers / total).flatten(1, 2)
        else:
            rows = (powers / (total * state.scale[:, None, None])).flatten(1, 2)
            vectors, rows = torch.cat([state.vectors, vectors], dim=1), torch.cat([state.rows, rows], dim=1)
        vectors = vectors - vectors.mean(dim=-1, keepdim=True)
        # The variance over the channels of X + vectors^T rows, both of mean zero.
        products = [(2 * one @ out).flatten(1, 2) for one, out in zip(values, image.outs, strict=True)]
        product = (torch.cat(products, dim=1) + vectors @ vectors.transpose(1, 2) @ rows) * rows
        # As a product with ones, which is four times as fast in onnxruntime as a sum over this axis.
        mean = torch.full_like(vectors[:, :1, 0:1], 1 / vectors.shape[-1]).expand(-1, -1, rows.shape[1])
        variance = (mean @ product)[:, 0] + image.variance
        before = torch.ones_like(variance) if state is None else state.scale
        scale = before * ((before.square() * variance).clamp(min=0) + norm.eps).rsqrt()
        return State(rows, vectors * norm.weight, scale)

    def _scores(
        self, x: Tensor, projection: nn.Linear, image: Tensor, code: Tensor | None, state: State | None
    ) -> Tensor:
        """Scores of (P, H, T, d) and projected image tokens, without what is the same for all: (P, H, T, K)."""
        x = x * x.shape[-1] ** -0.5
        scores = x @ image
        if state is None or code is None:
            return scores
        matrix = (x @ projection.weight.unflatten(0, (self.decoder.heads, -1))).flatten(1, 2)
        added = (matrix @ state.vectors.transpose(1, 2) @ state.rows).unflatten(1, (self.decoder.heads, -1))
        return (scores + added) * state.scale[:, None, None] + x @ code

    def _split(self, x: Tensor) -> Tensor:
        """(P, T, H * d) -> (P, H, T, d)."""
        return x.unflatten(-1, (self.decoder.heads, -1)).transpose(1, 2)


class Upscale(nn.Module):
    """The upscalings of image tokens, and their products with hypernetworks, channels last.

    Args:
        decoder: its weights.
        exact: False: GELU by tanh, off by 5e-4 at most and in WebAssembly several times as fast.
    """

    def __init__(self, decoder: FastMaskDecoder, exact: bool = True) -> None:
        super().__init__()
        self.gelu = nn.GELU(approximate="none" if exact else "tanh")
        self.decoder, norm = decoder, cast("LayerNorm2d", decoder.output_upscaling[1])
        self.norm, self.eps = norm, norm.eps
        self.width = norm.weight.shape[0]

    def forward(self, x: Tensor, hyper: Tensor) -> Tensor:
        """(P, k, 4 * C'), before norm, and (P, masks, C'') -> (P, k, 16, masks), (y, x) of both upscalings."""
        x = self.gelu(self.norm.channels_last(x.unflatten(-1, (4, self.width))))
        x = self.gelu(F.linear(x, self.decoder.second_matrix, self.decoder.second_bias))
        x = x.unflatten(-1, (4, hyper.shape[-1])).flatten(2, 3)
        return (x.flatten(1, 2) @ hyper.transpose(1, 2)).unflatten(1, (-1, 16))

    def first(self, rows: Tensor, matrix: Tensor, inverse_scale: Tensor, upscaled: Tensor) -> Tensor:
        """The first upscaling, over the scale: (P, M, k), (P, M, 4 * C'), (P, k) and (k, 4 * C') -> (P, k, 4 * C').

        The norm that follows sees no scale, but for its epsilon: 1e-6 beside a variance.
        """
        return rows.transpose(1, 2) @ matrix + upscaled + inverse_scale[..., None] * self.decoder.first_bias


def embed_points(encoder: PromptEncoder, coords: Tensor, labels: Tensor) -> Tensor:
    """The sparse embeddings of points with labels -1, 0, 1 and corners of boxes with 2, 3: (P, N, C).

    Nothing is padded: who has no box adds the point (0, 0) of label -1.
    """
    position, kinds = encoder.pe_layer.encode((coords + 0.5) / encoder.image_size), labels[..., None]
    embedded = torch.where(kinds == NOT_A_POINT, encoder.not_a_point_embed.weight, position)
    for kind, embedding in enumerate(encoder.point_embeddings):
        embedded = torch.where(kinds == kind, position + embedding.get_parameter("weight"), embedded)
    return embedded
