from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import nn

from opensam.models import zoo
from opensam.models.checkpoints import CheckpointError, save, with_imagenet_head
from opensam.models.download import DownloadError
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig
from opensam.models.zoo import ModelSpec, download, find, list_models, load

SMALL = SamConfig(
    image_encoder=ViTConfig(
        embed_dim=32, depth=2, num_heads=2, global_attn_indexes=(1,), image_size=64, window_size=3, out_chans=32
    ),
    prompt_embed_dim=32,
    decoder_mlp_dim=32,
)


def make(config: SamConfig, name: str = "") -> Sam:
    torch.manual_seed(0)
    sam = Sam(config, name)
    for value in sam.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return sam


def assert_same(got: nn.Module, expected: nn.Module) -> None:
    """Also of the buffers that are not in the state dict."""
    tensors = dict(got.named_parameters()) | dict(got.named_buffers())
    wanted = dict(expected.named_parameters()) | dict(expected.named_buffers())
    assert tensors.keys() == wanted.keys()
    for key, value in tensors.items():
        assert torch.equal(value, wanted[key]), key


# ---- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("opensam_tiny", "opensam_tiny"),
        ("tiny", "opensam_tiny"),
        ("mobile_sam", "mobile_sam"),
        ("sam_vit_b", "sam_vit_b"),
        ("vit_b", "sam_vit_b"),
        ("vit_l", "sam_vit_l"),
        ("vit_h", "sam_vit_h"),
    ],
)
def test_a_model_is_found_by_name_and_alias(name: str, found: str) -> None:
    assert find(name).name == found


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"got 'vit_x'; known are opensam_tiny, tiny, .*vit_h"):
        load("vit_x")


def test_the_list_is_a_copy() -> None:
    list_models().clear()
    assert len(list_models()) == 5


# ---- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SMALL, SamConfig(image_encoder=TinyViTConfig())], ids=["vit", "tiny_vit"])
def test_a_loaded_model_is_the_saved_one_in_eval_mode(config: SamConfig, tmp_path: Path) -> None:
    sam = make(config)
    torch.save(sam.state_dict(), tmp_path / "mine.pth")
    loaded = load(checkpoint=tmp_path / "mine.pth")
    assert_same(loaded, sam)
    assert loaded.config == config
    assert loaded.name == "mine"
    assert not any(module.training for module in loaded.modules())
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_our_own_file_brings_its_name_and_config(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"decoder_heads": 4})
    save(make(config, "special"), tmp_path / "a.safetensors")
    loaded = load(checkpoint=str(tmp_path / "a.safetensors"))
    assert (loaded.name, loaded.config) == ("special", config)


def test_a_file_for_a_named_model(tmp_path: Path) -> None:
    sam = make(find("mobile_sam").config)
    torch.save(with_imagenet_head(sam.state_dict()), tmp_path / "mine.pt")
    loaded = load("mobile_sam", checkpoint=tmp_path / "mine.pt")
    assert loaded.name == "mobile_sam"
    assert_same(loaded, sam)


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.save(make(SMALL).state_dict(), tmp_path / "small.pth")
    with pytest.raises(CheckpointError, match=r"this model in .*small.pth.*missing: image_encoder"):
        load("tiny", checkpoint=tmp_path / "small.pth")


def test_a_file_with_the_same_shapes_and_another_config_is_refused(tmp_path: Path) -> None:
    save(make(SamConfig(image_encoder=TinyViTConfig(image_size=512))), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="a model with image_size 512 instead of 1024; let the file decide"):
        load("tiny", checkpoint=tmp_path / "a.safetensors")
    assert load(checkpoint=tmp_path / "a.safetensors").image_size == 512


def test_a_file_of_no_model_is_named(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"Segment Anything model in .*resnet.pth, got fc.weight"):
        load(checkpoint=tmp_path / "resnet.pth")


def test_building_for_a_checkpoint_draws_no_random_numbers(tmp_path: Path) -> None:
    torch.save(make(SMALL).state_dict(), tmp_path / "a.pth")
    before = torch.random.get_rng_state()
    with zoo._NoInitialisation():
        nn.Linear(3, 3), nn.Embedding(3, 3), nn.Conv2d(1, 1, 1), nn.ConvTranspose2d(1, 1, 1)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("device", ["cuda:99", "warp", "cpu:x"])
def test_a_device_that_is_not_there_is_a_value_error(device: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"device that torch can use here, got {device}: .*; try cpu") as caught:
        load("tiny", device=device)
    assert "\n" not in str(caught.value)


# ---- embedded and downloaded weights -----------------------------------------------------------------------


def test_embedded_weights_are_read_from_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    spec = find("opensam_tiny")
    sam = make(spec.config, spec.name)
    save(sam, tmp_path / spec.file)
    monkeypatch.setattr(resources, "files", lambda package: {"opensam": tmp_path}[package])
    for name in (None, "tiny"):
        loaded = load(name)
        assert loaded.name == "opensam_tiny"
        assert_same(loaded, sam)


def test_embedded_weights_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match=r"at .*opensam_tiny.safetensors, got none; install"):
        load()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path, str]]:
    """Downloads that were asked for; what comes is a small model, whatever it is called."""
    asked: list[tuple[str, Path, str]] = []

    def fetch(url: str, path: Path, sha256: str, progress: object) -> None:
        asked.append((url, path, sha256))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(make(SMALL).state_dict(), path)

    monkeypatch.setattr(zoo, "fetch", fetch)
    row = ModelSpec("small", (), "", "MIT", SMALL, 0, url="http://example.org/a/small.pth", sha256="12ab")
    monkeypatch.setattr(zoo, "MODELS", (*zoo.MODELS, row))
    return asked


def test_a_model_is_downloaded_to_the_cache_and_loaded(fetched: list[tuple[str, Path, str]], tmp_path: Path) -> None:
    loaded = load("small", cache_dir=tmp_path)
    assert fetched == [("http://example.org/a/small.pth", tmp_path / "small.pth", "12ab")]
    assert loaded.name == "small"
    assert_same(loaded, make(SMALL))


def test_the_cache_is_in_the_home_folder(
    fetched: list[tuple[str, Path, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert download(find("small")) == tmp_path / ".cache" / "opensam" / "small.pth"


def test_a_checkpoint_needs_no_download(fetched: list[tuple[str, Path, str]], tmp_path: Path) -> None:
    torch.save(make(SMALL).state_dict(), tmp_path / "mine.pth")
    assert load("small", checkpoint=tmp_path / "mine.pth").name == "small"
    assert fetched == []


def test_the_embedded_model_has_no_download() -> None:
    with pytest.raises(ValueError, match="got opensam_tiny, which comes with the package"):
        download(find("tiny"))


def test_a_download_without_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    row = ModelSpec("far", (), "", "MIT", SMALL, 0, url="http://127.0.0.1:9/far.pth", sha256="12ab")
    monkeypatch.setattr(zoo, "MODELS", (row,))
    with pytest.raises(DownloadError, match=r"download http://127.0.0.1:9/far.pth by hand and give"):
        load("far", cache_dir=tmp_path)
