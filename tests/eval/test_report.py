import json
import re
import subprocess
from pathlib import Path

import pytest

from opensam.config import Config
from opensam.eval.metrics import DatasetScores, MethodScores, SizeScores
from opensam.eval.report import commit_of, markdown_table, run_facts, size_table, write_report


class Settings(Config):
    data: Path = Path("val")


def ours(**changed):
    few = {"iou@1": 0.5, "oracle@1": 0.7, "noc@90": 3.0, "box": 0.8} | changed
    many = {"iou@1": 0.3, "oracle@1": 0.5, "noc@90": 10.5, "box": 0.6}
    return MethodScores("tiny", {"few": DatasetScores(1, 2, 2.0, few), "many": DatasetScores(3, 40, 6.0, many)})


def theirs():
    return MethodScores(
        "GrabCut",
        {"few": DatasetScores(1, 2, 1.0, {"box": 0.4}), "many": DatasetScores(3, 40, 1.0, {"box": 0.5})},
    )


def test_the_table_has_a_row_per_data_set_and_their_mean():
    assert markdown_table([ours()]) == (
        "| data set | images | masks | 1 click | 1 click, best of 3 | box | NoC@90 |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| few | 1 | 2 | 0.500 | 0.700 | 0.800 | 3.00 |\n"
        "| many | 3 | 40 | 0.300 | 0.500 | 0.600 | 10.50 |\n"
        "| mean of 2 data sets | 4 | 42 | 0.400 | 0.600 | 0.700 | 6.75 |\n"
    )


def test_two_methods_stand_side_by_side_where_both_have_a_score():
    lines = markdown_table([ours(), theirs()]).splitlines()
    assert lines[0] == (
        "| data set | images | masks | 1 click | 1 click, best of 3 | tiny: box | GrabCut: box | NoC@90 |"
    )
    assert lines[2] == "| few | 1 | 2 | 0.500 | 0.700 | 0.800 | 0.400 | 3.00 |"
    assert lines[-1] == "| mean of 2 data sets | 4 | 42 | 0.400 | 0.600 | 0.700 | 0.450 | 6.75 |"


def by_size(method, score):
    return MethodScores(
        method, theirs().datasets, [SizeScores(0.002, 3, {"box": score}), SizeScores(1.0, 39, {"box": 0.5})]
    )


def test_the_table_by_size_has_a_row_per_size():
    assert size_table([by_size("tiny", 0.25), by_size("GrabCut", 0.125)]) == (
        "| size of the mask | masks | tiny: box | GrabCut: box |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| up to 0.2 % of the picture | 3 | 0.250 | 0.125 |\n"
        "| up to 100 % of the picture | 39 | 0.500 | 0.500 |\n"
    )


def test_both_files_hold_the_numbers_and_what_they_depend_on(tmp_path):
    facts = run_facts(device="cpu", seed=3)
    markdown, machine = write_report(tmp_path / "new" / "folder", [ours(), theirs()], Settings(), facts)
    text, content = markdown.read_text(), json.loads(machine.read_text())
    assert text.startswith(markdown_table([ours(), theirs()]))
    assert f"commit: {facts['commit']}" in text
    assert "tiny 0.50 images/s" in text
    assert content["config"] == {"data": "val"}
    assert content["seed"] == 3
    assert content["versions"]["torch"] == facts["versions"]["torch"]
    assert content["machine"]["threads"] >= 1
    assert content["methods"]["tiny"]["mean"]["box"] == pytest.approx(0.7)
    assert content["methods"]["tiny"]["images_per_second"] == pytest.approx(0.5)
    assert content["methods"]["tiny"]["sizes"] == []
    few = {"images": 1, "masks": 2, "seconds": 1.0, "scores": {"box": 0.4}}
    assert content["methods"]["GrabCut"]["datasets"]["few"] == few
    assert sorted(path.name for path in markdown.parent.iterdir()) == ["clicks.json", "clicks.md"]


def test_facts_name_a_commit_or_none_and_every_version():
    facts = run_facts(device="cpu", seed=0)
    assert facts["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", facts["commit"])
    assert facts["versions"]["numpy"]
    assert facts["device"] == "cpu"
    assert facts["machine"]["processor"]


def test_the_commit_is_of_the_checkout_that_tracks_the_file(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", "-C", tmp_path, *who, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    tracked, installed = tmp_path / "tracked.py", tmp_path / "installed.py"
    tracked.write_text("1")
    installed.write_text("1")
    assert commit_of(tracked) is None
    git("init", "-q")
    git("add", "tracked.py")
    git("commit", "-q", "-m", "one")
    git("tag", "v1")
    head = git("rev-parse", "HEAD")
    assert commit_of(tracked) == head
    assert commit_of(installed) is None
    tracked.write_text("2")
    assert commit_of(tracked) == f"{head}-dirty"


def fewer_masks():
    return MethodScores("GrabCut", {**theirs().datasets, "many": DatasetScores(3, 39, 1.0, {"box": 0.5})})


def other_datasets():
    return MethodScores("GrabCut", {"few": theirs().datasets["few"]})


@pytest.mark.parametrize(
    "methods", [[], [MethodScores("tiny", {})], [ours(), fewer_masks()], [ours(), other_datasets()]]
)
def test_what_cannot_be_compared_is_refused_and_nothing_is_written(methods, tmp_path):
    with pytest.raises(ValueError, match="a report expects"):
        write_report(tmp_path / "out", methods, Settings(), {})
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_the_old_report_and_nothing_half_written(tmp_path, monkeypatch):
    markdown, _ = write_report(tmp_path, [ours()], Settings(), {})
    before = markdown.read_text()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_report(tmp_path, [ours(box=0.1)], Settings(), {})
    assert markdown.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.json", "clicks.md"]
