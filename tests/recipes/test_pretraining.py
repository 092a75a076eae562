"""Pre-training as a whole: from pictures to an encoder that a promptable run starts from."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.data.layouts import write
from torch import Tensor

from opensam.data.pictures import PictureSource
from opensam.data.specs import open_pictures
from opensam.models import checkpoints
from opensam.models.mae import MaeConfig
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig
from opensam.recipes import pretraining
from opensam.recipes.pretraining import RECIPES, masked_autoencoding, side_by_side
from opensam.train.loop import Progress, Trainer
from opensam.train.pretrain import PretrainConfig, PretrainStep

pytest.importorskip("lightning_fabric")

TINY = SamConfig(image_encoder=TinyViTConfig(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4)))
VIT = SamConfig(
    image_encoder=ViTConfig(embed_dim=24, depth=2, num_heads=3, global_attn_indexes=(1,), image_size=128, window_size=3)
)
DECODER = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
METHODS = ("mae", "spark", "simmim")


def settings(method: str, **changes: object) -> PretrainConfig:
    config = RECIPES["vit_b" if method == "mae" else "tiny"]().model_dump() | {
        "mae": {"method": method, "mask_ratio": 0.5, **DECODER},
        "crop_size": 64,
        "batch_size": 2,
        "steps": 6,
        "log_every": 1,
        "devices": 1,
        "nodes": 1,
        "loader_threads": 1,
        "precision": "32-true",
    }
    return PretrainConfig.model_validate(config | changes)


@pytest.fixture
def source(tmp_path: Path) -> PictureSource:
    rng = np.random.default_rng(0)
    blocks = [rng.integers(256, size=(5, 5, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(3)]
    write(tmp_path / "set", {f"{n}.png": block for n, block in enumerate(blocks)})
    return PictureSource(open_pictures([str(tmp_path / "set")]))


def small(method: str) -> Sam:
    torch.manual_seed(0)
    return Sam(VIT if method == "mae" else TINY, "small")


def fit(sam: Sam, source: PictureSource, config: PretrainConfig, folder: Path) -> list[float]:
    torch.manual_seed(1)  # of the decoder
    losses: list[float] = []

    def note(progress: Progress) -> None:
        losses.append(progress.facts["loss"])

    Trainer(masked_autoencoding(sam, source, config), config, folder).fit(note)
    return losses


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_the_encoder_for_a_model_of_its_kind(method: str, source: PictureSource, tmp_path: Path) -> None:
    sam = small(method)
    before = {key: value.clone() for key, value in sam.image_encoder.state_dict().items()}
    config = settings(method, optim={"lr": 1e-3, "warmup": 0, "layer_decay": 1.0})
    losses = fit(sam, source, config, tmp_path / "run")
    assert len(losses) == 6
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert saved.keys() == {f"image_encoder.{key}" for key in before}
    assert all(
        torch.equal(saved[f"image_encoder.{key}"], value) for key, value in sam.image_encoder.state_dict().items()
    )
    assert any(not torch.equal(saved[f"image_encoder.{key}"], value) for key, value in before.items())
    other = Sam(VIT if method == "mae" else TINY)
    assert checkpoints.load_encoder(other, tmp_path / "run" / "model.safetensors").kept == ()
    recorded = checkpoints.read(tmp_path / "run" / "model.safetensors")
    assert (recorded.name, recorded.config) == ("small", sam.config)


def test_it_learns_to_go_on_with_what_it_sees(tmp_path: Path) -> None:
    levels = np.array([30, 128, 220], np.uint8)[:, None, None, None]
    write(
        tmp_path / "set", {f"{n}.png": plain for n, plain in enumerate(levels.repeat(70, 1).repeat(70, 2).repeat(3, 3))}
    )
    config = settings("simmim", steps=40, optim={"lr": 1e-2, "warmup": 0, "layer_decay": 1.0, "clip": 5.0})
    pictures = PictureSource(open_pictures([str(tmp_path / "set")]))
    losses = fit(small("simmim"), pictures, config, tmp_path / "run")
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_a_killed_run_goes_on_as_if_nothing_had_happened(source: PictureSource, tmp_path: Path) -> None:
    config = settings("spark", save_every=0)
    whole, cut = small("spark"), small("spark")
    losses = fit(whole, source, config, tmp_path / "whole")

    def kill(progress: Progress) -> None:
        if progress.step == 4:
            raise KeyboardInterrupt

    torch.manual_seed(1)
    with pytest.raises(KeyboardInterrupt):
        Trainer(masked_autoencoding(cut, source, config), config, tmp_path / "cut").fit(kill)
    resumed = small("spark")
    assert fit(resumed, source, config, tmp_path / "cut") == losses[3:]
    after = resumed.image_encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in whole.image_encoder.state_dict().items())


def test_guesses_are_measured_on_the_same_crops_and_shown(source: PictureSource) -> None:
    task = masked_autoencoding(small("spark"), source, settings("spark"))
    assert task.validate is not None
    with torch.no_grad():
        first, again = (task.validate(task.model.eval()) for _ in range(2))
    assert first.facts == again.facts
    assert first.score == -first.facts["loss"]
    assert {picture.shape for picture in first.pictures.values()} == {(64, 3 * 64, 3)}
    assert len(first.pictures) == 8
    masked = first.pictures["guesses/0"][:, 64:128].reshape(2, 32, 2, 32, 3)
    grey = np.array([124, 116, 104], np.uint8)
    assert (masked == grey).all(axis=(1, 3, 4)).sum() == 2, "half of the squares of 32 pixels"


@pytest.mark.parametrize("method", METHODS)
def test_a_perfect_guess_looks_like_the_picture(method: str) -> None:
    step = PretrainStep(small(method), MaeConfig(method=method, mask_ratio=0.5, **DECODER))
    images = torch.randint(256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    pixels, patch = step.preprocess(images), step.autoencoder.patch_size
    guess = pixels if method == "simmim" else normalised(pixels, patch)
    hidden = torch.zeros(2, 64 // patch, 64 // patch, dtype=torch.bool)
    hidden[:, 0, 1] = True
    for picture, image in zip(
        side_by_side(step, pixels, guess, hidden), images.permute(0, 2, 3, 1).numpy(), strict=True
    ):
        original, masked, answer = np.split(picture, 3, axis=1)
        assert np.array_equal(original, image)
        assert np.abs(answer.astype(int) - image).max() <= 1
        covered = (masked != image).any(axis=2)
        assert covered[:patch, patch : 2 * patch].mean() > 0.9
        covered[:patch, patch : 2 * patch] = False
        assert not covered.any()


def normalised(pixels: Tensor, patch: int) -> Tensor:
    """Each patch less its mean and over its deviation."""
    guess = pixels.clone()
    for row in range(0, 64, patch):
        for column in range(0, 64, patch):
            window = guess[..., row : row + patch, column : column + patch]
            window -= window.mean((1, 2, 3), keepdim=True)
            window /= window.std((1, 2, 3), keepdim=True)
    return guess


@pytest.mark.parametrize(
    ("method", "changes", "sentence"),
    [
        ("spark", {"crop_size": 80}, "crop_size as a multiple of 32 from 64 to image_size 1024, got 80"),
        ("simmim", {"crop_size": 32}, "from 64 to"),
        ("mae", {"crop_size": 160, "image_size": 128}, "multiple of 16 from 32 to image_size 128, got 160"),
    ],
)
def test_crops_that_the_encoder_cannot_take_are_refused_at_once(
    method: str, changes: dict[str, object], sentence: str, source: PictureSource
) -> None:
    with pytest.raises(ValueError, match=sentence):
        masked_autoencoding(small(method), source, settings(method, **changes))


def test_a_run_lists_what_it_skipped_and_writes_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "random_model", lambda name, image_size, seed: small("spark"))
    white = np.full((70, 70, 3), 255, np.uint8)
    white[:30] = 0
    write(tmp_path / "set", {"a.png": white, "b.png": b"no picture"})
    config = settings("spark", steps=1)
    weights = pretraining.pretrain(config, [str(tmp_path / "set")], tmp_path / "run", lambda progress: None)
    assert weights == tmp_path / "run" / "model.safetensors"
    assert weights.is_file()
    with (tmp_path / "run" / "skipped.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["b"]
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["config"] == config.model_dump(mode="json")
    assert facts["data"] == [str(tmp_path / "set")]


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_the_recipes_for_a_vit_are_those_of_mae(name: str) -> None:
    config = RECIPES[name]()
    batch = config.batch_size * config.accumulate * config.devices * config.nodes
    assert (config.model, batch) == (f"sam_{name}", 4096)
    assert config.optim.lr == pytest.approx(1.5e-4 * batch / 256)
    assert config.optim.warmup / config.steps == pytest.approx(40 / 800)
    assert (config.optim.betas, config.optim.weight_decay, config.mae.method) == ((0.9, 0.95), 0.05, "mae")


def test_the_recipes_for_the_embedded_model_differ_in_the_method_only() -> None:
    spark, simmim = RECIPES["tiny"](), RECIPES["tiny_simmim"]()
    assert (spark.mae.method, simmim.mae.method) == ("spark", "simmim")
    assert simmim.with_overrides(["mae.method=spark"]) == spark
