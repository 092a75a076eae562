import copy
from collections.abc import Iterator

import pydantic
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.models.mae import MaeConfig, MaskedAutoencoder, sine_cosine, visible_features
from opensam.models.recomputation import set_recomputation
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViT, TinyViTConfig, WindowAttention
from opensam.models.vit import ImageEncoderViT, ViTConfig

VIT = SamConfig(
    image_encoder=ViTConfig(embed_dim=32, depth=2, num_heads=2, global_attn_indexes=(1,), image_size=128, window_size=3)
)
TINY = SamConfig(image_encoder=TinyViTConfig(embed_dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), num_heads=(1, 2, 3, 4)))
METHODS = ("mae", "simmim", "spark")
every = pytest.mark.parametrize("method", METHODS)


def make_sam(method: str) -> Sam:
    torch.manual_seed(0)
    sam = Sam(VIT if method == "mae" else TINY)
    for name, parameter in sam.named_parameters():
        if "conv3.bn.weight" in name:  # MBConv starts as the identity
            parameter.data.fill_(1)
    return sam


def make(method: str) -> MaskedAutoencoder:
    sam = make_sam(method)
    config = MaeConfig(method=method, mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2)
    return MaskedAutoencoder(sam.image_encoder, config)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(side: int = 96, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=seeded(7))


def enlarged(hidden: Tensor, model: MaskedAutoencoder) -> Tensor:
    """(B, h, w) -> (B, 1, S, S)."""
    return hidden.repeat_interleave(model.patch_size, 1).repeat_interleave(model.patch_size, 2)[:, None]


@every
def test_the_generator_decides_and_every_picture_hides_the_same_share(method: str) -> None:
    model, pixels = make(method), pictures()
    grid = 96 // model.patch_size
    loss, guess, hidden = model(pixels, seeded())
    assert (guess.shape, hidden.shape) == (pixels.shape, (2, grid, grid))
    assert hidden.sum((1, 2)).tolist() == [round(0.5 * grid**2)] * 2
    assert not torch.equal(hidden[0], hidden[1])
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    again = model(pixels, seeded())
    assert torch.equal(again[0], loss)
    assert torch.equal(again[1], guess)
    assert not torch.equal(model(pixels, seeded(2))[2], hidden)


@every
def test_visible_pixels_alone_decide_the_guess(method: str) -> None:
    model, pixels = make(method), pictures()
    loss, guess, hidden = model(pixels, seeded())
    at_pixels = enlarged(hidden, model)
    other = torch.where(at_pixels, pixels + torch.randn_like(pixels), pixels)
    other_loss, other_guess, other_hidden = model(other, seeded())
    assert torch.equal(other_hidden, hidden)
    assert torch.allclose(other_guess, guess, atol=1e-6)
    assert other_loss != loss  # which is about hidden pixels
    visible = torch.where(at_pixels, pixels, pixels + torch.randn_like(pixels))
    assert not torch.allclose(
        model(visible, seeded())[1][at_pixels.expand_as(guess)], guess[at_pixels.expand_as(guess)]
    )


@every
def test_the_loss_is_that_of_the_paper_and_counts_hidden_patches_only(method: str) -> None:
    model, pixels = make(method), pictures()
    loss, guess, hidden = model(pixels, seeded())
    p, errors = model.patch_size, []
    for b, row, column in hidden.nonzero().tolist():
        window = (b, slice(None), slice(row * p, (row + 1) * p), slice(column * p, (column + 1) * p))
        if method == "simmim":
            errors.append((guess[window] - pixels[window]).abs().mean())
        else:
            target = (pixels[window] - pixels[window].mean()) / (pixels[window].var() + 1e-6).sqrt()
            errors.append((guess[window] - target).square().mean())
    assert float(loss.detach()) == pytest.approx(float(torch.stack(errors).detach().mean()), rel=1e-5)


def untouched(model: MaskedAutoencoder) -> Iterator[str]:
    """Parameters of the encoder that pre-training leaves as they are."""
    for name, _ in model.image_encoder.named_parameters():
        if (model.config.method != "simmim" and name.startswith("neck.")) or "rel_pos" in name:
            yield name


@every
def test_gradients_reach_all_that_pre_training_is_to_teach(method: str) -> None:
    model = make(method)
    model(pictures(), seeded())[0].backward()
    without = [name for name, p in model.image_encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == list(untouched(model))
    assert all(p.grad is not None and p.grad.any() for name, p in model.named_parameters() if "encoder" not in name)


@every
def test_it_learns_a_batch_by_heart(method: str) -> None:
    model = make(method)
    pixels = F.interpolate(torch.randn(2, 3, 4, 4, generator=seeded(7)), size=64, mode="bilinear")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss, _, _ = model(pixels, seeded())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses) < 0.8 * losses[0]


@every
def test_the_trained_encoder_is_the_image_encoder_of_a_sam(method: str) -> None:
    model = make(method)
    model(pictures(), seeded())
    sam = make_sam(method)
    prefixed = {k: v for k, v in model.state_dict().items() if k.startswith("image_encoder.")}
    assert prefixed.keys() == {key for key in sam.state_dict() if key.startswith("image_encoder.")}
    sam.image_encoder.load_state_dict(model.image_encoder.state_dict())
    pixels = pictures(128)
    model.eval()
    sam.eval()
    assert torch.equal(sam.encode(pixels), model.image_encoder(pixels))


@every
def test_recomputation_changes_no_gradient(method: str) -> None:
    plain = make(method)
    model = copy.deepcopy(plain)
    set_recomputation(model, True)
    for one in (plain, model):
        one(pictures(), seeded())[0].backward()
    for (name, got), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        if expected.grad is not None:
            assert got.grad is not None
            assert torch.allclose(got.grad, expected.grad, rtol=1e-4, atol=1e-7), name


@every
def test_it_runs_in_mixed_precision(method: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss, _, _ = make(method)(pictures(), seeded())
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()


# ---- ViT ---------------------------------------------------------------------------------------------------


def plain_vit(encoder: ImageEncoderViT, pixels: Tensor) -> Tensor:
    """A vision transformer as in every textbook, on the weights of our encoder: (B, 3, S, S) -> (B, N, D)."""
    x = F.conv2d(pixels, encoder.patch_embed.proj.weight, encoder.patch_embed.proj.bias, stride=16)
    x = x.flatten(2).transpose(1, 2) + encoder.pos_embed.flatten(1, 2)
    for block in encoder.blocks:
        attn, mlp = block.attn, block.mlp
        y = F.layer_norm(x, x.shape[-1:], block.norm1.weight, block.norm1.bias, 1e-6)
        y, _ = F.multi_head_attention_forward(
            *[y.transpose(0, 1)] * 3, x.shape[-1], attn.num_heads, attn.qkv.weight, attn.qkv.bias, None, None, False,
            0.0, attn.proj.weight, attn.proj.bias,
        )  # fmt: skip
        x = x + y.transpose(0, 1)
        y = F.layer_norm(x, x.shape[-1:], block.norm2.weight, block.norm2.bias, 1e-6)
        x = x + mlp.lin2(F.gelu(mlp.lin1(y)))
    return x


def test_all_tokens_of_a_vit_are_those_of_a_plain_one_whatever_its_windows_and_relative_positions() -> None:
    encoder = make("mae").image_encoder
    assert isinstance(encoder, ImageEncoderViT)
    for block in encoder.blocks:
        nn.init.normal_(block.attn.rel_pos_h)
    pixels = pictures(128)
    features = visible_features(encoder, pixels, torch.zeros(2, 8, 8, dtype=torch.bool))
    assert torch.allclose(features.flatten(1, 2), plain_vit(encoder, pixels), atol=1e-5)


def test_a_vit_leaves_hidden_patches_out() -> None:
    encoder = make("mae").image_encoder
    assert isinstance(encoder, ImageEncoderViT)
    seen: list[torch.Size] = []
    encoder.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    hidden = torch.zeros(2, 8, 8, dtype=torch.bool)
    hidden[0, 2:6], hidden[1, :, :4] = True, True
    features = visible_features(encoder, pictures(128), hidden)
    assert seen == [(2, 32, 32)]
    assert not features[hidden].any()
    assert features[~hidden].any(dim=-1).all()


def test_zero_positions_become_sines_and_trained_ones_stay() -> None:
    sam = make_sam("mae")
    encoder = sam.image_encoder
    assert isinstance(encoder, ImageEncoderViT)
    MaskedAutoencoder(encoder, MaeConfig(decoder_depth=1))
    code = encoder.pos_embed.detach().clone()
    assert torch.equal(code[0], sine_cosine(code[0]))
    distances = torch.cdist(code.view(1, 64, 32), code.view(1, 64, 32))[0] + torch.eye(64)
    assert distances.min() > 0.1  # no two places look alike
    encoder.pos_embed.data.fill_(3)
    MaskedAutoencoder(encoder, MaeConfig(decoder_depth=1))
    assert (encoder.pos_embed == 3).all()


def test_sines_and_cosines_of_the_row_then_of_the_column() -> None:
    code = sine_cosine(torch.empty(3, 4, 8, dtype=torch.float64))
    at = torch.tensor([2.0, 3.0], dtype=torch.float64)
    angles = torch.stack([at, at / 100], dim=1)  # 10000 ** (0 / 2), 10000 ** (1 / 2)
    expected = torch.cat([angles.sin(), angles.cos()], dim=1).flatten()
    assert torch.allclose(code[2, 3], expected, atol=1e-6)
    assert code.dtype == torch.float64


def test_a_small_picture_is_seen_at_every_place_of_the_square() -> None:
    model = make("mae")
    encoder = model.image_encoder
    assert isinstance(encoder, ImageEncoderViT)
    reached = torch.zeros(8, 8, dtype=torch.bool)
    for seed in range(40):
        encoder.pos_embed.grad = None
        model(pictures(64), seeded(seed))[0].backward()
        assert encoder.pos_embed.grad is not None
        now = encoder.pos_embed.grad[0].abs().sum(-1) > 0
        rows, columns = now.nonzero().unbind(1)
        assert int(rows.max() - rows.min()) < 4
        assert int(columns.max() - columns.min()) < 4
        reached |= now
    assert reached.all()


# ---- TinyViT -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_with_nothing_hidden_the_sparse_tiny_vit_is_the_dense_one(training: bool) -> None:
    encoder = make("spark").image_encoder.train(training)
    assert isinstance(encoder, TinyViT)
    other, pixels = copy.deepcopy(encoder), pictures()
    nothing = torch.zeros(2, 3, 3, dtype=torch.bool)
    assert torch.allclose(encoder.features(pixels, nothing), other.features(pixels), atol=1e-4)
    for (name, got), expected in zip(encoder.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(got.double(), expected.double(), rtol=1e-3, atol=1e-6), name


def test_hidden_cells_stay_empty_and_count_nowhere() -> None:
    encoder = make("spark").image_encoder
    assert isinstance(encoder, TinyViT)
    hidden = torch.zeros(1, 3, 3, dtype=torch.bool)
    hidden[0, :, 1:] = True  # windows as a whole, too
    pixels = pictures(count=1)
    empty: list[bool] = []

    def look(module: nn.Module, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        for x in (inputs[0], output):
            left = x.shape[-1] // 3
            empty.append(not x[..., left:].any() and bool(x[..., :left].any()))

    for module in encoder.modules():
        if type(module).__name__ in ("ConvBn", "TinyViTBlock", "MBConv", "Stage"):
            module.register_forward_hook(look)
    features = encoder.features(pixels, hidden)
    assert len(empty) > 20
    assert all(empty)
    assert features.isfinite().all()
    # Statistics are those of the visible cells.
    first = encoder.patch_embed.seq[0]
    blank = pixels.clone()
    blank[..., 32:] = 0
    mean = F.conv2d(blank, first.c.weight, stride=2, padding=1)[..., :16].mean((0, 2, 3))
    assert torch.allclose(first.bn.running_mean, 0.1 * mean, atol=1e-6)


def test_hidden_cells_are_no_keys_of_attention() -> None:
    torch.manual_seed(0)
    attention = WindowAttention(8, 2, 3)
    windows, hidden = torch.randn(2, 9, 8), torch.zeros(2, 9, dtype=torch.bool)
    hidden[0, 4:], hidden[1] = True, True
    other = torch.where(hidden[..., None], torch.randn(2, 9, 8), windows)
    assert torch.allclose(attention(other, hidden)[0, :4], attention(windows, hidden)[0, :4], atol=1e-6)
    assert not torch.allclose(attention(other)[0, :4], attention(windows)[0, :4], atol=1e-3)
    assert attention(windows, hidden).isfinite().all()  # a whole window may be hidden


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "shape", "sentence"),
    [
        ("mae", (1, 3, 72, 72), "S a multiple of 16 from 32 up to 128, got"),
        ("mae", (1, 3, 144, 144), "up to 128"),
        ("mae", (1, 3, 64, 32), "S, S"),
        ("spark", (1, 3, 48, 48), r"S a multiple of 32 from 64, got \(1, 3, 48, 48\)"),
        ("simmim", (1, 3, 32, 32), "from 64"),
        ("spark", (1, 1, 64, 64), "B, 3, S, S"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(method: str, shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(method)(torch.zeros(shape), seeded())


@every
def test_a_method_for_another_encoder_is_refused(method: str) -> None:
    encoder = make_sam("spark" if method == "mae" else "mae").image_encoder
    with pytest.raises(ValueError, match=f"by {method}, got a .*; use mae for a ViT"):
        MaskedAutoencoder(encoder, MaeConfig(method=method))


@pytest.mark.parametrize("ratio", [0, 1, 1.5])
def test_a_ratio_that_hides_nothing_or_all_is_refused(ratio: float) -> None:
    with pytest.raises(pydantic.ValidationError, match="mask_ratio"):
        MaeConfig(mask_ratio=ratio)
