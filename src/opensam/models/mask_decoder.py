"""Image and prompt embeddings to mask logits and predicted IoU.

Letters: B images, P prompts, T tokens, C masks per prompt, (h, w) the grid of image embeddings.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models.layers import MLP, LayerNorm2d
from opensam.models.two_way_transformer import TwoWayTransformer


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
        count, grid = len(sparse_prompt_embeddings), image_embeddings.shape[-2:]
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(count, -1, -1), sparse_prompt_embeddings], dim=1)
        images = image_embeddings[:1] if image_index is None else image_embeddings[image_index]
        image_tokens = (images + dense_prompt_embeddings).flatten(2).transpose(1, 2)
        tokens, image_tokens = self.transformer(image_tokens, image_pe.flatten(2).transpose(1, 2), tokens)

        chosen = range(1, self.mask_tokens.num_embeddings) if multimask_output else range(1)
        hyper = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in chosen], dim=1)
        low_res_masks = self._masks(image_tokens, hyper, (grid[0], grid[1]))
        iou_predictions = self.iou_prediction_head(tokens[:, 0])[:, chosen.start : chosen.stop]
        return low_res_masks, iou_predictions

    def _masks(self, image_tokens: Tensor, hyper: Tensor, grid: tuple[int, int]) -> Tensor:
        """Upscale (P, h * w, dim) image tokens four times and project them on (P, C, dim / 8) -> (P, C, 4h, 4w).

        A 2x2 transposed convolution with stride 2 turns each cell into its own 2x2 cells. So the whole upscaling is a
        matter of one image token, and only the finished masks are put in pixel order.
        """
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
