"""`opensam eval all`, from data to the page."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.eval.synthetic_eval import write_two_datasets
from tests.test_cli import assert_one_sentence, files, run

SMALL = ["--image-size", "64", "--max-images", "1", "--max-masks", "1", "--points-per-side", "3"]


@pytest.fixture
def bsds(tmp_path: Path) -> Path:
    """One picture of a square, and two people who saw it."""
    folder = tmp_path / "bsds"
    folder.mkdir()
    picture, drawn = np.zeros((60, 80, 3), np.uint8), np.zeros((2, 60, 80), bool)
    picture[20:40, 20:50] = 200
    drawn[:, [20, 40], 20:51] = drawn[:, 20:41, [20, 50]] = True
    Image.fromarray(picture).save(folder / "1.png")
    stream = io.BytesIO()
    np.savez(stream, boundaries=drawn)
    (folder / "1.npz").write_bytes(stream.getvalue())
    return folder


def test_all_evaluations_become_one_page(bsds: Path, tmp_path: Path) -> None:
    write_two_datasets(tmp_path / "data")
    out = tmp_path / "out"
    given = ["--data", tmp_path / "data", "--bsds", bsds, "--boxes", "ground-truth", "--baseline", "none", *SMALL]
    result = run("eval", "all", *given, "--out", out)
    assert result.exit_code == 0, result.output
    names = {"clicks", "edges", "proposals", "instances"}
    assert {f"{name}.json" for name in (*names, "report")} | {"report.html", "report.md"} < files(out)
    assert not list(out.glob("*.partial.jsonl"))
    content = json.loads((out / "report.json").read_text())
    assert set(content["reports"]) == names
    assert [line.partition(":")[0] for line in content["left_out"]] == ["text", "fairness", "geography", "human"]
    page = (out / "report.html").read_text()
    for words in ("Masks from clicks and boxes", "Edges on BSDS500", "0.768", "no --clip"):
        assert words in page
    assert "left out text: no --clip" in result.stdout
    (out / "report.html").unlink()
    assert run("eval", "report", out).exit_code == 0
    assert "Edges on BSDS500" in (out / "report.html").read_text()


def test_an_unknown_baseline_is_one_sentence(tmp_path: Path) -> None:
    result = run("eval", "all", "--data", tmp_path, "--baseline", "magic", "--out", tmp_path / "out")
    assert_one_sentence(result, "watershed", "canny", "none", "magic")


def test_a_folder_without_reports_is_one_sentence(tmp_path: Path) -> None:
    assert_one_sentence(run("eval", "report", tmp_path), "clicks.json", "got none")
