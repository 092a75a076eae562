"""The graphs that a decoder is exported as, and their export.

    image.onnx   image_embeddings -> image tensors, once for each image
    prompt.onnx  prompts, grid, image tensors -> low_res_masks, iou_predictions
    paint.onnx   one prompt, grid, image tensors -> low_res_mask of its best candidate, iou_predictions, PROMPT_NAMES
    masks.onnx   PROMPT_NAMES, grid, the image tensor `upscaled` -> low_res_masks
    decoder.onnx and plain.onnx: the official contract, of the fast decoder and of the plain one

A person who clicks waits for one mask on the screen. So `paint` upscales the best candidate alone, one pixel in each
cell, and all 16 in cells near its edge; `masks` makes all candidates in full of what `paint` already knows. `attended`
has what they share.

Letters: as in `attended`; (rows, columns) the cells of the grid that the picture covers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.export.attended import Attend, Attended, ImageGraph, Upscale, embed_points
from opensam.models.fast_decoder import FastMaskDecoder
from opensam.models.prompt_encoder import EMBEDDING_STRIDE
from opensam.models.sam import Sam

# A cell is painted in full if its logit or a neighbour's has the other sign, or is nearer to zero than this.
MARGIN = 1.0
# So is every cell of which the centre is as near to a point, in pixels of the input frame.
NEAR = 1.5 * EMBEDDING_STRIDE
# The pixel of a cell that stands for it: (y, x) of the first upscaling, of the second, near the centre of the cell.
FIRST, SECOND = 3, 0
# Official: a point more than this many, padding counted, and the single mask comes before the three of ambiguity.
AMBIGUOUS = 2.5


class MasksGraph(nn.Module):
    """All candidates of P prompts in full, over the cells that the picture covers."""

    def __init__(self, decoder: FastMaskDecoder, side: int) -> None:
        super().__init__()
        self.upscale, self.side = Upscale(decoder), side

    def forward(
        self, rows: Tensor, matrix: Tensor, inverse_scale: Tensor, hyper: Tensor, grid: Tensor, upscaled: Tensor
    ) -> Tensor:
        """`Attended`, [rows, columns] and (K, 4 * C') -> low_res_masks (P, 4, 4 * rows, 4 * columns)."""
        lines, columns = grid[0].item(), grid[1].item()
        for length in (lines, columns):
            torch._check(length >= 1)
            torch._check(length <= self.side)
        square = (self.side, self.side)
        rows = rows.unflatten(-1, square)[..., :lines, :columns].flatten(-2)
        inverse_scale = inverse_scale.unflatten(-1, square)[..., :lines, :columns].flatten(-2)
        upscaled = upscaled.unflatten(0, square)[:lines, :columns].flatten(0, 1)
        masks = self.upscale(self.upscale.first(rows, matrix, inverse_scale, upscaled), hyper)
        return in_pixel_order(masks, lines, columns)


class PromptGraph(nn.Module):
    """P prompts to all of their candidates."""

    def __init__(self, sam: Sam, decoder: FastMaskDecoder) -> None:
        super().__init__()
        self.attend, self.masks = Attend(sam, decoder), MasksGraph(decoder, sam.image_size // EMBEDDING_STRIDE)

    def forward(
        self, point_coords: Tensor, point_labels: Tensor, grid: Tensor, image: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(P, N, 2) in the input frame, (P, N) with -1 for padding and 2, 3 for corners of a box, [rows, columns]."""
        attended, iou_predictions = self.attend(point_coords, point_labels, image)
        return self.masks(*attended, grid, image[-1]), iou_predictions


class PaintGraph(nn.Module):
    """One prompt to the mask of its best candidate, exact near its edge and one logit for each cell elsewhere."""

    def __init__(self, sam: Sam, decoder: FastMaskDecoder) -> None:
        super().__init__()
        self.attend, self.upscale = Attend(sam, decoder), Upscale(decoder, exact=False)
        self.side = sam.image_size // EMBEDDING_STRIDE

    def forward(
        self, point_coords: Tensor, point_labels: Tensor, grid: Tensor, image: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """As `PromptGraph` for P = 1 -> low_res_mask (1, 1, 4h, 4w), iou_predictions (1, 4), and `Attended`."""
        attended, iou_predictions = self.attend(point_coords, point_labels, image)
        single = torch.tensor([1000.0, 0.0, 0.0, 0.0])  # official
        best = (iou_predictions + (point_coords.shape[1] - AMBIGUOUS) * single).argmax(dim=1)
        of_best = attended._replace(hyper=attended.hyper[:, best[0]][:, None])
        cells = self._one_pixel(of_best, image[-1])
        active = self._near_edge(cells, point_coords, point_labels, grid).flatten().nonzero()[:, 0]
        fine = self.upscale(
            self.upscale.first(
                of_best.rows[..., active], of_best.matrix, of_best.inverse_scale[:, active], image[-1][active]
            ),
            of_best.hyper,
        )
        masks = cells.view(-1, 1).expand(-1, 16).index_put((active,), fine[0, :, :, 0])
        return in_pixel_order(masks[None, :, :, None], self.side, self.side), iou_predictions, *attended

    def _one_pixel(self, attended: Attended, upscaled: Tensor) -> Tensor:
        """The logit of one pixel of each cell: (1, 1, h, w)."""
        upscale, width = self.upscale, self.upscale.width
        part = slice(FIRST * width, (FIRST + 1) * width)
        x = attended.rows[0].transpose(0, 1) @ attended.matrix[0, :, part] + upscaled[:, part]
        x = x + attended.inverse_scale[0, :, None] * upscale.decoder.first_bias[part]
        x = upscale.gelu(upscale.norm.channels_last(x))
        channels = attended.hyper.shape[-1]
        part = slice(SECOND * channels, (SECOND + 1) * channels)
        x = upscale.gelu(F.linear(x, upscale.decoder.second_matrix[part], upscale.decoder.second_bias[part]))
        return (x @ attended.hyper[0, 0]).view(1, 1, self.side, self.side)

    def _near_edge(self, cells: Tensor, coords: Tensor, labels: Tensor, grid: Tensor) -> Tensor:
        """Cells (h, w) of the picture to upscale in full; at least one."""
        high, low = F.max_pool2d(cells, 3, 1, 1)[0, 0], -F.max_pool2d(-cells, 3, 1, 1)[0, 0]
        centre = (torch.arange(self.side) + 0.5) * EMBEDDING_STRIDE
        near = (coords[0, :, None] - centre[:, None]).abs() < NEAR  # (N, side, 2)
        near = near & (labels[0] >= 0)[:, None, None]
        around = (near[:, :, None, 1] & near[:, None, :, 0]).any(dim=0)
        place = torch.arange(self.side)
        inside = (place < grid[0])[:, None] & (place < grid[1])
        first = (place[:, None] + place) == 0
        return ((high > -MARGIN) & (low < MARGIN) | around) & inside | first


def in_pixel_order(masks: Tensor, lines: int, columns: int) -> Tensor:
    """(P, lines * columns, 16, masks), the 16 by (y, x) of both upscalings -> (P, masks, 4 * lines, 4 * columns)."""
    count = masks.shape[-1]
    cells = masks.reshape(-1, lines, columns, 2, 2, 2, 2, count)
    return cells.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(-1, count, 4 * lines, 4 * columns)
