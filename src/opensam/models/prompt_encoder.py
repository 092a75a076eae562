"""Prompts to embeddings: random Fourier positions for points and boxes, convolutions for masks.

Letters: P prompts, N points per prompt, T sparse tokens per prompt, (h, w) the grid of image embeddings.
"""

import math

import torch
from torch import Tensor, nn

from opensam.models.layers import LayerNorm2d
from opensam.prompts import BACKGROUND, FOREGROUND, NOT_A_POINT, Prompts

EMBEDDING_STRIDE = 16  # pixels per cell of the image embeddings, in every official model


class PositionEmbeddingRandom(nn.Module):
    """Sine and cosine of random projections of a position in [0, 1] x [0, 1]."""

    def __init__(self, num_pos_feats: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_pos_feats))

    def encode(self, positions: Tensor) -> Tensor:
        """(..., 2) positions as (x, y) in [0, 1] -> (..., 2 * num_pos_feats)."""
        matrix: Tensor = self.get_buffer("positional_encoding_gaussian_matrix")
        centred = 2 * positions.to(matrix.dtype) - 1
        # Written out instead of a matrix product: mixed precision would round the angles of a product.
        angles = 2 * math.pi * (centred[..., :1] * matrix[0] + centred[..., 1:] * matrix[1])
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(self, grid: tuple[int, int], origin: tuple[int, int], side: float) -> Tensor:
        """The code of the cell centres of an (h, w) grid: (2 * num_pos_feats, h, w).

        Args:
            grid: (h, w).
            origin: (row, column) of its first cell in the square.
            side: cells along one side of the square.
        """
        h, w = grid
        matrix = self.get_buffer("positional_encoding_gaussian_matrix")
        y = (torch.arange(h, device=matrix.device, dtype=matrix.dtype) + (origin[0] + 0.5)) / side
        x = (torch.arange(w, device=matrix.device, dtype=matrix.dtype) + (origin[1] + 0.5)) / side
        # The angle of a cell is a sum of one of its row and one of its column, so h + w sines do for h * w cells.
        across = 2 * math.pi * (2 * x - 1) * matrix[0][:, None, None]
        down = 2 * math.pi * (2 * y - 1)[:, None] * matrix[1][:, None, None]
        sines = across.sin() * down.cos() + across.cos() * down.sin()
        cosines = across.cos() * down.cos() - across.sin() * down.sin()
        return torch.cat([sines, cosines])


class PromptEncoder(nn.Module):
    """Sparse embeddings for points and boxes, dense embeddings for masks.

    Args:
        embed_dim: width of every embedding.
        image_size: side of the model's square in pixels; point coordinates are divided by it.
        mask_in_chans: hidden channels for mask input (16 in the official model).
    """

    def __init__(self, embed_dim: int, image_size: int, mask_in_chans: int = 16) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.image_size = image_size
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, 2, stride=2),
            LayerNorm2d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, 2, stride=2),
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def dense_pe(self, grid: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> Tensor:
        """The position code (1, embed_dim, h, w) of an (h, w) grid of image embeddings whose first cell is `origin`."""
        positions: Tensor = self.pe_layer(grid, origin, self.image_size / EMBEDDING_STRIDE)
        return positions[None]

    def forward(self, prompts: Prompts, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Embed P prompts for an (h, w) grid of image embeddings.

        Returns:
            sparse_prompt_embeddings (P, T, embed_dim), T = 2 per box plus N points (plus one padding point when there
            is no box, as in the official code), and dense_prompt_embeddings (P, embed_dim, h, w).
        """
        tokens = []
        if prompts.point_coords is not None and prompts.point_labels is not None:
            tokens.append(self._embed_points(prompts.point_coords, prompts.point_labels, pad=prompts.boxes is None))
        if prompts.boxes is not None:
            tokens.append(self._embed_boxes(prompts.boxes))
        if tokens:
            sparse = torch.cat(tokens, dim=1)
        else:
            sparse = self.no_mask_embed.weight.new_zeros(prompts.count, 0, self.embed_dim)
        if prompts.mask_input is None:
            dense = self.no_mask_embed.weight.view(1, -1, 1, 1).expand(prompts.count, -1, *grid)
        else:
            dense = self._embed_masks(prompts.mask_input.to(self.no_mask_embed.weight.dtype))
        return sparse, dense

    def _embed_masks(self, mask_input: Tensor) -> Tensor:
        dense: Tensor = self.mask_downscaling(mask_input)
        return dense

    def _embed_points(self, coords: Tensor, labels: Tensor, pad: bool) -> Tensor:
        coords = coords + 0.5  # from pixel index to pixel centre
        if pad:
            coords = torch.cat([coords, coords.new_zeros(len(coords), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), NOT_A_POINT)], dim=1)
        position = self.pe_layer.encode(coords / self.image_size)
        kinds = labels[..., None]
        embedded = torch.where(kinds == NOT_A_POINT, self.not_a_point_embed.weight, position)
        background, foreground, *_ = self._label_embeddings()
        embedded = torch.where(kinds == BACKGROUND, position + background, embedded)
        return torch.where(kinds == FOREGROUND, position + foreground, embedded)

    def _embed_boxes(self, boxes: Tensor) -> Tensor:
        corners = (boxes + 0.5).view(-1, 2, 2)
        return self.pe_layer.encode(corners / self.image_size) + torch.cat(self._label_embeddings()[2:])

    def _label_embeddings(self) -> list[Tensor]:
        """(1, embed_dim) each: background, foreground, top-left corner of a box, bottom-right corner."""
        return [embedding.get_parameter("weight") for embedding in self.point_embeddings]
