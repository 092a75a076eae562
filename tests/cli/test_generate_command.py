"""`opensam generate`: options, what it says, how it ends; tests/recipes/test_generation.py has the work itself."""

import json
from pathlib import Path

import pytest
from tests.recipes.stand_in import FAILS, open_stand_in, read_all, write_photos
from tests.test_cli import assert_one_sentence, files, run, run_process, save_model

from opensam.amg import MaskGenerator
from opensam.cli.generate import GenerateView
from opensam.models.tiny_vit import TinyViTConfig
from opensam.recipes import generation
from opensam.records import read_image_record

# Random weights are sure of nothing.
ANYTHING = ["--set", "points_per_side=2", "--set", "pred_iou_thresh=0", "--set", "stability_score_thresh=0"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures in two folders, and a file that is no picture."""
    folder = write_photos(tmp_path / "photos", {"a.png": 20, "sub/b.png": 21, "sub/c.png": 22})
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks by brightness, and no model."""
    monkeypatch.setattr(generation, "open_segment", lambda *_: open_stand_in())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model."""
    encoder = TinyViTConfig(image_size=128, embed_dims=(16, 32, 40, 64), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    return save_model(tmp_path_factory.mktemp("weights") / "random.safetensors", encoder)


def test_a_folder_of_pictures_becomes_a_folder_of_records(photos: Path, tmp_path: Path, weights: Path) -> None:
    result = run("generate", photos, "--out", tmp_path / "out", "--checkpoint", weights, *ANYTHING)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0] == "3 images to segment; passed over 1 other files"
    assert result.stderr.splitlines()[-1].startswith("segmenting 3/3 ")
    assert all(word in result.stderr.splitlines()[-1] for word in ("masks", "images/s", "0:00:00 left"))
    summary, place = result.stdout.splitlines()
    assert summary.startswith("3 images, ")
    assert place == str(tmp_path / "out")
    assert {*read_all(tmp_path / "out")} == {"a.json", "sub/b.json", "sub/c.json"}
    record = read_image_record(tmp_path / "out/sub/b.json")
    assert (record.image.image_id, record.image.file_name) == (2, "sub/b.png")
    assert record.annotations[0].id == 2_000_001


def test_processes_write_what_one_process_writes(photos: Path, tmp_path: Path, weights: Path) -> None:
    options = ("--checkpoint", weights, *ANYTHING)
    assert run("generate", photos, "--out", tmp_path / "one", *options).exit_code == 0
    result = run_process("generate", photos, "--out", tmp_path / "two", *options, "--workers", "2")
    assert result.returncode == 0, result.stderr
    assert read_all(tmp_path / "two") == read_all(tmp_path / "one")


@pytest.mark.usefixtures("stand_in")
def test_a_bad_picture_is_counted_and_named_and_does_not_change_the_exit_code(photos: Path, tmp_path: Path) -> None:
    (photos / "sub/b.png").write_bytes(b"no picture")
    result = run("generate", photos, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("2 images, 6 masks, ")
    assert lines[1] == f"skipped 1 image; {tmp_path}/out/skipped.csv lists them"
    assert lines[2].startswith("  1 x cannot read the given bytes as a picture")
    assert str(photos / "sub/b.png") in (tmp_path / "out/skipped.csv").read_text()
    again = run("generate", photos, "--out", tmp_path / "out")
    assert "2 images done before" in again.stdout.splitlines()


@pytest.mark.usefixtures("stand_in")
def test_where_no_picture_can_be_used_the_command_fails(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", {"a.png": FAILS})
    result = run("generate", photos, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "Error: expected pictures that can be used, got none among 1: " in result.stderr


@pytest.mark.usefixtures("stand_in")
def test_ctrl_c_says_how_far_it_came_and_the_same_command_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: GenerateView, progress: generation.Progress) -> None:
        self.progress = progress
        if progress.done == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(GenerateView, "__call__", interrupt)
        result = run("generate", photos, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-1] == "interrupted; 2 of 3 images are done, and the same command goes on"
    result = run("generate", photos, "--out", tmp_path / "out")
    assert result.stdout.splitlines()[1] == "2 images done before"


def test_dry_run_prints_the_resolved_config_and_the_number_of_pictures(photos: Path, tmp_path: Path) -> None:
    options = ["--preset", "sa1b", "--set", "points_per_side=16", "--tile", "--set", "tiles.overlap=100"]
    result = run("generate", photos, "--out", tmp_path / "out", *options, "--dry-run")
    assert result.exit_code == 0, result.output
    config = json.loads(result.stdout)
    assert (config["pictures"], config["model"], config["format"]) == (3, "opensam_tiny", "sa1b")
    assert (config["amg"]["points_per_side"], config["amg"]["crop_n_layers"]) == (16, 2)
    assert config["tiles"]["overlap"] == 100
    assert config["precision"] in ("float32", "bf16")
    assert files(tmp_path) == {"photos"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "mask"], ["expected a format, one of sa1b, coco,", "got mask"]),
        (["--preset", "best"], ["expected a preset, one of official, sa1b, tiny, got best"]),
        (["--set", "points=16"], ["unknown config key 'points'", "points_per_side"]),
        (["--set", "tiles.overlap=16"], ["expected --tile with --set tiles.overlap=16"]),
        (["--model", "vit_x"], ["expected the name of a model, got 'vit_x'"]),
        (["--checkpoint", "none.pth"], ["expected a file none.pth", "check the path"]),
        (["--shards-out", "4", "--overlay"], ["expected SA-1B records alone in tars, got --overlay"]),
    ],
)
def test_wrong_options_are_one_sentence(photos: Path, tmp_path: Path, options: list[str], words: list[str]) -> None:
    assert_one_sentence(run("generate", photos, "--out", tmp_path / "out", *options), *words)
    assert files(tmp_path) == {"photos"}


@pytest.mark.usefixtures("stand_in")
def test_a_backend_that_is_not_there_is_one_sentence(photos: Path, tmp_path: Path) -> None:
    result = run("generate", photos, "--out", tmp_path / "out", "--backend", "slurm")
    assert result.exit_code == 2
    assert "expected a backend, one of local, ray, got slurm" in result.stderr


@pytest.mark.usefixtures("stand_in")
def test_a_folder_that_cannot_be_written_to_is_one_sentence(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("generate", photos, "--out", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert f"cannot use {tmp_path}/file/out" in result.stderr


@pytest.mark.usefixtures("stand_in")
def test_an_empty_folder_and_another_job_are_one_sentence(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_one_sentence(run("generate", tmp_path / "empty", "--out", tmp_path / "out"), "got none in", "check the path")
    assert run("generate", photos, "--out", tmp_path / "out").exit_code == 0
    other = run("generate", photos, "--out", tmp_path / "out", "--set", "points_per_side=16")
    assert_one_sentence(other, "amg.points_per_side=32 instead of 16", "choose another --out")


def test_tiles_reach_the_generator(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(MaskGenerator, "generate", lambda self, image: seen.append(image.shape) or [])
    photos = write_photos(tmp_path / "photos", {"a.png": 100})
    options = ["--tile", "--set", "tiles.tile_size=64", "--set", "tiles.overlap=32", "--set", "tiles.overview=false"]
    result = run("generate", photos, "--out", tmp_path / "out", "--checkpoint", weights, *options)
    assert result.exit_code == 0, result.output
    assert "1 image without any mask" in result.stdout
    assert {shape[1] for shape in seen} == {64}
    assert len(seen) > 1
