"""The decoder for browsers: what is in the file, and that its rows for masks stand for what they say."""

import copy

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from opensam.export.browser import browser_decoder
from opensam.models.image_side import fold
from opensam.models.sam import Sam, SamConfig
from opensam.models.vit import ViTConfig

CONFIG = SamConfig(
    image_encoder=ViTConfig(embed_dim=16, depth=1, num_heads=1, global_attn_indexes=(0,), image_size=64),
    decoder_depth=3,
    mask_threshold=0.5,
)
CELLS = 5


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(5)
    sam = Sam(CONFIG).eval().requires_grad_(False)
    for layer in sam.mask_decoder.transformer.layers:
        layer.norm4.weight.uniform_(0.5, 2)  # untrained, they are ones and could be forgotten unseen
    return sam


@pytest.fixture(scope="module")
def tensors(sam):
    return load(browser_decoder(sam))


def test_the_file_has_both_parts_as_they_are_and_the_folded_matrices(sam, tensors):
    parts = {name: value for name, value in sam.state_dict().items() if not name.startswith("image_encoder.")}
    expected = parts | {f"fold.{name}": value.float() for name, value in fold(sam.mask_decoder).items()}
    for name, value in expected.items():
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=0)
    assert tensors.keys() == expected.keys() | {"fold.mask_outs", "fold.mask_matrix"}
    assert {value.dtype for value in tensors.values()} == {torch.float32}


def test_the_file_says_what_a_reader_must_know_besides_and_can_be_read_in_place(sam, tmp_path):
    content = browser_decoder(sam)
    (tmp_path / "decoder.safetensors").write_bytes(content)
    with safe_open(tmp_path / "decoder.safetensors", "pt") as opened:
        metadata = opened.metadata()
    assert metadata == {"format": "2", "image_size": "64", "mask_threshold": "0.5", "heads": "8", "layers": "3"}
    assert int.from_bytes(content[:8], "little") % 4 == 0  # a Float32Array begins at multiples of four


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_of_another_type_gives_the_same_file_as_its_copy_in_float32(sam, dtype):
    other = copy.deepcopy(sam).to(dtype)
    given, expected = load(browser_decoder(other)), load(browser_decoder(copy.deepcopy(other).float()))
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(given[name], value, rtol=0, atol=0)
    assert {value.dtype for value in other.parameters()} == {dtype}  # the model itself stays as it was


def test_the_rows_for_masks_are_what_a_mask_adds_to_the_image_tokens_of_each_layer(sam, tensors):
    torch.manual_seed(6)
    encoder = sam.prompt_encoder
    image, mask = torch.randn(256, CELLS), torch.randn(16, CELLS)
    unmasked = image + encoder.no_mask_embed.weight.T
    masked = image + encoder.mask_downscaling[-1](mask[None, :, :, None])[0, :, :, 0]
    rows = torch.cat([mask, torch.ones(1, CELLS)])
    without, tokens = unmasked, masked
    layers = sam.mask_decoder.transformer.layers
    assert tensors["fold.mask_outs"].shape == tensors["fold.mask_matrix"].shape == (len(layers), 17, 256)
    for layer, outs, matrix in zip(layers, tensors["fold.mask_outs"], tensors["fold.mask_matrix"], strict=True):
        torch.testing.assert_close(without + outs.T @ rows, tokens, rtol=1e-4, atol=1e-4)
        centred = without - without.mean(dim=0)
        torch.testing.assert_close(matrix @ unmasked, outs @ centred, rtol=1e-4, atol=1e-4)
        without = centred * layer.norm4.weight[:, None]
        tokens = (tokens - tokens.mean(dim=0)) * layer.norm4.weight[:, None]
