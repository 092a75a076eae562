"""BSDS500 in small, from pictures or maps to the report."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.recipes.evaluation.test_session import place
from tests.test_cli import run, save_model

from opensam import image
from opensam.data.bsds import read_map, write_map
from opensam.models.tiny_vit import TinyViTConfig
from opensam.recipes.evaluation import edges as recipe

SIZE = (48, 64)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures of a square each, and two people who saw it."""
    folder = tmp_path / "bsds"
    folder.mkdir()
    for number in range(3):
        picture, drawn = np.zeros((*SIZE, 3), np.uint8), np.zeros((2, *SIZE), bool)
        x, y = 10 + 8 * number, 8 + 4 * number
        picture[y : y + 20, x : x + 20] = 200
        drawn[:, [y, y + 20], x : x + 21] = drawn[:, y : y + 21, [x, x + 20]] = True
        Image.fromarray(picture).save(folder / f"{number}.png")
        stream = io.BytesIO()
        np.savez(stream, boundaries=drawn)
        (folder / f"{number}.npz").write_bytes(stream.getvalue())
    return folder


@pytest.fixture
def maps(data: Path, tmp_path: Path) -> Path:
    """What people drew, as maps of a method."""
    folder = tmp_path / "perfect"
    folder.mkdir()
    for file in data.glob("*.npz"):
        write_map(folder / f"{file.stem}.png", np.load(file)["boundaries"][0].astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model."""
    encoder = TinyViTConfig(image_size=64, embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    return save_model(tmp_path_factory.mktemp("weights") / "random.safetensors", encoder)


def options(data: Path, out: Path, *more: object) -> list[object]:
    return ["eval", "edges", "--data", data, "--out", out, "--thresholds", 5, *more]


def test_perfect_maps_score_one_beside_baselines_people_and_the_paper(data: Path, maps: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ["--maps", maps, "--baseline", "canny", "--baseline", "sobel", "--people"]
    result = run(*options(data, out, *more))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2:] == [f"{out}/edges.md", f"{out}/edges.json"]
    report = json.loads((out / "edges.json").read_text())
    rows = {row[0]: row[1:] for row in report["tables"][0]["rows"]}
    assert rows["perfect"][:2] == [pytest.approx(1, abs=0.05)] * 2  # thinning takes the corners
    assert rows[recipe.PEOPLE] == [pytest.approx(1, abs=0.05), None, None, None]
    for name in ("Canny", "Sobel"):  # matches are exact here: 0.75 % of this diagonal is less than a pixel
        assert 0.2 < rows[name][0] <= 1
    assert rows["SAM ViT-H (paper)"] == [0.768, 0.786, 0.794, 0.928]
    assert report["headlines"][0]["paper"] == 0.768
    for figure in report["figures"]:
        assert min(image.size(out / figure["file"])) > 400
    assert not (out / "edges.partial.jsonl").exists()


def test_the_maps_of_a_model_are_kept_and_give_its_numbers_again(data: Path, weights: Path, tmp_path: Path) -> None:
    first = run(*options(data, tmp_path / "one", "--checkpoint", weights, "--max-images", 2))
    assert first.exit_code == 0, first.output
    kept = sorted((tmp_path / "one/maps").iterdir())
    assert [file.name for file in kept] == ["0.png", "1.png"]
    assert read_map(kept[0], SIZE).max() <= 1
    again = run(*options(data, tmp_path / "two", "--maps", tmp_path / "one/maps", "--max-images", 2))
    assert again.exit_code == 0, again.output
    tables = [json.loads((tmp_path / name / "edges.json").read_text())["tables"] for name in ("one", "two")]
    assert tables[0][0]["rows"][0][1:] == tables[1][0]["rows"][0][1:]


def test_workers_give_what_one_process_gives(data: Path, maps: Path, tmp_path: Path) -> None:
    config = recipe.BenchmarkConfig(data=data, maps=maps, thresholds=5)
    reports = [recipe.edges(config, None, ["sobel"], False, place(tmp_path / str(n), n)) for n in (1, 2)]
    assert reports[0].results == reports[1].results


def test_a_picture_without_a_map_is_named_or_left_out_for_all(data: Path, maps: Path, tmp_path: Path) -> None:
    (maps / "1.png").unlink()
    result = run(*options(data, tmp_path / "a", "--maps", maps))
    assert result.exit_code == 2
    assert "BSDS500/1: expected a map of edges" in result.stderr
    result = run(*options(data, tmp_path / "b", "--maps", maps, "--baseline", "sobel", "--skip-bad"))
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "b/edges.json").read_text())
    assert list(report["skipped"]) == ["BSDS500/1"]
    assert [len(report["results"][name]["best_f"]) for name in ("perfect", "Sobel")] == [2, 2]


WRONG = {
    "baseline": (["--baseline", "hed"], "one of canny, sobel, got hed"),
    "both": (["--maps", "MAPS", "--model", "opensam_tiny"], "a model or --maps, got both"),
    "no data": (["--data", "nowhere"], "expected BSDS500 in nowhere"),
}


@pytest.mark.parametrize(("more", "words"), WRONG.values(), ids=WRONG)
def test_wrong_options_are_one_sentence(more: list[str], words: str, data: Path, tmp_path: Path) -> None:
    result = run(*options(data, tmp_path / "out", *more))
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
