"""The simulated user: a first point or box, then clicks where the answer is wrong.

Training samples at random, as in the paper (A); evaluation clicks at the deepest point (D.1). Letters: P prompts, (G,
G) the decoder's mask grid, whose cells are `cell` pixels of the input frame wide.
"""

import torch
from torch import Tensor

from opensam.prompts import BACKGROUND, FOREGROUND

BOX_NOISE = 0.1  # standard deviation of each coordinate over the box's side (paper, A)
BOX_NOISE_MAX = 20 / 1024  # bound of that noise over the side of the square: 20 px at 1024 (paper, A)


def sample_cells(region: Tensor, generator: torch.Generator) -> Tensor:
    """One cell per region, uniformly: (P, G, G) bool -> (P, 2) int64 as (x, y); an empty region gives any cell."""
    noise = torch.rand(region.shape, generator=generator, device=region.device)
    flat = torch.where(region, noise, noise - 1).flatten(1).argmax(dim=1)
    width = region.shape[-1]
    return torch.stack([flat % width, flat // width], dim=-1)


def sample_points(region: Tensor, cell: int, generator: torch.Generator) -> Tensor:
    """One pixel per region, uniformly: (P, G, G) bool -> (P, 2) float (x, y) in the input frame."""
    return _pixels(sample_cells(region, generator), cell, generator)


def jitter_boxes(boxes: Tensor, image_size: int, generator: torch.Generator, box_noise: float = BOX_NOISE) -> Tensor:
    """Boxes as a hasty user draws them: Gaussian noise on each side, at most 20 px at 1024, inside the square.

    Args:
        boxes: (P, 4) XYXY in the input frame.
        image_size: side of the square.
        generator: source of the noise.
        box_noise: its standard deviation over the side of the box.

    Returns:
        (P, 4) XYXY, corners in order.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes.shape, generator=generator, device=boxes.device) * sides * box_noise
    bound = BOX_NOISE_MAX * image_size
    moved = (boxes + noise.clamp(-bound, bound)).clamp(0, image_size - 1)
    return torch.cat([torch.minimum(moved[:, :2], moved[:, 2:]), torch.maximum(moved[:, :2], moved[:, 2:])], dim=1)


def sample_corrections(
    masks: Tensor, predictions: Tensor, cell: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One click per prompt, uniformly in the error region; where there is no error, uniformly in the mask.

    Args:
        masks: (P, G, G) bool, what the user wants.
        predictions: (P, G, G) bool, what the model answered.
        cell: pixels per cell.
        generator: source of the choice.

    Returns:
        Points (P, 2) float (x, y) in the input frame, and labels (P,): 1 where the mask was missed, else 0.
    """
    errors = masks ^ predictions
    errors = torch.where(errors.flatten(1).any(dim=1)[:, None, None], errors, masks)
    cells = sample_cells(errors, generator)
    wanted = masks[torch.arange(len(masks), device=masks.device), cells[:, 1], cells[:, 0]]
    return _pixels(cells, cell, generator), torch.where(wanted, FOREGROUND, BACKGROUND)


def _pixels(cells: Tensor, cell: int, generator: torch.Generator) -> Tensor:
    """A pixel of each cell, uniformly: (P, 2) int64 -> (P, 2) float (x, y) in the input frame."""
    inside = torch.randint(cell, cells.shape, generator=generator, device=cells.device)
    return (cells * cell + inside).float()
