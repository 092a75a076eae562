"""The mask decoder as weights for the web app, which does its arithmetic itself: `web/src/decoder`.

It is that of `models.fast_decoder`, whose docstrings say what the matrices are for.

Letters: C channels.
"""

import copy

from safetensors.torch import save
from torch import Tensor

from opensam.models.image_side import fold, fold_masks
from opensam.models.sam import Sam

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
    transformer, masks = decoder.transformer, fold_masks(decoder, encoder)
    parts: dict[str, dict[str, Tensor]] = {
        "prompt_encoder": encoder.state_dict(),
        "mask_decoder": decoder.state_dict(),
        "fold": fold(decoder) | {name: masks[name] for name in ("mask_outs", "mask_matrix")},
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
