"""`opensam pretrain`, and that `opensam train` goes on from what it leaves."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.data.layouts import write
from tests.test_cli import SMALL_OPTIONS, assert_one_sentence, files, run

from opensam.recipes import pretraining
from opensam.recipes.pretraining import RECIPES

DECODER = ["mae.decoder_width=16", "mae.decoder_depth=1", "mae.decoder_heads=2"]
SMALL = ["image_size=64", "crop_size=64", "batch_size=1", "steps=2", "log_every=1", "precision=32-true", *DECODER]
OPTIONS = [part for setting in SMALL for part in ("--set", setting)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A picture, and a file that is none."""
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    write(tmp_path / "photos", {"a.png": noise, "b.png": b"no picture"})
    return tmp_path / "photos"


def test_a_run_says_where_the_weights_are_what_it_skipped_and_is_not_repeated(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    command = ["pretrain", "tiny", "--data", photos, "--out", tmp_path / "run", *OPTIONS]
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "run" / "model.safetensors")
    reports = [line for line in result.stderr.splitlines() if line.startswith("pre-training ")]
    assert [line.split()[1] for line in reports] == ["1/2", "2/2"]
    assert all(word in reports[0] for word in ("loss", "images/s", "left"))
    skipped = f"skipped 1 pictures that could not be read; {tmp_path}/run/skipped.csv says why"
    assert result.stderr.splitlines()[-1] == skipped

    again = run(*command)
    assert again.exit_code == 0, again.output
    assert "pre-training " not in again.stderr, "a finished run is not repeated"
    other = run(*command, "--set", "optim.lr=1")
    assert_one_sentence(other, "optim.lr=0.0008 instead of 1.0", "another --out")

    train = ["train", "tiny", "--data", shard(tmp_path), "--stage", "1", *SMALL_OPTIONS, "--set", "steps=1"]
    started = run(*train, "--out", tmp_path / "trained", "--init", tmp_path / "run")
    assert started.exit_code == 0, started.output
    assert started.stderr.splitlines()[0] == (
        f"starts from the image encoder in {tmp_path}/run/model.safetensors; prompt encoder and mask decoder start "
        "from random weights"
    )


def shard(tmp_path: Path) -> Path:
    """A data set with masks."""
    from tests.eval.synthetic_eval import write_two_datasets

    write_two_datasets(tmp_path / "labelled")
    return tmp_path / "labelled"


def test_dry_run_prints_the_resolved_config(tmp_path: Path) -> None:
    command = ["pretrain", "vit_b", "--data", tmp_path / "none", "--out", tmp_path / "run", "--nodes", "2", "--dry-run"]
    (config,) = json.loads(run(*command, "--set", "mae.mask_ratio=0.5").stdout)
    assert (config["nodes"], config["mae"]["mask_ratio"]) == (2, 0.5)
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["huge"], ["expected a recipe", "tiny_simmim", "huge"]),
        (["tiny", "--set", "optim.rate=1"], ["optim.rate", "lr"]),
        (["tiny", "--set", "mae.mask_ratio=2"], ["mask_ratio", "less than 1"]),
        (["tiny", "--set", "crop.area=[0.5,0.2]"], ["crop", "the smaller first"]),
        (["tiny"], ["no-data"]),
    ],
)
def test_wrong_options_are_one_sentence(tmp_path: Path, options: list[str], words: list[str]) -> None:
    result = run("pretrain", *options, "--data", tmp_path / "no-data", "--out", tmp_path / "run")
    assert_one_sentence(result, *words)
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("setting", "words"),
    [("crop_size=80", ["multiple of 32", "got 80"]), ("mae.method=mae", ["use mae for a ViT", "TinyViT"])],
)
def test_settings_that_the_encoder_cannot_take_leave_nothing_behind(
    photos: Path, tmp_path: Path, setting: str, words: list[str]
) -> None:
    result = run("pretrain", "tiny", "--data", photos, "--out", tmp_path / "run", "--set", setting)
    assert_one_sentence(result, *words)
    assert files(tmp_path) == {"photos"}


def test_without_the_extra_it_says_what_to_install(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    result = run("pretrain", "tiny", "--data", photos, "--out", tmp_path / "run", *OPTIONS)
    assert_one_sentence(result, "lightning_fabric", "pip install 'opensam[train]'")


@pytest.mark.parametrize("saved", [True, False])
def test_ctrl_c_says_how_to_resume(tmp_path: Path, monkeypatch, saved: bool) -> None:
    def interrupt(config, data, folder, on_progress):
        folder.mkdir()
        if saved:
            (folder / "last.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "pretrain", interrupt)
    result = run("pretrain", "tiny", "--data", tmp_path, "--out", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (130, "")
    (line,) = result.stderr.splitlines()
    assert "the same command" in line
    assert (str(tmp_path / "run" / "last.pt") in line) == saved


def test_the_help_lists_the_recipes() -> None:
    shown = run("pretrain", "--help").output
    assert all(name in shown for name in RECIPES)
