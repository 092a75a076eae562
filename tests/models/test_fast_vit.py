"""The inference path of the ViT encoder against the plain one."""

import pytest
import torch
from torch import Tensor

from opensam.models import fast_vit
from opensam.models.fast_vit import FastImageEncoderViT
from opensam.models.layers import join_windows, split_windows
from opensam.models.vit import ImageEncoderViT, ViTConfig

# (side of the picture, side of the windows): 7 x 7 cells and padded windows; none padded; one window, mostly padding.
GRIDS = [(112, 3), (64, 2), (64, 6)]


def make(image_size: int, window_size: int) -> ImageEncoderViT:
    """An encoder in which every tensor is random and matters."""
    sizes = {"embed_dim": 24, "depth": 4, "num_heads": 3, "out_chans": 32}
    config = ViTConfig(**sizes, global_attn_indexes=(1, 3), image_size=image_size, window_size=window_size)
    encoder = ImageEncoderViT(config).eval().requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    for name, value in encoder.named_parameters():
        noise = torch.randn(value.shape, generator=rng)
        small = noise / value[0].numel() ** 0.5 if value.ndim > 1 else 0.2 * noise
        scale = "norm" in name or name.startswith(("neck.1", "neck.3"))
        value.copy_(1 + small if scale and name.endswith("weight") else small)
        if "rel_pos" in name:
            value.copy_(noise)
    return encoder


def pixels(encoder: ImageEncoderViT, count: int = 1) -> Tensor:
    side = 16 * encoder.pos_embed.shape[1]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=encoder.pos_embed.dtype)


@pytest.mark.parametrize(("image_size", "window_size"), GRIDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_the_embeddings_are_those_of_the_plain_encoder(
    image_size: int, window_size: int, dtype: torch.dtype, tolerance: float
) -> None:
    encoder = make(image_size, window_size).to(dtype)
    given = pixels(encoder, count=2)
    found, expected = FastImageEncoderViT(encoder, dtype)(given), encoder(given)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_nearly_the_same_in_float32(dtype: torch.dtype) -> None:
    encoder = make(112, 3)
    found, expected = FastImageEncoderViT(encoder, dtype)(pixels(encoder)), encoder(pixels(encoder))
    assert found.dtype == torch.float32
    assert 0 < (found - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("tile", [1, 7 * 49, 3 * 7 * 49, 10**6])
def test_tiles_and_bands_do_not_show(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make(112, 3).double()
    monkeypatch.setattr(fast_vit, "TILE", tile)
    monkeypatch.setattr(fast_vit, "BAND", 3)
    torch.testing.assert_close(FastImageEncoderViT(encoder, torch.float64)(pixels(encoder)), encoder(pixels(encoder)))


@pytest.mark.parametrize(("image_size", "window_size"), GRIDS)
def test_all_windows_and_all_heads_at_once_are_the_same(image_size: int, window_size: int) -> None:
    """What a GPU does, on a CPU."""
    encoder = make(image_size, window_size).double()
    fast = FastImageEncoderViT(encoder, torch.float64)
    x = torch.randn(fast.pos_embed.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    grid = (x.shape[0], x.shape[1])
    windows, everywhere = fast.blocks[0], fast.blocks[1]
    expected = join_windows(encoder.blocks[0].attn(split_windows(x[None], window_size)), grid)[0]
    torch.testing.assert_close(windows.proj(windows._in_windows(windows.qkv(x))), expected)
    found = everywhere.proj(everywhere._everywhere(x, len(x), everywhere.heads, 10**6))
    torch.testing.assert_close(found, encoder.blocks[1].attn(encoder.blocks[1].norm1(x[None]))[0])


def test_weights_of_the_same_type_are_shared_and_no_other_memory_is_held() -> None:
    encoder = make(112, 3)
    held = {value.data_ptr() for value in encoder.parameters()}
    own = [name for name, value in FastImageEncoderViT(encoder).named_buffers() if value.data_ptr() not in held]
    assert {name.split(".")[-1] for name in own} == {"rows", "columns"}


def test_no_gradients_are_kept() -> None:
    encoder = make(64, 2).requires_grad_(True)
    fast = FastImageEncoderViT(encoder)
    assert not fast(pixels(encoder).requires_grad_(True)).requires_grad
    assert not list(fast.parameters())


def test_pixels_stay_as_they_were() -> None:
    encoder = make(64, 2)
    given = pixels(encoder)
    before = given.clone()
    FastImageEncoderViT(encoder)(given)
    assert torch.equal(given, before)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_with_and_without_the_kernels_of_onednn_the_embeddings_are_the_same(
    capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make(112, 3)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    found = FastImageEncoderViT(encoder)(pixels(encoder))
    torch.testing.assert_close(found, encoder(pixels(encoder)), atol=1e-4, rtol=1e-4)
