"""The side of the fast decoder (`fast_decoder`) that knows images and no prompts: its matrices, and what they give.

Letters: H heads, d channels per head, C channels, K = h * w image tokens, M rows that a mask prompt starts with.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from opensam.models.mask_decoder import MaskDecoder
from opensam.models.prompt_encoder import PromptEncoder
from opensam.models.two_way_transformer import TwoWayAttentionBlock, TwoWayTransformer


@dataclass(frozen=True)
class Read:
    """Of an image, for one attention of tokens to it; (H, d, K) each.

    Attributes:
        keys: of the image tokens.
        values: of the same.
        code: keys of the position code; None in the first layer, where `keys` have it in them.
    """

    keys: Tensor
    values: Tensor
    code: Tensor | None


@dataclass(frozen=True)
class Write:
    """Of an image, for one attention of it to tokens, and for the norm of the sum.

    Attributes:
        queries: (H, d, K).
        code: queries of the position code; None in the first layer, where `queries` have it in them.
        outs: for this and each earlier layer (H, d + 1, K), X times the output matrix of that layer.
        masks: (M, K), X times the vectors that the rows of mask prompts have here.
        variance: (K,), of X over its channels.
    """

    queries: Tensor
    code: Tensor | None
    outs: list[Tensor]
    masks: Tensor
    variance: Tensor


@dataclass(frozen=True)
class ImageSide:
    """What the decoder needs of an image.

    Attributes:
        embedding: (C, K), its image embedding.
        dense: (C, 1) or (C, K), what is added to that, which makes the image tokens.
        code: their position code (C, K) and its projections.
        reads: per layer, and for the final attention.
        writes: per layer.
        upscaled: (K, C), X after the last layer times the first upscaling.
    """

    embedding: Tensor
    dense: Tensor
    code: tuple[Tensor, Tensor]
    reads: list[Read]
    writes: list[Write]
    upscaled: Tensor

    def is_of(self, embedding: Tensor, dense: Tensor) -> bool:
        """Whether it was made of these, value for value."""
        return same(self.dense, dense) and same(self.embedding, embedding)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values on the same device."""
    return one.device == other.device and one.dtype == other.dtype and torch.equal(one, other)


@torch.no_grad()
def fold(decoder: MaskDecoder) -> dict[str, Tensor]:
    """Matrices of the image side, all in terms of the image tokens x of the first layer.

    Returns:
        image_matrix: rows for keys, values, queries and outs of each layer, and for keys and values of the final
            attention.
        code_matrix, code_bias: rows for keys and queries of each layer, and for keys of the final attention.
        constants: (layers + 1, C), what the image tokens of each level have in common.
        outs: (layers, H, d + 1, C), output matrices of the attentions of the image to tokens; the last row is for what
            is constant.
        upscaling_matrix: the first upscaling of X after the last layer.
        first_matrix, first_bias, second_matrix, second_bias: both upscalings, (4 * out, in) and (4 * out,). The mean
            that the norm after the first one takes away is taken away here.
    """
    layers, final = blocks(decoder.transformer), decoder.transformer.final_attn_token_to_image
    heads = final.num_heads
    eye = torch.eye(decoder.iou_token.embedding_dim, dtype=torch.float64, device=decoder.iou_token.weight.device)
    x, constant = eye, torch.zeros_like(eye[0])  # X = x @ image tokens
    image: list[Tensor] = []
    code, code_bias, constants, outs, through = [], [], [constant], [], []
    for layer in layers:
        read, write = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        key, value, query = (one.weight.double() for one in (read.k_proj, read.v_proj, write.q_proj))
        code += [key, query]
        code_bias += [torch.zeros_like(key[:, 0]), query @ constant + write.q_proj.bias.double()]
        shift = (write.out_proj.bias.double() + constant) / heads
        out = write.out_proj.weight.double().unflatten(1, (heads, -1)).permute(1, 2, 0)
        outs.append(torch.cat([out, shift.expand(heads, 1, -1)], dim=1))
        through.append(outs[-1].flatten(0, 1))
        centred = x - x.mean(dim=0)
        image += [key @ x, value @ x, query @ x, *(one @ centred for one in through)]
        weight, constant = layer.norm4.weight.double(), layer.norm4.bias.double()
        x = centred * weight[:, None]
        through = [(one - one.mean(dim=1, keepdim=True)) * weight for one in through]
        constants.append(constant)
    first, second = (cast("nn.ConvTranspose2d", decoder.output_upscaling[i]) for i in (0, 3))
    expand = first.weight.double().permute(2, 3, 1, 0).flatten(0, 1)  # (4, C', C)
    expand = (expand - expand.mean(dim=1, keepdim=True)).flatten(0, 1)
    bias = first.get_parameter("bias").double()
    image += [final.k_proj.weight.double() @ x, final.v_proj.weight.double() @ x]
    code.append(final.k_proj.weight.double())
    code_bias.append(torch.zeros_like(code[-1][:, 0]))
    return {
        "image_matrix": torch.cat(image),
        "code_matrix": torch.cat(code),
        "code_bias": torch.cat(code_bias),
        "constants": torch.stack(constants),
        "outs": torch.stack(outs),
        "upscaling_matrix": expand @ x,
        "first_matrix": expand,
        "first_bias": expand @ constant + (bias - bias.mean()).repeat(4),
        "second_matrix": second.weight.permute(2, 3, 1, 0).flatten(0, 2),
        "second_bias": second.get_parameter("bias").repeat(4),
    }


@torch.no_grad()
def fold_masks(decoder: MaskDecoder, encoder: PromptEncoder) -> dict[str, Tensor]:
    """Matrices for prompts with a mask, over the image side of prompts without one.

    The dense embedding of a mask is W m + b, m the channels before the last convolution, and without a mask it is one
    vector e. So a mask adds rows m and a row of ones, M in all, with the columns of W and b - e as their vectors.

    Returns:
        mask_outs: (layers, M, C), these vectors as each layer gets them.
        mask_matrix: (layers, M, C), their products with X in terms of the image tokens x of the first layer.
        no_mask: (C,), e.
    """
    last, no_mask = encoder.mask_downscaling[-1], encoder.no_mask_embed.weight[0].double().clone()
    matrix, bias = (last.get_parameter(name).double() for name in ("weight", "bias"))
    vectors = torch.cat([matrix.flatten(1).T, (bias - no_mask)[None]])
    x = torch.eye(len(bias), dtype=torch.float64, device=bias.device)
    outs, products = [], []
    for layer in blocks(decoder.transformer):
        centred, weight = x - x.mean(dim=0), layer.norm4.weight.double()
        outs.append(vectors)
        products.append(vectors @ centred)
        x = centred * weight[:, None]
        vectors = (vectors - vectors.mean(dim=1, keepdim=True)) * weight
    return {"mask_outs": torch.stack(outs), "mask_matrix": torch.stack(products), "no_mask": no_mask}


def blocks(transformer: TwoWayTransformer) -> list[TwoWayAttentionBlock]:
    """Its layers."""
    return [cast("TwoWayAttentionBlock", layer) for layer in transformer.layers]
