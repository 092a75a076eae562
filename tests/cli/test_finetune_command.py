"""`opensam finetune`: what it prints and writes, and how it fails."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from tests.recipes.test_finetuning import SETTINGS, make_sam
from typer.testing import CliRunner

from opensam.cli import app
from opensam.cli.finetune import as_file, specs_of
from opensam.models import checkpoints
from opensam.recipes import finetuning

OPTIONS = [part for setting in SETTINGS for part in ("--set", setting)]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["finetune", *map(str, arguments)])


def write_coco(folder: Path, count: int) -> list[str]:
    """A COCO file with one rectangle per picture, and its pictures, as arguments."""
    (folder / "images").mkdir(parents=True)
    pictures, masks = [], []
    for n in range(count):
        rgb = np.full((48, 64, 3), 40, np.uint8)
        rgb[6:30, 8 : 30 + n] = 200
        Image.fromarray(rgb).save(folder / "images" / f"{n}.png")
        corners = [8, 6, 30 + n, 6, 30 + n, 30, 8, 30]
        pictures.append({"id": n, "file_name": f"{n}.png", "height": 48, "width": 64})
        masks.append({"id": n, "image_id": n, "category_id": 1, "segmentation": [corners], "iscrowd": 0})
    categories = [{"id": 1, "name": "box"}, {"id": 2, "name": "none"}]
    content = {"images": pictures, "annotations": masks, "categories": categories}
    (folder / "my.json").write_text(json.dumps(content))
    return [str(folder / "my.json"), str(folder / "images")]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    checkpoints.save(make_sam(), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def test_one_line_trains_and_says_what_came_of_it(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightning_fabric")
    monkeypatch.chdir(tmp_path)
    result = run(*write_coco(tmp_path / "data", 5), "--init", weights, "--category", "box", *OPTIONS)
    assert result.exit_code == 0, result.output
    folder = Path("runs/my-small-decoder")
    assert "small: training the mask decoder, 0." in result.stderr
    assert "4 pictures with 4 masks to learn from; 1 held out to measure" in result.stderr
    assert "training 4/4" in result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["IoU", "from", "before", "after", "difference"] in rows
    assert any(row[:1] == ["box"] and len(row) == 4 for row in rows)
    assert f"--checkpoint {folder}/finetuned.safetensors" in result.stdout
    (picture,) = (folder / "pictures").iterdir()
    with Image.open(picture) as side_by_side:
        assert side_by_side.size == (3 * 64 + 2 * 4, 48)
    photo = tmp_path / "data" / "images" / "0.png"
    predicted = CliRunner().invoke(
        app, ["predict", str(photo), "--point", "20,20", "--checkpoint", str(folder / "finetuned.safetensors")]
    )
    assert predicted.exit_code == 0, predicted.output


@pytest.mark.parametrize("saved", [True, False])
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, weights: Path, saved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(plan: finetuning.Plan, *_: object) -> None:
        (plan.folder / finetuning.TRAINING).mkdir(parents=True)
        if saved:
            (plan.folder / finetuning.TRAINING / "last.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, "run", interrupt)
    result = run(*write_coco(tmp_path / "data", 3), "--init", weights, "--out", tmp_path / "run")
    assert result.exit_code == 130
    assert "the same command" in result.stderr.splitlines()[-1]
    assert (str(tmp_path / "run" / "training" / "last.pt") in result.stderr) == saved


@pytest.mark.parametrize(
    ("count", "options", "words"),
    [
        (1, [], "at least two pictures with masks"),
        (3, ["--category", "cat"], "one of box, none, got 'cat'"),
        (3, ["--category", "none"], "masks of none"),
        (3, ["--set", "optim.rate=1"], "optim.rate"),
        (3, ["--val-share", "1.5"], "val_share"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, weights: Path, count: int, options: list[str], words: str) -> None:
    result = run(*write_coco(tmp_path / "data", count), "--init", weights, "--out", tmp_path / "run", *options)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert words in line


def test_without_masks_it_is_one_sentence(tmp_path: Path, weights: Path) -> None:
    _, images = write_coco(tmp_path / "data", 3)
    result = run(images, "--init", weights, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "got" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_wrong_path_is_heard_of_before_a_model_is_downloaded(tmp_path: Path) -> None:
    annotations, _ = write_coco(tmp_path / "data", 3)
    for data in ([str(tmp_path / "none")], [annotations, str(tmp_path / "none")]):
        result = run(*data, "--init", "vit_h")
        assert result.exit_code == 2
        assert "none, which does not exist" in result.stderr


def test_dry_run_prints_the_config_and_leaves_nothing(tmp_path: Path, weights: Path) -> None:
    arguments = [*write_coco(tmp_path / "data", 5), "--init", weights, "--out", tmp_path / "run"]
    config = json.loads(run(*arguments, "--trainable", "lora", "--rank", "4", "--steps", "7", "--dry-run").stdout)
    assert (config["trainable"], config["rank"], config["alpha"], config["steps"]) == ("lora", 4, 4.0, 7)
    assert not (tmp_path / "run").exists()


def test_a_json_file_belongs_to_the_folder_behind_it() -> None:
    assert specs_of(["a.json", "images/", "folder", "b.JSON", "more@2"]) == [
        "a.json:images/", "folder", "b.JSON:more@2"
    ]  # fmt: skip
    for bad in (["a.json"], ["a.json", "b.json", "images"]):
        with pytest.raises(ValueError, match=r"write a.json IMAGES/"):
            specs_of(bad)


def test_init_is_a_model_or_a_file() -> None:
    assert as_file(None) is None
    assert as_file("vit_b") is None
    assert as_file("vit_x") is None, "so that the error lists the models"
    assert as_file("missing.pth") == Path("missing.pth")
