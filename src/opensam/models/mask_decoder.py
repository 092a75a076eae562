"""Image and prompt embeddings to mask logits and predicted IoU.

Letters: B images, P prompts, T tokens, C masks per prompt, (h, w) the grid of image embeddings.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models.layers import MLP, LayerNorm2d
from opensam.models.two_way_transformer import TwoWayTransformer


@dataclass(frozen=True)
class Attended:
    """P prompts whose tokens have seen the image: their predicted IoU is known, and their masks are one step away.

    That step is about half of the work, and who filters by predicted IoU spares it for most prompts.

    Attributes:
        iou_predictions: (P, C), not bounded to [0, 1].
        mask_tokens: (P, C, dim).
        image_tokens: (P, h * w, dim), or what stands for them in a decoder that never makes them.
        grid: (h, w).
        outputs: which mask tokens of the decoder the C masks come from.
    """

    iou_predictions: Tensor
    mask_tokens: Tensor
    image_tokens: Any
    grid: tuple[int, int]
    outputs: range


class MaskDecoder(nn.Module):
    """Decode masks from tokens that attend to an image.

    Args:
        transformer_dim: channels of the embeddings.
        transformer: the two-way transformer.
        num_multimask_outputs: masks for an ambiguous prompt; one more token serves unambiguous prompts.
        iou_head_depth: layers of the head that predicts IoU.
        iou_head_hidden_dim: its width.
    """

    def __init__(
        self,
        *,
        transformer_dim: int,
        transformer: TwoWayTransformer,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        dim, num_tokens = transformer_dim, num_multimask_outputs + 1
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(num_tokens, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(dim, dim, dim // 8, 3) for _ in range(num_tokens))
        self.iou_prediction_head = MLP(dim, iou_head_hidden_dim, num_tokens, iou_head_depth)

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        image_index: Tensor | None,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Masks of P prompts over B images.

        Args:
            image_embeddings: (B, dim, h, w).
            image_pe: (1, dim, h, w).
            sparse_prompt_embeddings: (P, T, dim).
            dense_prompt_embeddings: (P, dim, h, w).
            image_index: (P,) which image each prompt belongs to; None: the first one.
            multimask_output: True for the 3 masks of an ambiguous prompt, False for the single-mask token.

        Returns:
            low_res_masks (P, C, 4h, 4w) logits and iou_predictions (P, C), C = 3 or 1; predicted IoU is not bounded.
        """
        attended = self.attend(
            image_embeddings,
            image_pe,
            sparse_prompt_embeddings,
            dense_prompt_embeddings,
            image_index,
            multimask_output,
        )
        return self.masks(attended), attended.iou_predictions

    def attend(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        image_index: Tensor | None,
        multimask_output: bool,
    ) -> Attended:
        """The first half of `forward`, with its arguments: everything but the masks."""
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        output_tokens = output_tokens.expand(len(sparse_prompt_embeddings), -1, -1)
        tokens = torch.cat([output_tokens, sparse_prompt_embeddings], dim=1)
        tokens, image_tokens = self._attend(tokens, image_embeddings, image_pe, dense_prompt_embeddings, image_index)
        outputs = range(1, self.mask_tokens.num_embeddings) if multimask_output else range(1)
        return Attended(
            iou_predictions=self.iou_prediction_head(tokens[:, 0])[:, outputs.start : outputs.stop],
            mask_tokens=tokens[:, 1 + outputs.start : 1 + outputs.stop],
            image_tokens=image_tokens,
            grid=(image_embeddings.shape[-2], image_embeddings.shape[-1]),
            outputs=outputs,
        )

    def masks(self, attended: Attended, chosen: Tensor | None = None) -> Tensor:
        """The second half of `forward`.

        Args:
            attended: what `attend` gave for P prompts.
            chosen: (K,) int64, for which of them; None: for all.

        Returns:
            low_res_masks (K, C, 4h, 4w) logits.
        """
        mask_tokens = attended.mask_tokens if chosen is None else attended.mask_tokens[chosen]
        networks = [self.output_hypernetworks_mlps[i] for i in attended.outputs]
        hyper = torch.stack([network(mask_tokens[:, i]) for i, network in enumerate(networks)], dim=1)
        return self._masks(attended.image_tokens, chosen, hyper, attended.grid)

    def _attend(
        self,
        tokens: Tensor,
        image_embeddings: Tensor,
        image_pe: Tensor,
        dense_prompt_embeddings: Tensor,
        image_index: Tensor | None,
    ) -> tuple[Tensor, Any]:
        """All tokens (P, T, dim) of P prompts -> what they are once they have seen the image, and `image_tokens`."""
        images = image_embeddings[:1] if image_index is None else image_embeddings[image_index]
        image_tokens = (images + dense_prompt_embeddings).flatten(2).transpose(1, 2)
        tokens, image_tokens = self.transformer(image_tokens, image_pe.flatten(2).transpose(1, 2), tokens)
        return tokens, image_tokens

    def _masks(self, image_tokens: Any, chosen: Tensor | None, hyper: Tensor, grid: tuple[int, int]) -> Tensor:
        """Upscale image tokens of K chosen prompts four times and project them on (K, C, dim / 8) -> (K, C, 4h, 4w).

        A 2x2 transposed convolution with stride 2 turns each cell into its own 2x2 cells. So the whole upscaling is a
        matter of one image token, and only the finished masks are put in pixel order.
        """
        image_tokens = image_tokens if chosen is None else image_tokens[chosen]
        first, norm, _, second, _ = self.output_upscaling
        if not isinstance(norm, LayerNorm2d):
            raise TypeError(f"expected a LayerNorm2d after the first upscaling, got {type(norm).__name__}")
        x = F.gelu(norm.channels_last(_expand_cells(first, image_tokens)))  # (P, h * w, 4, dim / 4)
        x = F.gelu(_expand_cells(second, x))  # (P, h * w, 4, 4, dim / 8)
        masks = x.flatten(1, 3) @ hyper.transpose(1, 2)  # (P, h * w * 16, C)
        (count, _, outputs), (h, w) = masks.shape, grid
        cells = masks.view(count, h, w, 2, 2, 2, 2, outputs)  # y, x, then the (y, x) of both upscalings
        return cells.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(count, outputs, 4 * h, 4 * w)


def _expand_cells(layer: nn.Module, x: Tensor) -> Tensor:
    """A 2x2, stride 2 transposed convolution on channels-last cells: (..., C) -> (..., 4, C')."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")  # (C, C', 2, 2), (C',)
    matrix = weight.permute(2, 3, 1, 0).flatten(0, 2)
    return F.linear(x, matrix, bias.repeat(4)).unflatten(-1, (4, -1))
