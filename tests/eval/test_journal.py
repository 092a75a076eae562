"""Measurements that survive an interruption."""

from pathlib import Path

import numpy as np
import pytest
from tests.eval.synthetic_eval import run_clicks, write_two_datasets

from opensam.eval.journal import Journal
from opensam.eval.single_point import ClicksConfig
from opensam.image import Rgb


def test_values_come_back_and_a_line_cut_short_does_not(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.jsonl"
    journal = Journal(path, {"model": "a"})
    journal.add("one", [1, 2.5])
    journal.add("two", {"x": 1})
    with path.open("a") as file:
        file.write('["three", [1,')
    again = Journal(path, {"model": "a"})
    assert again.values == {"one": [1, 2.5], "two": {"x": 1}}
    again.add("three", 3)
    assert Journal(path, {"model": "a"}).values["three"] == 3
    again.delete()
    assert not path.exists()


def test_other_facts_begin_a_new_journal(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl", {"model": "a"}).add("one", 1)
    assert Journal(tmp_path / "journal.jsonl", {"model": "b"}).values == {}
    assert Journal(tmp_path / "journal.jsonl", {"model": "a"}).values == {}


class Whole:
    """Answers every box with the whole picture, and may fail."""

    def __init__(self, failing_call: int = 0) -> None:
        self.calls, self.failing_call = 0, failing_call

    def embed(self, image: Rgb) -> tuple[int, ...]:
        self.calls += 1
        if self.calls == self.failing_call:
            raise KeyboardInterrupt
        return image.shape[:2]

    def segment_boxes(self, embedding: tuple[int, ...], boxes: np.ndarray) -> np.ndarray:
        return np.ones((len(boxes), *embedding), bool)


def test_an_interrupted_evaluation_measures_only_what_is_missing(tmp_path: Path) -> None:
    write_two_datasets(tmp_path / "data")
    config = ClicksConfig(data=(str(tmp_path / "data"),))
    whole = Whole()
    expected = run_clicks(whole, config, tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        run_clicks(Whole(failing_call=3), config, tmp_path)
    rest = Whole()
    resumed = run_clicks(rest, config, tmp_path)
    assert rest.calls == whole.calls - 2
    assert resumed.mean == expected.mean
    assert resumed.sizes == expected.sizes
    assert resumed.datasets.keys() == expected.datasets.keys()
