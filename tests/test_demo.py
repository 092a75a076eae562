import json
import sys

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import opensam
from opensam import demo
from opensam.records import read_image_record


@pytest.fixture
def run(sam, monkeypatch):
    """Runs the demo with a small untrained model in place of the embedded one."""
    monkeypatch.setitem(vars(opensam), "load", lambda: sam)
    monkeypatch.setenv("COLUMNS", "120")
    app = typer.Typer()
    app.command()(demo.main)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


PROMPTS = ("click", "two-clicks", "box")


def test_the_sample_photographs_are_segmented_and_the_numbers_shown(run, tmp_path):
    pytest.importorskip("skimage", reason="scikit-image holds the sample photographs")
    result = run("--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    names = [f"{name}-{prompt}" for name in ("coffee", "astronaut", "chelsea", "rocket") for prompt in PROMPTS]
    files = {f"{name}{end}" for name in names for end in (".png", "-mask.png", ".json")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    for word in ("predicted", "encode", "decode", "seconds", "Loading the model took"):
        assert word in result.output
    shown = "".join(result.output.split())
    assert all(f"out/{name}.png" in shown for name in names)


def test_ones_own_picture(run, tmp_path):
    photo = tmp_path / "my photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(photo)
    result = run("--out", tmp_path / "out", "--image", photo)
    assert result.exit_code == 0, result.output
    for prompt in PROMPTS:
        stem = tmp_path / "out" / f"my photo-{prompt}"
        record = read_image_record(stem.with_suffix(".json"))
        assert record.image.file_name == "my photo.jpg"
        assert (record.image.height, record.image.width) == (90, 120)
        (annotation,) = record.annotations
        mask = np.asarray(Image.open(f"{stem}-mask.png"))
        assert set(np.unique(mask)) <= {0, 255}
        assert (annotation.mask == (mask > 0)).all()
        assert np.asarray(Image.open(f"{stem}.png")).shape == (90, 120, 3)
    clicks = json.loads((tmp_path / "out" / "my photo-two-clicks.json").read_text())["annotations"][0]
    assert np.allclose(clicks["point_coords"], [[60, 45], [3.6, 2.7]])


def test_the_three_answers_come_from_three_prompts(run, sam, monkeypatch, tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)).save(photo)
    asked = []

    def watch(predictor, embedding, *arguments, **keywords):
        asked.append((arguments, set(keywords)))
        return predict(predictor, embedding, *arguments, **keywords)

    predict = demo.Predictor.predict
    monkeypatch.setattr(demo.Predictor, "predict", watch)
    assert run("--out", tmp_path, "--image", photo).exit_code == 0
    click, clicks, box = asked
    assert click == (([(100, 50)],), set())
    assert clicks == (([(100, 50), (6, 3)], [1, 0]), {"mask_input"})
    assert box == ((), {"boxes"})


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_bad_picture_is_one_sentence_and_exit_1(run, tmp_path, content):
    photo = tmp_path / "photo.jpg"
    if content is not None:
        photo.write_bytes(content)
    result = run("--out", tmp_path / "out", "--image", photo)
    assert result.exit_code == 1
    assert "photo.jpg" in result.output
    assert "Traceback" not in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_scikit_image_the_demo_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    result = run("--out", tmp_path)
    assert result.exit_code == 1
    assert "pip install 'opensam[demo]'" in result.output


def test_the_sample_prompts_lie_inside_their_pictures():
    pytest.importorskip("skimage", reason="scikit-image holds the sample photographs")
    for scene in demo.sample_scenes():
        height, width = scene.picture.shape[:2]
        x0, y0, x1, y1 = scene.around
        assert 0 <= x0 < scene.on[0] < x1 <= width
        assert 0 <= y0 < scene.on[1] < y1 <= height
        assert 0 <= scene.beside[0] <= width
        assert 0 <= scene.beside[1] <= height
