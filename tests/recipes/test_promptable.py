"""From data on disk to trained stages."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.test_samples import rectangle, source
from tests.train.test_loop import CONFIG

from opensam.data.mixture import Mixture
from opensam.models import checkpoints
from opensam.recipes import promptable, validation
from opensam.train.segment import TrainConfig

SHORT = CONFIG.with_overrides(["steps=2", "segment.clicks=0"])


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "PICTURES", 4)


@pytest.fixture
def masks_folder(tmp_path: Path) -> Path:
    """Eight pictures that show their masks, one of which is no picture."""
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for n in range(8):
        shown = source(rectangle((64, 64), slice(8, 24 + 4 * n), slice(8, 40 + 2 * n)))
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind / f"{n}.png").write_bytes(shown.picture)
    (tmp_path / "data" / "images" / "5.png").write_bytes(b"no picture")
    return tmp_path / "data"


def test_stages_follow_each_other_and_leave_what_they_were_made_of(masks_folder: Path, tmp_path: Path) -> None:
    stages = [SHORT, SHORT.with_overrides(["seed=1"])]
    out = tmp_path / "run"
    weights = promptable.train(stages, [str(masks_folder)], out, lambda progress: None, val=[str(masks_folder)])
    assert weights == out / "stage-2" / "model.safetensors"
    checkpoints.read(weights)
    run = json.loads((out / "stage-2" / "run.json").read_text())
    assert run["config"]["seed"] == 1
    assert run["init"] == str(out / "stage-1" / "model.safetensors")
    assert {"commit", "versions", "machine", "device"} <= set(run)
    with (out / "stage-1" / "validation.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert {"box_iou", "point_iou", "point_oracle_iou", "last_iou", "loss"} <= set(row)
    assert (out / "stage-1" / "best.safetensors").exists()


def test_a_picture_that_cannot_be_read_is_passed_over_and_listed(masks_folder: Path, tmp_path: Path) -> None:
    config = SHORT.with_overrides(["batch_size=16"])
    promptable.train([config], [str(masks_folder)], tmp_path / "run", lambda progress: None)
    with (tmp_path / "run" / "stage-1" / "skipped.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["name"] == "5"
    assert row["reason"]


def test_validation_asks_the_same_every_time_and_shows_pictures() -> None:
    config = TrainConfig(model="opensam_tiny", image_size=64)
    mixture = Mixture([source(rectangle((64, 64), slice(8, 40), slice(8, 40)))], power=0.5)
    sam = promptable.new_model(config).eval()
    validate = validation.validator(mixture, config)
    with torch.no_grad():
        first, again = validate(sam), validate(sam)
    assert first.facts == again.facts
    assert 0 <= first.score <= 1
    picture = first.pictures["boxes/0"]
    assert picture.shape == (64, 64, 3)
    assert (picture == np.array([0, 200, 0])).all(axis=2).any(), "the outline of the truth"


def test_a_new_model_depends_on_the_seed_alone() -> None:
    config = TrainConfig(model="opensam_tiny", image_size=64, seed=3)
    first, again, other = (promptable.new_model(c) for c in (config, config, config.with_overrides(["seed=4"])))
    key = "image_encoder.patch_embed.seq.0.c.weight"
    assert torch.equal(first.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])
    assert first.config.image_encoder.image_size == 64


def test_each_process_lists_its_own_bad_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in "02":
        monkeypatch.setenv("RANK", rank)
        promptable.report_skipped({("set", f"picture{rank}"): "damaged"}, tmp_path / "skipped.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"skipped.csv", "skipped-2.csv"}
    assert "picture2" in (tmp_path / "skipped-2.csv").read_text()
