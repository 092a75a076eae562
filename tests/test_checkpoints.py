import argparse
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from opensam.models.checkpoints import (
    CheckpointError,
    infer_config,
    load_encoder,
    load_into,
    official_to_transformers,
    read,
    read_state_dict,
    save,
    save_encoder,
    transformers_to_official,
    with_imagenet_head,
)
from opensam.models.layouts import mae_to_official
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig

VIT = SamConfig(
    image_encoder=ViTConfig(
        embed_dim=24,
        depth=4,
        num_heads=3,
        global_attn_indexes=(1, 3),
        image_size=80,
        window_size=3,
        out_chans=32,
        mlp_ratio=2,
    ),
    prompt_embed_dim=32,
    decoder_depth=3,
    decoder_mlp_dim=48,
    iou_head_depth=4,
    iou_head_hidden_dim=40,
)
TINY = SamConfig(
    image_encoder=TinyViTConfig(
        embed_dims=(8, 16, 24, 32), depths=(1, 2, 3, 1), num_heads=(2, 2, 3, 4), window_sizes=(7, 5, 6, 3), out_chans=32
    ),
    prompt_embed_dim=32,
    decoder_mlp_dim=48,
)


def make(config: SamConfig = VIT, name: str = "") -> Sam:
    """A small model, no two of whose tensors are alike."""
    torch.manual_seed(0)
    sam = Sam(config, name).eval()
    for value in sam.state_dict().values():
        if value.is_floating_point():
            value.normal_()
    return sam


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    return make().state_dict()


# ---- what can be read --------------------------------------------------------------------------------------


def in_module(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in state_dict.items()}


WRAPPERS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "plain": lambda weights: weights,
    "DistributedDataParallel": in_module,
    "compiled": lambda weights: {f"_orig_mod.{key}": value for key, value in weights.items()},
    "beside other things": lambda weights: {"model": weights, "epoch": 3, "optimizer": {"state": {}, "lr": 0.1}},
    "both": lambda weights: {"state_dict": in_module(weights)},
    "transformers": official_to_transformers,
    "half": lambda weights: {key: value.half().float().half() for key, value in weights.items()},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "old pickle"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_torch_file_is_read(official: dict[str, Tensor], wrapper: str, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"  # the ending does not matter
    torch.save(WRAPPERS[wrapper](official), path, _use_new_zipfile_serialization=not legacy)
    expected = {k: v.half().float() for k, v in official.items()} if wrapper == "half" else official
    assert same(read_state_dict(path), expected)


def test_plain_safetensors_are_read(official: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(official_to_transformers(official), tmp_path / "weights.pt")
    checkpoint = read(tmp_path / "weights.pt")
    assert same(checkpoint.state_dict, official)
    assert (checkpoint.config, checkpoint.name) == (None, "")


def test_mobile_sams_classifier_is_dropped_and_can_be_put_back(tmp_path: Path) -> None:
    weights = make(TINY).state_dict()
    full = with_imagenet_head(weights)
    assert {key: tuple(full[key].shape) for key in full.keys() - weights.keys()} == {
        "image_encoder.norm_head.weight": (32,),
        "image_encoder.norm_head.bias": (32,),
        "image_encoder.head.weight": (1000, 32),
        "image_encoder.head.bias": (1000,),
    }
    torch.save(full, tmp_path / "mobile_sam.pt")
    assert same(read_state_dict(tmp_path / "mobile_sam.pt"), weights)


@pytest.mark.parametrize("weights_file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("heads", [None, 4, 8])
def test_a_transformers_folder_is_read(
    official: dict[str, Tensor], weights_file: str, heads: int | None, tmp_path: Path
) -> None:
    (save_file if weights_file.endswith("safetensors") else torch.save)(
        official_to_transformers(official), tmp_path / weights_file
    )
    if heads is not None:
        (tmp_path / "config.json").write_text(json.dumps({"mask_decoder_config": {"num_attention_heads": heads}}))
    checkpoint = read(tmp_path)
    assert same(checkpoint.state_dict, official)
    assert checkpoint.config == VIT.model_copy(update={"decoder_heads": heads or 8})


@pytest.mark.parametrize("config", [VIT, TINY], ids=["vit", "tiny_vit"])
def test_shapes_say_which_model_it_is(config: SamConfig) -> None:
    assert infer_config(make(config).state_dict()) == config


def test_a_vit_without_windows_is_recognised() -> None:
    encoder = VIT.image_encoder.model_copy(update={"global_attn_indexes": (0, 1, 2, 3), "window_size": 5})
    config = VIT.model_copy(update={"image_encoder": encoder})
    assert infer_config(make(config).state_dict()) == config


# ---- keys --------------------------------------------------------------------------------------------------


def test_transformers_keys_there_and_back(official: dict[str, Tensor]) -> None:
    there = official_to_transformers(official)
    assert same(transformers_to_official(there), official)
    assert there.keys().isdisjoint(k for k in official if "norm" in k or "neck" in k)
    # as stored by transformers, which writes tied tensors once
    del there["prompt_encoder.shared_embedding.positional_embedding"]
    assert same(transformers_to_official(there), official)


def test_transformers_has_no_tiny_vit() -> None:
    with pytest.raises(CheckpointError, match="expected the weights of a sam_vit_"):
        official_to_transformers(make(TINY).state_dict())


# ---- our own files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [VIT, TINY], ids=["vit", "tiny_vit"])
def test_our_own_file_keeps_weights_config_and_name(config: SamConfig, tmp_path: Path) -> None:
    config = config.model_copy(update={"decoder_heads": 4, "mask_threshold": 0.5})  # leave no trace in shapes
    sam = make(config, "mine")
    save(sam, tmp_path / "mine.safetensors")
    checkpoint = read(tmp_path / "mine.safetensors")
    assert same(checkpoint.state_dict, sam.state_dict())
    assert (checkpoint.config, checkpoint.name) == (config, "mine")
    assert os.listdir(tmp_path) == ["mine.safetensors"]


def test_half_precision_halves_matrices_only(tmp_path: Path) -> None:
    sam = make(TINY)
    state_dict = sam.state_dict()
    variance = "image_encoder.patch_embed.seq.0.bn.running_var"
    state_dict[variance].fill_(1e-9)  # 0 in float16
    save(sam, tmp_path / "half.safetensors", half=True)
    with safe_open(tmp_path / "half.safetensors", "pt") as file:
        kinds = {key: file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    parameters = dict(sam.named_parameters())
    for key, kind in kinds.items():
        assert (kind == torch.float16) == (key in parameters and parameters[key].ndim > 1), key
    back = read_state_dict(tmp_path / "half.safetensors")
    assert {value.dtype for key, value in back.items() if "num_batches" not in key} == {torch.float32}
    assert torch.equal(back[variance], state_dict[variance])
    key = "image_encoder.neck.0.weight"
    assert torch.equal(back[key], state_dict[key].half().float())


def test_a_model_in_channels_last_or_double_is_saved(tmp_path: Path) -> None:
    sam = make(TINY).double().to(memory_format=torch.channels_last)
    save(sam, tmp_path / "a.safetensors")
    assert same(read_state_dict(tmp_path / "a.safetensors"), make(TINY).state_dict())


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    sam = make()
    save(sam, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    sam.get_parameter("image_encoder.neck.0.weight").data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"fit float16, got larger ones in image_encoder.neck.0.weight"):
        save(sam, tmp_path / "a.safetensors", half=True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        save(sam, tmp_path / "folder")
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "folder"]


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"opensam_format": "2"}, "in format 1, got format 2; update opensam"),
        ({"opensam_format": "1", "name": "x"}, "expected a name and a config"),
        ({"opensam_format": "1", "name": "x", "config": "{}"}, "expected a name and a config"),
    ],
)
def test_metadata_we_do_not_know(metadata: dict[str, str], sentence: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(CheckpointError, match=sentence):
        read(tmp_path / "a.safetensors")


# ---- what is refused ---------------------------------------------------------------------------------------


class Malice:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "old pickle"])
def test_pickled_code_is_named_and_not_run(legacy: bool, tmp_path: Path) -> None:
    path, victim = tmp_path / "evil.pth", tmp_path / "victim"
    torch.save({"model": {"a": torch.zeros(1)}, "b": Malice(victim)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"evil.pth, got pickled code too \(\w+\.mkdir\), .* never run") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert not victim.exists()


def test_settings_pickled_beside_the_weights_are_named(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"argparse.Namespace.*save model.state_dict"):
        read(tmp_path / "a.pth")


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}, protocol=2))


NO_CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "No such file or directory; check the path"),
    "empty": (lambda path: path.touch(), "got an empty file"),
    "a picture": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(100)), "got 104 bytes of something else"),
    "text": (lambda path: path.write_text("weights"), "got 7 bytes of something else"),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html>\n"), "got 16 bytes of something else"),
    "json": (lambda path: path.write_text('{"a": 1,{}'), "truncated, damaged or no checkpoint"),
    "a zip file": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "truncated, damaged or no checkpoint"),
    "any pickle": (pickled, "truncated, damaged or no checkpoint"),
    "a tensor": (lambda path: torch.save(torch.zeros(2), path), "got a Tensor without any"),
    "a list": (lambda path: torch.save([torch.zeros(2)], path), "got a list without any"),
    "nothing": (lambda path: torch.save({}, path), "got a dict without any"),
    "numbers": (lambda path: torch.save({"epoch": 3}, path), "got a dict without any"),
    "two models": (
        lambda path: torch.save({"model": {"a": torch.zeros(1)}, "ema": {"a": torch.ones(1)}}, path),
        r"got several \(model, ema\); save the one to use",
    ),
    "a folder": (lambda path: path.mkdir(), "folder with model.safetensors or pytorch_model.bin"),
}


@pytest.mark.parametrize("case", NO_CHECKPOINTS)
def test_what_is_no_checkpoint_gets_one_sentence(case: str, tmp_path: Path) -> None:
    write, sentence = NO_CHECKPOINTS[case]
    write(tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read(tmp_path / "model.pth")
    assert "model.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "old pickle", "safetensors"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.9999])
def test_a_truncated_file_says_so(official: dict[str, Tensor], kind: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    if kind == "safetensors":
        save_file(official, path)
    else:
        torch.save(official, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"bytes that are truncated, damaged .*fetch the file again"):
        read(path)


def test_weights_of_something_else_are_not_a_segment_anything_model() -> None:
    weights = {f"layer{i}.weight": torch.zeros(2) for i in range(5)}
    sentence = "in resnet.pth, got layer0.weight, layer1.weight, layer2.weight and 2 more; check the file"
    with pytest.raises(CheckpointError, match=sentence):
        infer_config(weights, "resnet.pth")


def test_another_model_is_refused_by_name_and_nothing_is_changed(official: dict[str, Tensor]) -> None:
    sam = make()
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    weights = {key: value + 1 for key, value in official.items() if "image_encoder.neck" not in key}
    weights["extra"] = torch.zeros(1)
    weights["mask_decoder.mask_tokens.weight"] = torch.zeros(5, 32)
    with pytest.raises(CheckpointError) as caught:
        load_into(sam, weights, "other.pth")
    sentence = str(caught.value)
    assert "in other.pth" in sentence
    missing = "image_encoder.neck.0.weight, image_encoder.neck.1.weight, image_encoder.neck.1.bias and 3 more"
    assert f"missing: {missing}; left over: extra; of another shape: " in sentence
    assert "mask_decoder.mask_tokens.weight (expected (4, 32), got (5, 32))" in sentence
    assert "\n" not in sentence
    assert same(sam.state_dict(), before)


def test_loading_copies_unless_told_to_take_over(official: dict[str, Tensor]) -> None:
    key = "mask_decoder.mask_tokens.weight"
    for assign in (False, True):
        sam = Sam(VIT)
        load_into(sam, official, "official", assign=assign)
        assert same(sam.state_dict(), official)
        assert (sam.get_parameter(key).data_ptr() == official[key].data_ptr()) is assign
        assert sam.get_parameter(key).requires_grad


# ---- image encoders alone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [VIT, TINY], ids=["vit", "tiny_vit"])
@pytest.mark.parametrize("whole", [False, True], ids=["encoder", "model"])
def test_an_image_encoder_is_saved_and_loaded_alone(config: SamConfig, whole: bool, tmp_path: Path) -> None:
    trained, sam = make(config), Sam(config)
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    (save if whole else save_encoder)(trained, tmp_path / "a.safetensors")
    if not whole:
        assert all(key.startswith("image_encoder.") for key in read_state_dict(tmp_path / "a.safetensors"))
    report = load_encoder(sam, tmp_path / "a.safetensors")
    after, wanted = sam.state_dict(), trained.state_dict()
    encoder = {key for key in wanted if key.startswith("image_encoder.")}
    assert all(torch.equal(after[key], (wanted if key in encoder else before)[key]) for key in wanted)
    assert (set(report.loaded), report.kept) == (encoder, ())
    assert set(report.left_out) == (set(wanted) - encoder if whole else set())


def test_an_image_encoder_beside_a_decoder_of_pre_training_is_loaded(tmp_path: Path) -> None:
    trained, sam = make(), Sam(VIT)
    weights = {f"module.image_encoder.{key}": value for key, value in trained.image_encoder.state_dict().items()}
    torch.save({"model": weights | {"module.decoder.embed.bias": torch.zeros(3)}}, tmp_path / "a.pt")
    report = load_encoder(sam, tmp_path / "a.pt")
    assert same(sam.image_encoder.state_dict(), trained.image_encoder.state_dict())
    assert report.left_out == ("decoder.embed.bias",)


def mae(grid: int = 5, patch: int = 16, decoder: bool = False) -> dict[str, Tensor]:
    """Weights of a masked autoencoder with the width and depth of VIT, under the keys of facebookresearch/mae."""
    width, hidden = 24, 48
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, grid**2 + 1, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for i in range(4):
        for name, shape in {
            "norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width),
            "norm2": (width,), "mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden),
        }.items():  # fmt: skip
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    if decoder:
        shapes |= {"mask_token": (1, 1, 8), "decoder_embed.weight": (8, width), "decoder_pos_embed": (1, 26, 8)}
        shapes |= {"decoder_blocks.0.attn.qkv.weight": (24, 8), "decoder_norm.weight": (8,)}
    generator = torch.Generator().manual_seed(3)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def test_a_public_masked_autoencoder_is_loaded_and_the_rest_is_named(tmp_path: Path) -> None:
    weights, sam = mae(decoder=True), Sam(VIT)
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    torch.save({"model": weights}, tmp_path / "mae.pth")
    report = load_encoder(sam, tmp_path / "mae.pth")
    after = sam.state_dict()
    assert set(report.left_out) == {
        "cls_token", "norm.weight", "norm.bias", "mask_token", "decoder_embed.weight", "decoder_pos_embed",
        "decoder_blocks.0.attn.qkv.weight", "decoder_norm.weight",
    }  # fmt: skip
    assert all("rel_pos" in key or "neck" in key for key in report.kept)
    assert set(report.loaded) | set(report.kept) == {key for key in after if key.startswith("image_encoder.")}
    assert not set(report.loaded) & set(report.kept)
    assert all(torch.equal(after[key], value) for key, value in before.items() if key not in report.loaded)
    assert not after["image_encoder.blocks.3.attn.rel_pos_w"].any()
    for ours, theirs in {
        "blocks.3.norm2.bias": "blocks.3.norm2.bias",
        "blocks.0.attn.qkv.weight": "blocks.0.attn.qkv.weight",
        "blocks.1.mlp.lin1.weight": "blocks.1.mlp.fc1.weight",
        "blocks.2.mlp.lin2.bias": "blocks.2.mlp.fc2.bias",
        "patch_embed.proj.weight": "patch_embed.proj.weight",
    }.items():
        assert torch.equal(after[f"image_encoder.{ours}"], weights[theirs])
    positions = weights["pos_embed"][0, 1:]  # without that of the class token
    assert torch.equal(after["image_encoder.pos_embed"].flatten(0, 2), positions)


def test_patches_of_14_pixels_keep_their_tokens_when_they_grow_to_16() -> None:
    config = VIT.image_encoder
    assert isinstance(config, ViTConfig)
    weights = mae(patch=14)
    kernel = mae_to_official(weights, config)["image_encoder.patch_embed.proj.weight"]
    assert kernel.shape == (24, 3, 16, 16)
    patch = torch.randn(1, 3, 14, 14)
    enlarged = F.interpolate(patch, (16, 16), mode="bilinear")
    expected = F.conv2d(patch, weights["patch_embed.proj.weight"])
    assert torch.allclose(F.conv2d(enlarged, kernel), expected, rtol=1e-3, atol=1e-3)


def test_positions_grow_with_the_grid_and_keep_their_order() -> None:
    config = VIT.image_encoder
    assert isinstance(config, ViTConfig)
    weights = mae(grid=3)
    rows, columns = torch.arange(3.0)[:, None].expand(3, 3), torch.arange(3.0).expand(3, 3)
    weights["pos_embed"][0, 1:, 0], weights["pos_embed"][0, 1:, 1] = rows.flatten(), columns.flatten()
    grown = mae_to_official(weights, config)["image_encoder.pos_embed"]
    assert grown.shape == (1, 5, 5, 24)
    assert (grown[0, 1:, :, 0] > grown[0, :-1, :, 0]).all()
    assert (grown[0, :, 1:, 1] > grown[0, :, :-1, 1]).all()
    assert grown[0, 2, 2, :2].tolist() == pytest.approx([1, 1])


def without(key: str) -> dict[str, Tensor]:
    return {name: value for name, value in mae().items() if name != key}


@pytest.mark.parametrize(
    ("config", "weights", "sentence"),
    [
        (TINY, mae(), "expected the weights of a tiny_vit image encoder in .*got a masked autoencoder's ViT"),
        (VIT, without("blocks.3.mlp.fc1.bias"), r"\(missing: image_encoder.blocks.3.mlp.lin1.bias\)"),
        (VIT, mae() | {"blocks.4.norm1.bias": torch.zeros(24)}, "left over: image_encoder.blocks.4.norm1.bias"),
        (
            VIT,
            mae() | {"pos_embed": torch.zeros(1, 25, 24)},
            r"class token and a square grid .*got shape \(1, 25, 24\)",
        ),
        (VIT, {"fc.weight": torch.zeros(1)}, "expected the weights of an image encoder in .*, got none"),
        (VIT, make(TINY).state_dict(), "got those of another one"),
    ],
)
def test_another_image_encoder_is_refused_and_nothing_is_changed(
    config: SamConfig, weights: dict[str, Tensor], sentence: str, tmp_path: Path
) -> None:
    sam = Sam(config)
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_encoder(sam, tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
    assert same(sam.state_dict(), before)
