"""`opensam eval text`: options, what it prints, how it ends; the measures have tests of their own."""

import json
import sys

import pytest
from tests.compose.stand_ins import coloured, write_clip, write_labelled
from tests.test_cli import assert_one_sentence, files, run, save_model

from opensam.models.tiny_vit import TinyViTConfig

# Random weights are sure of nothing.
ANYTHING = ["--set", "points_per_side=2", "--set", "pred_iou_thresh=0", "--set", "stability_score_thresh=0"]
BOXES = [(32, 32, 96, 96), (160, 32, 360, 120), (40, 144, 200, 224)]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Arguments that name data, a CLIP and a model, all small and untrained."""
    folder = tmp_path_factory.mktemp("given")
    write_labelled(folder / "colours.tar", [coloured((240, 400), BOXES), coloured((240, 400), BOXES[:2])])
    write_clip(folder / "clip")
    encoder = TinyViTConfig(image_size=64, embed_dims=(16, 32, 40, 64), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    weights = save_model(folder / "random.safetensors", encoder)
    return ["--data", folder / "colours.tar", "--clip", folder / "clip", "--checkpoint", weights]


def test_it_writes_a_report_and_prints_the_means_beside_chance(given, tmp_path):
    options = ["--template", "a {}", "--template", "the {}", "--background", "kept", "--enlarge", "1.2"]
    result = run("eval", "text", *given, *ANYTHING, *options, "--min-area", "10", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out") == {"text.md", "text.json", "text"}
    assert files(tmp_path / "out" / "text") == {"best.jpg", "middle.jpg", "worst.jpg"}
    written = json.loads((tmp_path / "out" / "text.json").read_text())
    config = written["config"]
    assert config["crops"] == {"enlarge": 1.2, "background": "kept"}
    assert (config["templates"], config["min_area"]) == (["a {}", "the {}"], 10)
    assert config["amg"] == ANYTHING[1::2]
    (line,) = [line for line in result.stdout.splitlines() if "naming masks: top 1 " in line]
    naming = [f"{written['results']['mean'][group]['top@1']:.3f}" for group in ("scores", "chance")]
    assert line.split()[-2:] == naming
    assert naming[1] == "0.333"
    assert str(tmp_path / "out" / "text.md") in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--clip", "openai/clip-vit-base-patch32"], ["openai/clip-vit-base-patch32", "hf download"]),
        (["--template", "a photo"], ["a photo of a {}", "a photo"]),
        (["--set", "points=3"], ["points"]),
        (["--data", "nowhere.tar"], ["nowhere.tar", "check the path"]),
    ],
)
def test_wrong_options_are_one_sentence(given, tmp_path, options, words):
    at = given.index(options[0]) if options[0] in given else len(given)
    arguments = [*given[:at], *options, *given[at + 2 :]]
    assert_one_sentence(run("eval", "text", *arguments, "--out", tmp_path / "out"), *words)


def test_a_missing_package_is_named_with_what_brings_it(given, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    result = run("eval", "text", *given, "--out", tmp_path / "out")
    assert_one_sentence(result, "transformers", "pip install 'opensam[text]'")
