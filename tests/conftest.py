"""What many tests share."""

from collections.abc import Callable

import pytest
import torch

from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig

MakeSam = Callable[[int], Sam]


def build_sam(seed: int) -> Sam:
    """A small untrained model whose masks are neither empty nor full.

    In float64, so that results can be compared exactly.
    """
    torch.manual_seed(seed)
    encoder = TinyViTConfig(image_size=256, embed_dims=(16, 32, 64, 64), depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2))
    sam = Sam(SamConfig(image_encoder=encoder)).double().eval()
    with torch.no_grad():
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            list(mlp.parameters())[-2].mul_(300)  # spread the logits as training does
    return sam


@pytest.fixture(scope="session")
def sam() -> Sam:
    """A small model that many tests share; not to be modified."""
    return build_sam(0)


@pytest.fixture(scope="session")
def make_sam() -> MakeSam:
    """Builds small models to modify: `make_sam(seed)`; seed 0 gives the weights of `sam`."""
    return build_sam
