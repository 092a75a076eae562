"""What many tests share."""

import pytest
import torch

from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig


def make_sam(seed: int = 0) -> Sam:
    """A small untrained model whose masks are neither empty nor full.

    In float64, so that results can be compared exactly.
    """
    torch.manual_seed(seed)
    sam = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=256))).double().eval()
    with torch.no_grad():
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            list(mlp.parameters())[-2].mul_(300)  # spread the logits as training does
    return sam


@pytest.fixture(scope="session")
def sam() -> Sam:
    """See `make_sam`; not to be modified."""
    return make_sam()
