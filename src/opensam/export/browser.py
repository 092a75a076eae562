"""The mask decoder as weights for the web app, which does its arithmetic itself: `web/decoder`.

It is that of `models.fast_decoder`, with one thing more. There each prompt with a mask is an image of its own. Here
what a mask adds to the image tokens is 17 rows more: the 16 channels m that `mask_downscaling` has before its last
convolution, and a one for the bias, times that convolution's columns. So a mask leaves all else of an image as it is.

Letters: C channels.
"""

import copy

import torch
from safetensors.torch import save
from torch import Tensor

from opensam.models.image_side import blocks, fold
from opensam.models.prompt_encoder import PromptEncoder
from opensam.models.sam import Sam
from opensam.models.two_way_transformer import TwoWayTransformer

FORMAT = 2
"""Of the tensors; the app reads this one."""


def browser_decoder(sam: Sam) -> bytes:
    """The prompt encoder and the mask decoder as a safetensors file.

    Its metadata, all text: format, image_size, mask_threshold, heads and layers. Its tensors, all float32, row by row:

        prompt_encoder.*, mask_decoder.*   as in `Sam.state_dict()`
        fold.*                             the matrices of `models.image_side.fold`
        fold.mask_outs                     (layers, 17, C), what a mask adds to image tokens, in the terms of each layer
        fold.mask_matrix                   (layers, 17, C), from image tokens to the products of mask_outs with what the
                                           tokens are in that layer, centred

    Args:
        sam: of any type, on any device; nothing of its image encoder is in the file.
    """
    encoder, decoder = copy.deepcopy(sam.prompt_encoder).cpu().float(), copy.deepcopy(sam.mask_decoder).cpu().float()
    transformer = decoder.transformer
    parts: dict[str, dict[str, Tensor]] = {
        "prompt_encoder": encoder.state_dict(),
        "mask_decoder": decoder.state_dict(),
        "fold": {**fold(decoder), **_mask_rows(encoder, transformer)},
    }
    tensors = {
        f"{part}.{name}": value.detach().float().contiguous()
        for part, values in parts.items()
        for name, value in values.items()
    }
    facts = {
        "format": FORMAT,
        "image_size": sam.image_size,
        "mask_threshold": sam.mask_threshold,
        "heads": transformer.final_attn_token_to_image.num_heads,
        "layers": len(transformer.layers),
    }
    return save(tensors, {name: str(value) for name, value in facts.items()})


@torch.no_grad()
def _mask_rows(encoder: PromptEncoder, transformer: TwoWayTransformer) -> dict[str, Tensor]:
    """`fold.mask_outs` and `fold.mask_matrix`: `image_side.fold` does the same for what prompts add."""
    last = encoder.mask_downscaling[-1]
    columns, bias = (last.get_parameter(name).double() for name in ("weight", "bias"))
    # Without a mask the image tokens have no_mask_embed in them, and with one they have not.
    rows = torch.cat([columns.flatten(1).T, bias[None] - encoder.no_mask_embed.weight.double()])
    x = torch.eye(len(bias), dtype=torch.float64)
    outs, matrices = [], []
    for layer in blocks(transformer):
        centred, weight = x - x.mean(dim=0), layer.norm4.weight.double()
        outs.append(rows)
        matrices.append(rows @ centred)
        x = centred * weight[:, None]
        rows = (rows - rows.mean(dim=1, keepdim=True)) * weight
    return {"mask_outs": torch.stack(outs), "mask_matrix": torch.stack(matrices)}
