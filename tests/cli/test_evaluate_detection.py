"""`opensam eval proposals` and `opensam eval instances`: options, what they print, how they fail."""

import json
from pathlib import Path

import pytest
from tests.eval.synthetic_eval import write_two_datasets
from tests.test_cli import assert_one_sentence, files, run, save_model

from opensam.models.tiny_vit import TinyViTConfig


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model."""
    encoder = TinyViTConfig(image_size=128, embed_dims=(16, 32, 40, 64), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    return save_model(tmp_path_factory.mktemp("weights") / "random.safetensors", encoder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_two_datasets(tmp_path / "data")
    return tmp_path / "data"


def test_eval_proposals_writes_and_prints_the_table(data: Path, weights: Path, tmp_path: Path) -> None:
    options = ["--checkpoint", weights, "--points-per-side", "2", "--max-images", "2"]
    result = run("eval", "proposals", "--data", data, "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert {"proposals.md", "proposals.json", "proposals"} == files(tmp_path / "out")
    report = json.loads((tmp_path / "out/proposals.json").read_text())
    assert (report["config"]["max_images"], report["config"]["amg"]["points_per_side"]) == (2, 2)
    assert report["config"]["amg"]["box_nms_thresh"] == 0.9
    (line,) = [line for line in result.stdout.splitlines() if "random here" in line]
    assert f"{report['tables'][0]['rows'][0][1]:.3f}" in line
    assert "SAM, paper" in result.stdout
    assert str(tmp_path / "out/proposals.md") in result.stdout
    assert "random: 2/2 images" in result.stderr


def test_eval_instances_writes_and_prints_the_table(data: Path, weights: Path, tmp_path: Path) -> None:
    options = ["--checkpoint", weights, "--boxes", "ground-truth", "--rounds", "0", "--save-masks"]
    result = run("eval", "instances", "--data", data, "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert {"instances.md", "instances.json", "instances", "instances_masks.json"} == files(tmp_path / "out")
    report = json.loads((tmp_path / "out/instances.json").read_text())
    assert (report["config"]["rounds"], report["results"]["boxes"]) == (0, 6)
    assert len(json.loads((tmp_path / "out/instances_masks.json").read_text())) == 6
    assert "random here, true boxes" in result.stdout


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("proposals", ["--row", "vitdet"], ["sam", "single-output", "vitdet"]),
        ("proposals", ["--data", "nowhere"], ["nowhere"]),
        ("instances", ["--boxes", "detector"], ["detector", "no detector yet"]),
        ("instances", ["--boxes", "ground-truth", "--data", "a.json:b"], ["one ANNOTATIONS.json:IMAGES/"]),
    ],
)
def test_wrong_options_are_one_sentence(
    data: Path, weights: Path, tmp_path: Path, command: str, options: list[str], words: list[str]
) -> None:
    shared = ["--data", data, "--out", tmp_path / "out", "--checkpoint", weights]
    assert_one_sentence(run("eval", command, *shared, *options), *words)
    assert not (tmp_path / "out").exists()
