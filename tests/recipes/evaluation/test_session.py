import json
from functools import partial

import pytest
from tests.eval.synthetic_eval import ready, write_two_datasets

from opensam.config import Config
from opensam.data.specs import open_datasets
from opensam.eval.report import Report
from opensam.eval.runner import Progress, list_items
from opensam.launch import pool
from opensam.recipes.evaluation.session import Session, Setting


class Settings(Config):
    """Of no evaluation."""


def place(out, workers, skip_bad=False, backend="local", report=lambda _: None):
    def spread(start, items, count):
        return pool.answers(backend, workers, start, items, out, "cpu")

    return Setting(out, spread, report, workers, skip_bad)


@pytest.fixture
def datasets(tmp_path):
    write_two_datasets(tmp_path / "data")
    return [dataset for dataset, _ in open_datasets([str(tmp_path / "data")])]


@pytest.mark.parametrize(("workers", "backend"), [(2, "local"), (1, "ray")])
def test_workers_give_what_this_process_gives(datasets, tmp_path, workers, backend):
    if backend == "ray":
        pytest.importorskip("ray")
    items, values = list_items(datasets), []
    for number, (count, kind) in enumerate([(1, "local"), (workers, backend)]):
        session = Session(place(tmp_path / str(number), count, backend=kind), "sizes", Settings())
        values.append(session.measure("bytes", items, partial(ready, datasets)).values)
    assert list(values[0].items()) == list(values[1].items())
    assert [item.key for item in values[0]] == [
        "boxes/boxes-000_0",
        "boxes/boxes-001_0",
        "discs/discs_0",
        "discs/discs_1",
    ]


def test_a_picture_over_which_workers_die_is_named_or_passed_over(datasets, tmp_path):
    items, start = list_items(datasets), partial(ready, datasets, "discs_1")
    with pytest.raises(ValueError, match=r"discs/discs_1: .*exit code 3.*--skip-bad"):
        Session(place(tmp_path / "a", 2), "sizes", Settings()).measure("bytes", items, start)
    session = Session(place(tmp_path / "b", 2, skip_bad=True), "sizes", Settings())
    assert len(session.measure("bytes", items, start).values) == 3
    assert "exit code 3" in session.skipped["discs/discs_1"]


def test_no_picture_that_can_be_used_is_an_error(datasets, tmp_path):
    (item,) = [item for item in list_items(datasets) if item.name == "discs_1"]
    session = Session(place(tmp_path, 2, skip_bad=True), "sizes", Settings())
    with pytest.raises(ValueError, match=r"none among 1: .*exit code 3"):
        session.measure("bytes", [item], partial(ready, datasets, "discs_1"))


def test_a_second_start_measures_what_is_missing_until_the_report_is_written(datasets, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "opensam.recipes.evaluation.session.run_facts", lambda *_: {"commit": "c", "versions": {}, "seed": 0}
    )
    items, steps = list_items(datasets), []
    Session(place(tmp_path, 1), "sizes", Settings()).measure("bytes", items[:2], partial(ready, datasets))
    session = Session(place(tmp_path, 1, report=steps.append), "sizes", Settings())
    session.measure("bytes", items, partial(ready, datasets))
    assert steps == [Progress("bytes", "discs", 3, 4), Progress("bytes", "discs", 4, 4)]
    session.finish(Report("sizes", "Sizes", (), {"n": 4}, session.config, session.facts))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["sizes.json", "sizes.md"]
    assert json.loads((tmp_path / "sizes.json").read_text())["results"] == {"n": 4}
