"""A job over a folder: what is written, that nothing is lost or done twice, and that who works changes nothing."""

import csv
import errno
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock
from tests.recipes.stand_in import DIES, DIES_ONCE, FAILS, make_config, read_all, run_job, write_photos

from opensam.data.sa1b import read_shard
from opensam.files import replacing
from opensam.recipes import generation, results
from opensam.recipes.inputs import find_pictures
from opensam.records import read_image_record

ROOT = Path(__file__).parents[2]
WIDTHS = {f"{folder}/{number}.png": 20 + number for folder in "ab" for number in range(4)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight pictures in two folders."""
    return write_photos(tmp_path / "photos", WIDTHS)


def rows(out: Path) -> list[list[str]]:
    with (out / "skipped.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_each_picture_has_a_record_with_numbers_of_its_own(photos: Path, tmp_path: Path) -> None:
    end = run_job(photos, tmp_path / "out")
    assert (end.done, end.todo, end.before, end.masks, end.empty) == (8, 8, 0, 24, 0)
    written = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.json")}
    assert written == {Path("run.json"), *(Path(name).with_suffix(".json") for name in WIDTHS)}
    record = read_image_record(tmp_path / "out/b/0.json")
    assert record.image.model_dump() == {"image_id": 5, "width": 20, "height": 20, "file_name": "b/0.png"}
    assert [mask.id for mask in record.annotations] == [5_000_001, 5_000_002, 5_000_003]


@pytest.mark.parametrize("form", ["sa1b", "coco", "yolo", "labelme", "png", "labelmap"])
def test_every_format_goes_on_and_comes_to_the_same(photos: Path, tmp_path: Path, form: str) -> None:
    run_job(photos, tmp_path / "whole", format=form, overlay=True)
    whole = read_all(tmp_path / "whole")
    run_job(photos, tmp_path / "out", format=form, overlay=True)
    assert read_all(tmp_path / "out") == whole
    for name in whole:
        if "a/1" in name or "b/2" in name or "/" not in name:  # as if they had not been written yet
            (tmp_path / "out" / name).unlink()
    end = run_job(photos, tmp_path / "out", format=form, overlay=True)
    assert (end.before, end.done) == (6, 2)
    assert read_all(tmp_path / "out") == whole


def test_pictures_that_cannot_be_used_are_listed_and_tried_again(photos: Path, tmp_path: Path) -> None:
    (photos / "a/9.jpg").write_bytes(b"no picture")
    (photos / "a/8.jpg").touch()
    write_photos(photos, {"c/0.png": FAILS})
    end = run_job(photos, tmp_path / "out")
    assert (end.done, end.skipped.total()) == (11, 3)
    assert [(number, Path(place).name) for number, place, _ in rows(tmp_path / "out")] == [
        ("5", "8.jpg"), ("6", "9.jpg"), ("11", "0.png")
    ]  # fmt: skip
    reasons = [reason for *_, reason in rows(tmp_path / "out")]
    assert "it is empty (0 bytes)" in reasons[0]
    assert "cannot read the given bytes as a picture" in reasons[1]
    assert reasons[2] == "RuntimeError: out of memory"
    write_photos(photos, {"a/9.jpg": 25})
    end = run_job(photos, tmp_path / "out")
    assert (end.done, end.before, end.skipped.total()) == (3, 8, 2)
    assert [number for number, *_ in rows(tmp_path / "out")] == ["5", "11"]


def test_a_picture_without_masks_has_a_record_without_masks(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", {"a.png": 20})
    from PIL import Image

    Image.new("RGB", (20, 10)).save(photos / "black.png")
    end = run_job(photos, tmp_path / "out")
    assert (end.empty, end.masks) == (1, 3)
    assert read_image_record(tmp_path / "out/black.json").annotations == []


def test_where_no_picture_can_be_used_the_job_fails(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", {"a.png": FAILS, "b.png": FAILS})
    with pytest.raises(ValueError, match="can be used, got none among 2: RuntimeError: out of memory"):
        run_job(photos, tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 2


def test_another_config_or_another_list_of_pictures_is_refused(photos: Path, tmp_path: Path) -> None:
    run_job(photos, tmp_path / "out")
    with pytest.raises(ValueError, match=r"got one with precision=float32 instead of bf16; .* choose another --out"):
        run_job(photos, tmp_path / "out", precision="bf16")
    write_photos(photos, {"c.png": 20})
    with pytest.raises(ValueError, match=r"got one with names=.* instead of"):
        run_job(photos, tmp_path / "out")


def test_a_folder_with_other_things_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/0.json").write_text("mine")
    with pytest.raises(ValueError, match=r"expected --out to be a new folder.* with 0\.json in it"):
        run_job(photos, tmp_path / "out")
    assert (tmp_path / "out/0.json").read_text() == "mine"


def test_two_jobs_in_one_folder_at_a_time_are_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out/.opensam").mkdir(parents=True)
    with FileLock(tmp_path / "out/.opensam/lock"), pytest.raises(ValueError, match="expected nobody else to work on"):
        run_job(photos, tmp_path / "out")


def fill_disk_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path):
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")  # as from a write, it does not name the file
        return replacing(path)

    monkeypatch.setattr(results, "replacing", full)


@pytest.mark.parametrize(("settings", "file"), [({}, "2.json"), ({"shard_size": 3}, "masks-000001.tar")])
def test_a_full_disk_ends_the_job_and_it_goes_on_when_there_is_room(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], file: str
) -> None:
    run_job(photos, tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        fill_disk_at(file, patch)
        with pytest.raises(ValueError, match=f"cannot write .*{file}: No space left on device; .* command goes on"):
            run_job(photos, tmp_path / "out", **settings)
    assert run_job(photos, tmp_path / "out", **settings).before > 0
    assert read_all(tmp_path / "out") == read_all(tmp_path / "whole")


def test_a_name_that_is_too_long_for_the_disk_is_no_reason_to_stop(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", {"a.png": 20, "b" * 251 + ".png": 20, "c.png": 20})
    end = run_job(photos, tmp_path / "out")
    assert (end.done, list(end.skipped.values())) == (3, [1])
    assert "File name too long" in rows(tmp_path / "out")[0][2]


# ---- tars --------------------------------------------------------------------------------------------------


def test_tars_hold_a_fixed_number_of_pictures_beside_their_records(photos: Path, tmp_path: Path) -> None:
    run_job(photos, tmp_path / "out", shard_size=3)
    assert sorted(read_all(tmp_path / "out")) == ["masks-000000.tar", "masks-000001.tar", "masks-000002.tar"]
    pairs = [pair for shard in sorted((tmp_path / "out").glob("*.tar")) for pair in read_shard(shard)]
    assert [pair.name for pair in pairs] == [name.replace("/", "__").removesuffix(".png") for name in WIDTHS]
    assert [pair.picture for pair in pairs] == [(photos / name).read_bytes() for name in WIDTHS]
    assert [pair.record.image.image_id for pair in pairs] == list(range(1, 9))
    assert pairs[4].record.image.file_name == "b__0.png"
    with tarfile.open(tmp_path / "out/masks-000002.tar") as tar:
        assert tar.getnames() == ["b__2.png", "b__2.json", "b__3.png", "b__3.json"]


def test_tars_can_be_read_again_as_pictures(photos: Path, tmp_path: Path) -> None:
    run_job(photos, tmp_path / "tars", shard_size=3)
    run_job(tmp_path / "tars", tmp_path / "out")
    again = read_image_record(tmp_path / "out/masks/b__0.json")
    assert (again.image.image_id, again.image.file_name) == (5, "masks/b__0.png")


def test_what_was_skipped_in_a_finished_tar_stays_in_the_list(photos: Path, tmp_path: Path) -> None:
    (photos / "a/1.png").write_bytes(b"no picture")
    (photos / "b/3.png").write_bytes(b"no picture")
    run_job(photos, tmp_path / "out", shard_size=3)
    whole = read_all(tmp_path / "out")
    assert [number for number, *_ in rows(tmp_path / "out")] == ["2", "8"]
    (tmp_path / "out/masks-000002.tar").unlink()
    end = run_job(photos, tmp_path / "out", shard_size=3)
    assert (end.before, end.done, end.skipped.total()) == (6, 2, 1)
    assert read_all(tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("settings", "words"), [({"format": "coco"}, "--format coco"), ({"overlay": True}, "--overlay")]
)
def test_tars_hold_sa1b_records_only(photos: Path, tmp_path: Path, settings: dict[str, object], words: str) -> None:
    inputs = find_pictures([photos], tmp_path)
    with pytest.raises(ValueError, match=f"expected SA-1B records alone in tars, got {words}"):
        generation.check_writable(inputs, make_config(inputs, shard_size=3, **settings))


@pytest.mark.parametrize(("name", "words"), [("run.png", "called run"), ("instances.png", "called instances")])
def test_pictures_that_would_write_over_files_of_the_job_are_refused(tmp_path: Path, name: str, words: str) -> None:
    inputs = find_pictures([write_photos(tmp_path / "photos", {name: 20})], tmp_path / "out")
    with pytest.raises(ValueError, match=f"expected no picture {words}"):
        generation.check_writable(inputs, make_config(inputs))


# ---- who works ---------------------------------------------------------------------------------------------


def test_workers_that_die_change_nothing_but_for_a_picture_that_kills_two(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", WIDTHS | {"a/0.png": DIES, "c/0.png": DIES_ONCE, "c/1.png": 20})
    end = run_job(photos, tmp_path / "out", workers=2, shard_size=3)
    assert (tmp_path / "died").exists()
    assert (end.done, end.skipped.total()) == (10, 1)
    ((number, place, reason),) = rows(tmp_path / "out")
    assert (number, Path(place), "SIGKILL" in reason) == ("1", photos / "a/0.png", True)

    (photos / "a/0.png").write_bytes(b"no picture")
    run_job(photos, tmp_path / "whole", shard_size=3)
    whole, out = read_all(tmp_path / "whole"), read_all(tmp_path / "out")
    assert whole.pop("skipped.csv") != out.pop("skipped.csv")
    assert out == whole


def start(photos: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}/src{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.recipes.stand_in", str(photos), str(out), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_a_killed_job_goes_on_without_loss_or_duplicate(photos: Path, tmp_path: Path) -> None:
    process = start(photos, tmp_path / "out", "local", "2", "slowly")
    lines = [process.stdout.readline() for _ in range(3)]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert lines == ["done 1\n", "done 2\n", "done 3\n"]
    (tmp_path / "out/a/.opensam-0.tmp").touch()  # what a worker leaves that is killed while it writes
    end = run_job(photos, tmp_path / "out")
    assert 3 <= end.before < 8
    assert end.done == 8 - end.before
    run_job(photos, tmp_path / "whole")
    assert read_all(tmp_path / "out") == read_all(tmp_path / "whole")


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_worker_writes_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra opensam[ray]")
    photos = write_photos(tmp_path / "photos", WIDTHS | {"c/0.png": DIES_ONCE, "c/1.png": 20})
    process = start(photos, tmp_path / "out", "ray", "2")
    try:
        told, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert told.splitlines()[-1] == "done 10"
    assert (tmp_path / "died").exists()
    run_job(photos, tmp_path / "whole")
    assert read_all(tmp_path / "out") == read_all(tmp_path / "whole")
