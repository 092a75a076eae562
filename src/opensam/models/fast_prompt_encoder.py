"""The prompt encoder for inference, which leaves the last step of a mask to the fast decoder.

Letters: P prompts, M rows that a mask prompt starts with, (h, w) the grid of image embeddings.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models.prompt_encoder import PromptEncoder


class FastPromptEncoder(PromptEncoder):
    """A `PromptEncoder` for a `FastMaskDecoder` that was made with it.

    The dense embeddings of masks are (P, M, h, w) here: the channels before the last convolution, and one of ones. What
    they stand for is told in `image_side.fold_masks`. Everything else is as in the plain encoder.

    Args:
        encoder: its weights are copied.
        dtype: to compute in.
    """

    def __init__(self, encoder: PromptEncoder, dtype: torch.dtype = torch.float32) -> None:
        nn.Module.__init__(self)  # the parts are those of the copy
        self.embed_dim, self.image_size = encoder.embed_dim, encoder.image_size
        for name, part in copy.deepcopy(encoder).to(dtype).requires_grad_(False).eval().named_children():
            self.add_module(name, part)
        self._last_code: tuple[object, Tensor] | None = None

    def dense_pe(self, grid: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> Tensor:
        """See `PromptEncoder`. The same tensor for the same grid, which costs a click nothing; do not write to it."""
        matrix = self.pe_layer.get_buffer("positional_encoding_gaussian_matrix")
        key = grid, origin, matrix.device, matrix.dtype
        last = self._last_code
        if last is None or last[0] != key:
            last = self._last_code = key, super().dense_pe(grid, origin)
        return last[1]

    def _embed_masks(self, mask_input: Tensor) -> Tensor:
        return F.pad(self.mask_downscaling[:-1](mask_input), (0, 0, 0, 0, 0, 1), value=1.0)
