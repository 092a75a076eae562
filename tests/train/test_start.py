"""A start in which attention compares positions by the way from one to the other, wherever they lie."""

import pytest
import torch
from torch import Tensor

from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.two_way_transformer import Attention
from opensam.train.start import HEADS, order_positions


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    sam = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=512)))
    order_positions(sam)
    return sam


def compare(sam: Sam, query: tuple[float, float], key: tuple[float, float]) -> Tensor:
    """The logit of every ordered head between two places (x, y) in [0, 1]."""
    attention = sam.mask_decoder.transformer.final_attn_token_to_image
    places = sam.prompt_encoder.pe_layer.encode(torch.tensor([query, key]))
    q, k = attention.q_proj(places[0]).view(8, -1), attention.k_proj(places[1]).view(8, -1)
    return (q * k).sum(dim=1)[: len(HEADS)]


def test_only_the_way_from_one_place_to_the_other_counts(sam: Sam) -> None:
    here, there = compare(sam, (0.3, 0.4), (0.25, 0.42)), compare(sam, (0.8, 0.7), (0.75, 0.72))
    assert torch.allclose(here, there, atol=1e-3)


def test_heads_tell_nearness_and_sides(sam: Sam) -> None:
    for step in (0.02, 0.05, 0.2):
        same, right = compare(sam, (0.5, 0.5), (0.5, 0.5)), compare(sam, (0.5 + step, 0.5), (0.5, 0.5))
        below = compare(sam, (0.5, 0.5 + step), (0.5, 0.5))
        assert (same[:2] > right[:2]).all()
        assert (same[:2] > below[:2]).all()
        assert (right[2] > 1, right[3] < -1) == (True, True), "of the query beside the key"
        assert (below[4] > 1, below[5] < -1) == (True, True)
        assert right[4:].abs().max() < 1e-3
        assert below[2:4].abs().max() < 1e-3


def test_every_cross_attention_is_ordered_and_no_self_attention(sam: Sam) -> None:
    torch.manual_seed(0)
    before = Sam(sam.config)
    changed = {
        name
        for (name, module), other in zip(
            sam.mask_decoder.transformer.named_modules(), before.mask_decoder.transformer.modules(), strict=True
        )
        if isinstance(module, Attention)
        and isinstance(other, Attention)
        and not torch.equal(module.q_proj.weight, other.q_proj.weight)
    }
    crossing = {f"layers.{i}.cross_attn_{way}" for i in (0, 1) for way in ("token_to_image", "image_to_token")}
    assert changed == crossing | {"final_attn_token_to_image"}


def test_a_crop_has_the_positions_of_its_place(sam: Sam) -> None:
    whole, crop = sam.prompt_encoder.dense_pe((32, 32)), sam.prompt_encoder.dense_pe((4, 6), origin=(3, 20))
    assert torch.allclose(whole[..., 3:7, 20:26], crop, atol=1e-5)
