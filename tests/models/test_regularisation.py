import pytest
import torch
from torch import Tensor

from opensam.models.layers import DropPath
from opensam.models.regularisation import set_regularisation
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import MBConv, TinyViTBlock, TinyViTConfig
from opensam.models.vit import Block, ViTConfig
from opensam.prompts import Prompts

VIT = SamConfig(
    image_encoder=ViTConfig(
        embed_dim=32, depth=5, num_heads=2, global_attn_indexes=(1,), image_size=64, window_size=3, out_chans=32
    ),
    prompt_embed_dim=32,
    decoder_mlp_dim=32,
)
TINY = SamConfig(
    image_encoder=TinyViTConfig(
        image_size=64, embed_dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), num_heads=(1, 2, 3, 4), out_chans=32
    ),
    prompt_embed_dim=32,
    decoder_mlp_dim=32,
)
both = pytest.mark.parametrize("config", [VIT, TINY], ids=["vit", "tiny_vit"])


def make(config: SamConfig) -> Sam:
    torch.manual_seed(0)
    sam = Sam(config)
    for parameter in sam.image_encoder.parameters():  # MBConv starts as the identity
        parameter.data += 0.1 * torch.randn_like(parameter)
    return sam


def outputs(sam: Sam) -> tuple[Tensor, Tensor]:
    """Image embeddings and masks of a fixed picture."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 3, 64, 64, generator=generator)
    embeddings = sam.encode(pixels)
    prompts = Prompts(point_coords=torch.tensor([[[20.0, 30.0]]]), point_labels=torch.ones(1, 1, dtype=torch.long))
    return embeddings, sam.decode(embeddings.detach(), prompts, True)[0]


@both
def test_it_acts_in_training_only_and_leaves_no_trace_in_the_weights(config: SamConfig) -> None:
    sam, plain = make(config), make(config)
    set_regularisation(sam, drop_path=0.9, decoder_dropout=0.5)
    assert sam.state_dict().keys() == plain.state_dict().keys()
    assert sam.config == plain.config
    sam.eval()
    plain.eval()
    for got, expected in zip(outputs(sam), outputs(plain), strict=True):
        assert torch.equal(got, expected)
    # In training, with the statistics of batch norms held still.
    for module in sam.modules():
        module.training = not isinstance(module, torch.nn.BatchNorm2d)
    first, second = outputs(sam), outputs(sam)
    for a, b in zip(first, second, strict=True):
        assert not torch.allclose(a, b, atol=1e-4)


@both
def test_a_new_model_trains_without_it_and_zero_switches_it_off(config: SamConfig) -> None:
    sam, plain = make(config), make(config)
    set_regularisation(sam, drop_path=0.9, decoder_dropout=0.9)
    set_regularisation(sam)
    before = torch.get_rng_state()
    for got, expected in zip(outputs(sam), outputs(plain), strict=True):
        assert torch.equal(got, expected)
    assert torch.equal(torch.get_rng_state(), before)


@both
def test_the_rate_rises_linearly_over_the_blocks_in_their_order(config: SamConfig) -> None:
    sam = make(config)
    set_regularisation(sam, drop_path=0.4)
    blocks = [m for m in sam.image_encoder.modules() if isinstance(m, Block | MBConv | TinyViTBlock)]
    assert len(blocks) == 5
    assert [block.drop_path.rate for block in blocks] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@both
def test_a_block_whose_branches_are_dropped_passes_its_input_on(config: SamConfig) -> None:
    sam = make(config)
    blocks = [m for m in sam.image_encoder.modules() if isinstance(m, Block | TinyViTBlock)]
    block = blocks[-1]
    block.drop_path.rate = 1 - 1e-9  # no draw is below
    x = torch.randn(2, 4, 4, 32) if isinstance(block, Block) else torch.randn(2, 32, 4, 4)
    expected = x if isinstance(block, Block) else block.local_conv(x)
    assert torch.allclose(block(x), expected, atol=1e-6)


def test_a_branch_is_dropped_per_picture_and_keeps_its_mean() -> None:
    torch.manual_seed(0)
    path = DropPath()
    path.rate = 0.25
    dropped = path(torch.ones(20_000, 2, 3))
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert dropped.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("rates", [{"drop_path": 1.0}, {"drop_path": -0.1}, {"decoder_dropout": 1.5}])
def test_a_rate_that_is_none_is_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"expected {next(iter(rates))} in \[0, 1\), got"):
        set_regularisation(make(TINY), **rates)
