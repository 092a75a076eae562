import copy

import pytest
import torch
from torch import Tensor, nn

from opensam.models.lora import add_lora, merge_lora
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig

# (config, blocks with attention)
CONFIGS = {
    "vit": (ViTConfig(embed_dim=16, depth=2, num_heads=2, global_attn_indexes=(1,), image_size=64, window_size=3), 2),
    "tiny_vit": (
        TinyViTConfig(image_size=64, embed_dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), num_heads=(1, 2, 3, 4)),
        4,
    ),
}
every = pytest.mark.parametrize("kind", CONFIGS)


def make(kind: str) -> Sam:
    torch.manual_seed(0)
    return Sam(SamConfig(image_encoder=CONFIGS[kind][0])).double().eval()


def embed(sam: Sam) -> Tensor:
    return sam.encode(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def train(sam: Sam) -> None:
    """A step of gradient descent; the gradient of `a` is zero as long as `b` is."""
    parameters = [parameter for parameter in sam.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        embed(sam).square().sum().backward()
        optimizer.step()


@every
@pytest.mark.parametrize("whole", [True, False], ids=["model", "encoder"])
def test_adding_adapters_changes_no_output_and_leaves_only_them_to_train(kind: str, whole: bool) -> None:
    sam = make(kind)
    before = embed(sam)
    add_lora(sam if whole else sam.image_encoder, rank=3, alpha=6)
    assert torch.equal(embed(sam), before)
    trained = [name for name, parameter in sam.named_parameters() if parameter.requires_grad]
    inside = [name for name in trained if name.startswith("image_encoder.")]
    assert len(inside) == CONFIGS[kind][1] * 2 * 2  # qkv and proj, a and b
    assert all("parametrizations.weight.0." in name and (".qkv." in name or ".proj." in name) for name in inside)
    assert (len(trained) == len(inside)) is whole  # an adapted encoder leaves the decoder alone


@every
def test_training_moves_the_adapters_only_and_merging_keeps_the_output_under_official_keys(kind: str) -> None:
    sam = make(kind)
    official = {key: value.clone() for key, value in sam.state_dict().items()}
    before = embed(sam)
    add_lora(sam, rank=3, alpha=6)
    train(sam)
    after = embed(sam).detach()
    assert not torch.allclose(after, before)
    merged = copy.deepcopy(sam)
    merge_lora(merged)
    assert torch.allclose(embed(merged), after, rtol=1e-12, atol=1e-12)
    state_dict = merged.state_dict()
    assert {key: value.shape for key, value in state_dict.items()} == {k: v.shape for k, v in official.items()}
    changed = {key for key, value in official.items() if not torch.equal(state_dict[key], value)}
    assert len(changed) == CONFIGS[kind][1] * 2
    assert all(key.endswith((".qkv.weight", ".proj.weight")) for key in changed)
    fresh = make(kind)
    fresh.load_state_dict(state_dict)
    assert torch.equal(embed(fresh), embed(merged))
    assert torch.equal(embed(sam), after)  # the run goes on


def test_the_adapters_weight_is_alpha_over_rank() -> None:
    sam = make("vit")
    layer = sam.image_encoder.get_submodule("blocks.0.attn.proj")
    weight = layer.get_parameter("weight").clone()
    add_lora(sam, rank=2, alpha=3)
    adapter = layer.get_submodule("parametrizations.weight.0")
    nn.init.ones_(adapter.get_parameter("b"))
    merge_lora(sam)
    added = 1.5 * adapter.get_parameter("a").sum(dim=0).expand_as(weight)
    assert torch.allclose(layer.get_parameter("weight"), weight + added)


def test_what_cannot_take_adapters_is_refused() -> None:
    sam = make("vit")
    with pytest.raises(ValueError, match="rank of at least 1, got 0"):
        add_lora(sam, rank=0, alpha=1)
    with pytest.raises(ValueError, match="layers called qkv or proj, got a MaskDecoder"):
        add_lora(sam.mask_decoder, rank=1, alpha=1)
    assert sam.mask_decoder.iou_token.weight.requires_grad
    add_lora(sam, rank=1, alpha=1)
    with pytest.raises(ValueError, match="call merge_lora first"):
        add_lora(sam, rank=1, alpha=1)
