"""The fast TinyViT gives the values of the plain one: to rounding in every type, on every grid."""

import copy

import pytest
import torch
from torch import nn

from opensam.models import fast_tiny_vit, fused
from opensam.models.fast_tiny_vit import FastTinyViT
from opensam.models.lora import add_lora
from opensam.models.tiny_vit import TinyViT, TinyViTConfig

SMALL = TinyViTConfig(embed_dims=(16, 32, 64, 64), depths=(2, 2, 2, 1), num_heads=(1, 1, 2, 2))


@pytest.fixture(scope="module")
def encoder() -> TinyViT:
    """Random where a fresh model is constant: norms, statistics, biases of attention and of linear layers."""
    torch.manual_seed(0)
    encoder = TinyViT(SMALL).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if parameter.ndim == 1 or "attention_biases" in name:
                parameter.add_(torch.randn_like(parameter) * 0.5)
        for norm in (module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 2)
    return encoder.double()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "where"),
    [
        (224, "grids that whole windows fill"),
        (64, "grids smaller than a window"),
        (128, "cut windows at two edges and in the corner"),
    ],
)
def test_it_is_the_plain_encoder_in_float64(encoder, size, where):
    pixels = torch.randn(2, 3, size, size, dtype=torch.float64)
    found, expected = FastTinyViT(encoder, torch.float64)(pixels), encoder(pixels)
    assert found.shape == expected.shape
    assert relative_error(found, expected) < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("values", [1, 500, 4_096, 20_000])
def test_the_size_of_the_strips_changes_nothing(encoder, values, monkeypatch):
    monkeypatch.setattr(fast_tiny_vit, "VALUES_AT_ONCE", values)
    pixels = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    assert relative_error(FastTinyViT(encoder, torch.float64)(pixels), encoder(pixels)) < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("has_kernels", [True, False])
def test_it_is_the_plain_encoder_in_float32_with_and_without_fused_kernels(encoder, has_kernels, monkeypatch):
    if not has_kernels:
        monkeypatch.setattr(fused, "_has_kernels", lambda _: False)
    single, pixels = copy.deepcopy(encoder).float(), torch.randn(1, 3, 128, 128)
    assert relative_error(FastTinyViT(single)(pixels), single(pixels)) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_and_its_embeddings_are_float32(encoder, dtype):
    pixels = torch.randn(1, 3, 64, 64)
    found = FastTinyViT(encoder, dtype)(pixels)
    assert found.dtype == torch.float32
    assert 1e-5 < relative_error(found.double(), encoder(pixels.double())) < 0.03


def test_it_holds_its_own_weights_and_nothing_to_train(encoder):
    changed, pixels = copy.deepcopy(encoder), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    fast = FastTinyViT(changed, torch.float64)
    before = fast(pixels)
    with torch.no_grad():
        for value in [*changed.parameters(), *changed.buffers()]:
            value.zero_()
    assert torch.equal(fast(pixels), before)
    assert not any(parameter.requires_grad for parameter in fast.parameters())


@torch.no_grad()
def test_adapters_are_part_of_the_weights(encoder):
    adapted, pixels = copy.deepcopy(encoder), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    add_lora(adapted, rank=2, alpha=2)
    for name, parameter in adapted.named_parameters():
        if name.endswith(".b"):
            parameter.normal_()
    expected = adapted(pixels)
    assert relative_error(FastTinyViT(adapted, torch.float64)(pixels), expected) < 1e-10
    assert relative_error(encoder(pixels), expected) > 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_it_is_the_plain_encoder_on_a_gpu(encoder):
    on_gpu, pixels = copy.deepcopy(encoder).cuda(), torch.randn(2, 3, 128, 128, dtype=torch.float64, device="cuda")
    assert relative_error(FastTinyViT(on_gpu, torch.float64)(pixels), on_gpu(pixels)) < 1e-10
    assert relative_error(FastTinyViT(on_gpu, torch.bfloat16)(pixels).double(), on_gpu(pixels)) < 0.03
