"""Losses of promptable segmentation.

Letters: P prompts, C masks per prompt, (G, G) the decoder's mask grid. Targets are coverages: how much of a cell the
mask covers, in [0, 1]. With targets of 0 and 1 these are the usual losses; fractions teach where inside a cell
the border runs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Mean focal loss of each mask: (P, C, G, G), (P, C, G, G) -> (P, C).

    alpha and gamma are those of SAM 2's code; the paper does not state them.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probabilities = logits.sigmoid()
    miss = probabilities * (1 - targets) + (1 - probabilities) * targets
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return (weight * miss**gamma * entropy).flatten(2).mean(dim=2)


def cross_entropy_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of each mask: (P, C, G, G), (P, C, G, G) -> (P, C)."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").flatten(2).mean(dim=2)


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - dice of each mask, with +1 on both sides of the fraction: (P, C, G, G), (P, C, G, G) -> (P, C)."""
    probabilities, targets = logits.sigmoid().flatten(2), targets.flatten(2)
    overlap = 2 * (probabilities * targets).sum(dim=2)
    return 1 - (overlap + 1) / (probabilities.sum(dim=2) + targets.sum(dim=2) + 1)


def coverage_iou(masks: Tensor, targets: Tensor) -> Tensor:
    """IoU of binary masks with coverages: (P, C, G, G) bool, (P, 1, G, G) -> (P, C)."""
    filled = masks.to(targets.dtype)
    overlap = (filled * targets).flatten(2).sum(dim=2)
    union = filled.flatten(2).sum(dim=2) + targets.flatten(2).sum(dim=2) - overlap
    return overlap / union.clamp(min=1e-6)


def grouping_loss(image_embeddings: Tensor, targets: Tensor, image_index: Tensor, sharpness: float = 8.0) -> Tensor:
    """How badly embeddings tell the cells of a mask from the others: a teacher for an encoder that starts from nothing.

    Cells are compared with the mean embedding of the mask by cosine; a similarity of 0.5 is the border.

    Args:
        image_embeddings: (B, D, h, w).
        targets: (P, G, G) coverages, G a multiple of h.
        image_index: (P,).
        sharpness: logits per unit of cosine similarity.

    Returns:
        Mean binary cross-entropy, a scalar.
    """
    cells = F.normalize(image_embeddings.float(), dim=1).flatten(2)[image_index]  # (P, D, h * w)
    h, w = image_embeddings.shape[-2:]
    members = F.adaptive_avg_pool2d(targets[:, None], (h, w)).flatten(1)  # (P, h * w)
    prototypes = F.normalize(torch.einsum("pdk,pk->pd", cells, members), dim=1)
    similarity = torch.einsum("pdk,pd->pk", cells, prototypes)
    return F.binary_cross_entropy_with_logits(sharpness * (similarity - 0.5), members)
