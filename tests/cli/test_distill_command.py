"""`opensam distill` as a person types it."""

import json
from pathlib import Path

import pytest
from tests.data.layouts import picture, write
from tests.test_cli import assert_one_sentence, files, run, save_model

from opensam.models.tiny_vit import TinyViTConfig
from opensam.recipes import distillation

SMALL = ["image_size=64", "batch_size=1", "steps=2", "log_every=1", "precision=32-true", "masks_per_image=1"]
SMALL_OPTIONS = [part for setting in (*SMALL, "prompts=points") for part in ("--set", setting)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write(tmp_path / "photos", {"a.png": picture()})


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    encoder = TinyViTConfig(image_size=128, embed_dims=(16, 32, 64, 64), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    save_model(tmp_path / "teacher.safetensors", encoder, "small")
    return tmp_path / "teacher.safetensors"


def test_distill_runs_both_stages_and_says_where_the_weights_are(photos: Path, teacher: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    command = ["distill", "tiny_cpu", "--teacher", teacher, "--data", photos, "--out", tmp_path / "run", *SMALL_OPTIONS]
    result = run(*command, "--cache", tmp_path / "cache")
    assert result.exit_code == 0, result.output
    weights = tmp_path / "run" / "stage-2" / "model.safetensors"
    assert Path(result.stdout.strip()) == weights
    cache, *reports = result.stderr.splitlines()
    assert cache.startswith(f"the teacher's embeddings are kept in {tmp_path / 'cache'}")
    assert cache.endswith("0.0312 MiB for each of 1 pictures, 3.05e-05 GiB in all")
    assert [line.split()[1:3] for line in reports] == [[f"{n}/2", f"{step}/2"] for n in (1, 2) for step in (1, 2)]
    assert "cosine" in reports[0]
    assert "last_iou" in reports[2]
    assert len(list((tmp_path / "cache").rglob("*.f16"))) == 1
    facts = json.loads((tmp_path / "run" / "stage-1" / "run.json").read_text())
    assert facts["teacher"]["name"] == "small"
    out = tmp_path / "out"
    assert run("predict", photos / "a.png", "--point", "9,9", "--checkpoint", weights, "--out", out).exit_code == 0
    assert_one_sentence(run(*command, "--set", "optim.lr=1"), "optim.lr=0.001 instead of 1.0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["huge", "--teacher", "vit_h"], ["huge", "mobile"]),
        (["mobile", "--teacher", "nobody"], ["nobody", "--teacher", "sam_vit_h"]),
        (["mobile", "--teacher", "tiny", "--stage", "2"], ["from 1 to 1", "got 2"]),
        (["mobile", "--teacher", "tiny", "--set", "truth=2"], ["truth", "got 2"]),
        (["mobile", "--teacher", "tiny"], ["no-data"]),
    ],
)
def test_wrong_options_are_one_sentence(tmp_path: Path, options: list[str], words: list[str]) -> None:
    result = run("distill", *options, "--data", tmp_path / "no-data", "--out", tmp_path / "run")
    assert_one_sentence(result, *words)
    assert files(tmp_path) == set()


def test_the_help_lists_the_recipes_and_a_dry_run_needs_no_teacher(tmp_path: Path) -> None:
    shown = run("distill", "--help").output
    assert all(name in shown for name in distillation.RECIPES)
    command = ["distill", "edge", "--teacher", "vit_h", "--data", "none", "--out", tmp_path / "run", "--dry-run"]
    stages = json.loads(run(*command, "--set", "optim.lr=0.5").stdout)
    assert [(stage["target"], stage["optim"]["lr"]) for stage in stages] == [("embeddings", 0.5), ("masks", 0.5)]
