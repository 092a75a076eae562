"""The mask decoder as modules that can be exported: what it knows of an image, and what it does for a click.

It is the arithmetic of `models.fast_decoder`, without its loops over prompts and lines, and with prompts as the
official ONNX model takes them. A client runs `ImageSideGraph` once for a picture and `PromptSideGraph` for each click,
which is less than half of the work of the official decoder; `OfficialGraph` is both in one, for clients that know only
that.

Letters: P prompts, N points per prompt, T tokens per prompt, H heads, d channels per head, K image tokens, k of them
whose masks are wanted, R rows that prompts add to the image tokens so far, C masks.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models.fast_decoder import FastMaskDecoder
from opensam.models.image_side import blocks
from opensam.models.layers import LayerNorm2d
from opensam.models.mask_decoder import MaskDecoder
from opensam.models.prompt_encoder import EMBEDDING_STRIDE, PromptEncoder
from opensam.models.sam import Sam
from opensam.models.two_way_transformer import Attention, TwoWayAttentionBlock
from opensam.prompts import NOT_A_POINT

Read = tuple[Tensor, Tensor, Tensor | None]  # keys, values and code of `image_side.Read`
# Rows (P, R, K), vectors (P, R, channels) and scale (P, 1, K): the image tokens of a prompt are
# scale * (X + vectors^T rows) + constant. The rows of `fast_decoder` have the scale in them; without it, they need no
# pass over all of them for each layer.
Side = tuple[Tensor, Tensor, Tensor]


def image_side_names(layers: int) -> list[str]:
    """The tensors that lead from `ImageSideGraph` to `PromptSideGraph`, in their order; see `models.image_side`."""
    names = [f"{what}_{layer}" for layer in range(layers + 1) for what in ("keys", "values")]
    for layer in range(layers):
        names += [f"queries_{layer}", *(f"outs_{layer}_{earlier}" for earlier in range(layer + 1)), f"variance_{layer}"]
    return [*names, "upscaled"]


class ImageSideGraph(nn.Module):
    """What the decoder needs of one image, for any number of clicks without a mask, or for clicks with this mask."""

    position: Tensor

    def __init__(self, sam: Sam, decoder: FastMaskDecoder) -> None:
        super().__init__()
        self.prompt_encoder, self.decoder = sam.prompt_encoder, decoder
        self.register_buffer("position", _position(sam).flatten(1), persistent=False)

    def forward(self, image_embeddings: Tensor, mask_input: Tensor, has_mask_input: Tensor) -> tuple[Tensor, ...]:
        """Project one image.

        Args:
            image_embeddings: (1, 256, h, w).
            mask_input: (1, 1, 4h, 4w) logits, or anything of that shape.
            has_mask_input: (1,) 1 to use it, 0 not to.

        Returns:
            the tensors of `image_side_names`.
        """
        encoder = self.prompt_encoder
        dense = encoder.no_mask_embed.weight[0, :, None, None]
        dense = dense + has_mask_input * (encoder.mask_downscaling(mask_input)[0] - dense)
        image = self.decoder._image_side(image_embeddings[0].flatten(1), dense.flatten(1), self.position, keep=False)
        tensors = [tensor for read in image.reads for tensor in (read.keys, read.values)]
        for write in image.writes:
            tensors += [write.queries, *write.outs, write.variance]
        return (*tensors, image.upscaled)


class PromptSideGraph(nn.Module):
    """Masks of P prompts over the image that `ImageSideGraph` has projected.

    Args:
        sam: the model.
        decoder: its decoder.
        exact: False: GELU of the upscalings by tanh, which is off by 5e-4 at most. In WebAssembly the exact one takes
            a third of the time of a click, and this one a fourth of that.
    """

    codes: Tensor

    def __init__(self, sam: Sam, decoder: FastMaskDecoder, exact: bool = True) -> None:
        super().__init__()
        self.prompt_encoder, self.decoder, self.heads = sam.prompt_encoder, decoder, decoder.heads
        self.gelu = nn.GELU(approximate="none" if exact else "tanh")
        projected = torch.addmm(decoder.code_bias[:, None], decoder.code_matrix, _position(sam).flatten(1))
        codes = projected.unflatten(0, (-1, self.heads, decoder.sizes[0] // self.heads))
        self.register_buffer("codes", codes[2:], persistent=False)  # those of the first layer are in its tokens

    def forward(
        self, point_coords: Tensor, point_labels: Tensor, cells: Tensor, image: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            point_coords: (P, N, 2) (x, y) in the input frame, the corners of a box among them.
            point_labels: (P, N) float: 1 foreground, 0 background, 2 and 3 corners of a box, -1 padding, of which the
                model expects one where there is no box.
            cells: (k,) int64, numbers of the image tokens whose masks are wanted, row by row over the square.
            image: the tensors of `image_side_names`.

        Returns:
            cell_masks (P, C, 4, 4, k) logits, in each cell y before x, and iou_predictions (P, C); C = 4: first the
            mask of an unambiguous prompt, then three candidates.
        """
        decoder, layers = self.decoder, blocks(self.decoder.transformer)
        names = image_side_names(len(layers))
        given = dict(zip(names, image, strict=True))
        tokens = _tokens(self.prompt_encoder, self.decoder, point_coords, point_labels)
        queries, side, values = tokens, None, list[Tensor]()
        for number, layer in enumerate(layers):
            queries = layer.attend_to_tokens(queries, tokens)
            read = given[f"keys_{number}"], given[f"values_{number}"], self._code(2 * number)
            attended = self._read(layer.cross_attn_token_to_image, queries + tokens, read, side, number)
            queries = layer.norm2(queries + attended)
            queries = layer.norm3(queries + layer.mlp(queries))
            side = self._write(layer, queries, tokens, given, side, values)
        if side is None:
            raise ValueError("expected a transformer with layers, got one without; export another model")
        outputs = 1 + decoder.mask_tokens.num_embeddings  # what the points have become is of no use any more
        queries, tokens = queries[:, :outputs], tokens[:, :outputs]
        read = given[names[2 * len(layers)]], given[names[2 * len(layers) + 1]], self._code(2 * len(layers))
        final = decoder.transformer.final_attn_token_to_image
        attended = self._read(final, queries + tokens, read, side, len(layers))
        queries = decoder.transformer.norm_final_attn(queries + attended)
        networks = enumerate(decoder.output_hypernetworks_mlps, start=1)
        hyper = torch.stack([network(queries[:, number]) for number, network in networks], dim=1)
        masks = self._masks(given["upscaled"], side, hyper, cells)
        return masks, decoder.iou_prediction_head(queries[:, 0])

    def _read(
        self,
        attention: Attention,
        q: Tensor,
        image: tuple[Tensor, Tensor, Tensor | None],
        side: Side | None,
        level: int,
    ) -> Tensor:
        """Tokens attend to the image: (P, T, channels) -> (P, T, channels)."""
        keys, values, code = image
        weights = self._scores(self._split(attention.q_proj(q)), attention.k_proj, keys, code, side).softmax(dim=-1)
        if side is None:
            read = weights.unflatten(1, (self.heads, -1)) @ values.transpose(1, 2)
        else:
            rows, vectors, scale = side
            matrix = attention.v_proj.weight.unflatten(0, (self.heads, -1)).transpose(1, 2)
            weights = weights * scale
            added = (weights @ rows.transpose(1, 2)) @ vectors
            read = weights.unflatten(1, (self.heads, -1)) @ values.transpose(1, 2)
            read = read + added.unflatten(1, (self.heads, -1)) @ matrix
        return attention.out_proj(read.transpose(1, 2).flatten(2) + attention.v_proj(self.decoder.constants[level]))

    def _write(
        self,
        layer: TwoWayAttentionBlock,
        queries: Tensor,
        tokens: Tensor,
        image: dict[str, Tensor],
        side: Side | None,
        values: list[Tensor],
    ) -> Side:
        """The image attends to tokens and the sum is normed: the side after one layer more; `values` grows by one."""
        attention, norm, number = layer.cross_attn_image_to_token, layer.norm4, len(values)
        keys = self._split(attention.k_proj(queries + tokens))
        values.append(F.pad(self._split(attention.v_proj(queries)), (0, 1), value=1.0))
        scores = self._scores(keys, attention.q_proj, image[f"queries_{number}"], self._code(2 * number + 1), side)
        scores = scores.unflatten(1, (self.heads, -1))
        # Written out: over a middle axis the softmax of ONNX Runtime copies twice.
        powers = (scores - scores.amax(dim=2, keepdim=True)).exp()
        total = powers.sum(dim=2, keepdim=True)
        vectors = (values[-1] @ self.decoder.outs[number]).flatten(1, 2)
        if side is None:
            rows, before = (powers / total).flatten(1, 2), powers.new_ones(1, 1, 1)
        else:
            before = side[2]
            rows = torch.cat([side[0], (powers / (total * before[:, None])).flatten(1, 2)], dim=1)
            vectors = torch.cat([side[1], vectors], dim=1)
        vectors = vectors - vectors.mean(dim=-1, keepdim=True)
        outs = [image[f"outs_{number}_{earlier}"] for earlier in range(number + 1)]
        # The variance over the channels of X + vectors^T rows, both of mean zero.
        products = [(2 * value @ out).flatten(1, 2) for value, out in zip(values, outs, strict=True)]
        product = (torch.cat(products, dim=1) + (vectors @ vectors.transpose(1, 2)) @ rows) * rows
        # A product with ones: ONNX Runtime sums over the middle axis four times as slowly.
        summed = product.new_ones(1, product.shape[1]) @ product
        variance = before * before * (summed / vectors.shape[-1] + image[f"variance_{number}"])
        scale = before * (variance.clamp(min=0) + norm.eps).rsqrt()
        return rows, vectors * norm.weight, scale

    def _scores(
        self, x: Tensor, projection: nn.Linear, image: Tensor, code: Tensor | None, side: Side | None
    ) -> Tensor:
        """Scores of (P, H, T, d) and the projected image tokens, without what is the same for all: (P, H * T, K)."""
        x = x * x.shape[-1] ** -0.5
        scores = x @ image
        if side is None or code is None:  # the first layer
            return scores.flatten(1, 2)
        rows, vectors, scale = side
        matrix = (x @ projection.weight.unflatten(0, (self.heads, -1))).flatten(1, 2) @ vectors.transpose(1, 2)
        return (scores.flatten(1, 2) + matrix @ rows) * scale + (x @ code).flatten(1, 2)

    def _masks(self, upscaled: Tensor, side: Side, hyper: Tensor, cells: Tensor) -> Tensor:
        """Upscale the wanted image tokens and project them on (P, C, channels): (P, C, 4, 4, k)."""
        decoder, norm = self.decoder, cast("LayerNorm2d", self.decoder.output_upscaling[1])
        rows, vectors, scale = side
        # Whole rows of memory are picked; single columns take ONNX Runtime ten times as long.
        columns, scale = rows.transpose(1, 2).index_select(1, cells), scale.transpose(1, 2).index_select(1, cells)
        # Without the scale, which a norm takes away again, but for its epsilon: 1e-6 beside a variance. Channels last,
        # as the norm of ONNX Runtime wants them.
        x = columns @ (vectors @ decoder.first_matrix.transpose(0, 1)) + upscaled.index_select(0, cells)
        x = norm.channels_last((x + decoder.first_bias / scale).unflatten(-1, (4, -1)))
        x = self.gelu(F.linear(self.gelu(x), decoder.second_matrix, decoder.second_bias))
        x = x.unflatten(-1, (4, hyper.shape[-1])).flatten(1, 3)  # (P, k, y and x of both upscalings)
        masks = (x @ hyper.transpose(1, 2)).unflatten(1, (-1, 2, 2, 2, 2))
        return masks.permute(0, 6, 2, 4, 3, 5, 1).flatten(4, 5).flatten(2, 3)

    def _code(self, number: int) -> Tensor | None:
        """Projected position codes (H, d, K): keys and queries of each layer, keys of the final attention."""
        return self.codes[number - 2] if number > 1 else None

    def _split(self, x: Tensor) -> Tensor:
        """(P, T, H * d) -> (P, H, T, d)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class OfficialGraph(nn.Module):
    """The decoder with the inputs of the official ONNX model, up to its low-resolution masks."""

    def __init__(self, sam: Sam, decoder: FastMaskDecoder) -> None:
        super().__init__()
        self.image_side, self.prompt_side = ImageSideGraph(sam, decoder), PromptSideGraph(sam, decoder)

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Both sides for one prompt, or for several of one kind.

        Args:
            image_embeddings: (1, 256, h, w).
            point_coords: (P, N, 2); see `PromptSideGraph`.
            point_labels: (P, N) float.
            mask_input: (1, 1, 4h, 4w) logits.
            has_mask_input: (1,) 1 or 0.

        Returns:
            iou_predictions (P, 4) and low_res_masks (P, 4, 4h, 4w) logits.
        """
        image = self.image_side(image_embeddings, mask_input, has_mask_input)
        (h, w) = image_embeddings.shape[-2:]
        cells = torch.arange(h * w, device=image_embeddings.device)
        masks, iou_predictions = self.prompt_side(point_coords, point_labels, cells, list(image))
        return iou_predictions, to_pixels(masks, (h, w))


class PlainGraph(nn.Module):
    """The same with the plain decoder, as the official model has it: what the others are measured against."""

    position: Tensor

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.prompt_encoder, self.mask_decoder = sam.prompt_encoder, sam.mask_decoder
        self.register_buffer("position", _position(sam)[None], persistent=False)

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As `OfficialGraph.forward`."""
        decoder, encoder = self.mask_decoder, self.prompt_encoder
        dense = encoder.no_mask_embed.weight[0, :, None, None]
        dense = dense + has_mask_input * (encoder.mask_downscaling(mask_input) - dense)
        tokens = _tokens(encoder, decoder, point_coords, point_labels)
        image_tokens = (image_embeddings + dense).flatten(2).transpose(1, 2).expand(tokens.shape[0], -1, -1)
        position = self.position.flatten(2).transpose(1, 2)
        tokens, image_tokens = decoder.transformer(image_tokens, position, tokens)
        networks = enumerate(decoder.output_hypernetworks_mlps, start=1)
        hyper = torch.stack([network(tokens[:, number]) for number, network in networks], dim=1)
        (h, w) = image_embeddings.shape[-2:]
        masks = decoder._masks(image_tokens, None, hyper, (h, w))
        return decoder.iou_prediction_head(tokens[:, 0]), masks


def to_pixels(cell_masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Masks by cell (P, C, 4, 4, h * w) of a whole grid (h, w) -> (P, C, 4h, 4w)."""
    return cell_masks.unflatten(-1, grid).permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)


def _position(sam: Sam) -> Tensor:
    side = sam.image_size // EMBEDDING_STRIDE
    with torch.no_grad():
        code: Tensor = sam.prompt_encoder.dense_pe((side, side))[0]
    return code


def _tokens(encoder: PromptEncoder, decoder: MaskDecoder, coords: Tensor, labels: Tensor) -> Tensor:
    """The tokens of P prompts, outputs first; the labels 2 and 3, of a box's corners, are the last point embeddings."""
    position = encoder.pe_layer.encode((coords + 0.5) / encoder.image_size)
    kinds = labels[..., None]
    points = torch.where(kinds == NOT_A_POINT, encoder.not_a_point_embed.weight, position)
    for kind, embedding in enumerate(encoder.point_embeddings):
        points = torch.where(kinds == kind, position + embedding.get_parameter("weight"), points)
    outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    # Not len(coords): the exporter would take that for a constant.
    return torch.cat([outputs.expand(coords.shape[0], -1, -1), points], dim=1)
