import json
from pathlib import Path

import pytest
from tests.eval.synthetic_eval import here, write_two_datasets

from opensam.data.benchmarks import benchmark_names
from opensam.eval.metrics import DatasetScores, MethodScores
from opensam.eval.single_point import PAPER, ClicksConfig
from opensam.recipes.evaluation import clicks
from opensam.recipes.evaluation.session import ModelChoice, Setting


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of a model of random weights beside all baselines, and its folder."""
    folder = tmp_path_factory.mktemp("clicks")
    write_two_datasets(folder / "data")
    config = ClicksConfig(data=(str(folder / "data"),), clicks=3)
    choice = ModelChoice(model="opensam_tiny", image_size=64)
    setting = Setting(folder / "out", here, lambda _: None)
    return clicks.clicks(config, choice, ["grabcut", "watershed", "random_walker"], setting, "outlines"), folder / "out"


def test_the_report_compares_all_methods_and_shows_what_fails(report):
    made, folder = report
    assert list(made.results) == ["opensam_tiny", "GrabCut", "watershed", "random walker"]
    assert made.tables[0].heads[1:] == tuple(made.results)
    assert [table.title for table in made.tables][1:3] == ["By data set", "By size of the mask"]
    for figure in made.figures:
        assert (folder / figure.file).stat().st_size > 1000
    assert {"clicks.md", "clicks.json", "clicks"} == {path.name for path in folder.iterdir()}
    content = json.loads((folder / "clicks.json").read_text())
    assert content["results"]["watershed"]["datasets"]["discs"]["masks"] == 3


def test_the_summary_names_the_best_baseline(report):
    made, _ = report
    others = {name: one["mean"]["iou@1"] for name, one in made.results.items() if "iou@1" in one["mean"]}
    name, best = max(list(others.items())[1:], key=lambda pair: pair[1])
    (line,) = [line for line in made.headlines if line.score == "mean IoU, 1 click"]
    assert line.baseline == f"{name} {best:.3f}"


def test_the_papers_numbers_stand_beside_data_sets_of_their_name():
    assert set(PAPER) <= set(benchmark_names())
    assert len(PAPER) == 23
    scores = {"iou@1": 0.5}
    ours = MethodScores("tiny", {name: DatasetScores(1, 1, 1.0, scores) for name in ("gtea", "mine")})
    (table,) = clicks.paper_table(ours)
    assert table.texts() == [["gtea", "0.500", "-0.214"]]
    assert clicks.paper_table(MethodScores("tiny", {"mine": DatasetScores(1, 1, 1.0, scores)})) == ()


def test_sheets_can_be_left_out(tmp_path):
    write_two_datasets(tmp_path / "data")
    config = ClicksConfig(data=(str(tmp_path / "data"),), clicks=1, max_images=1)
    setting = Setting(tmp_path / "out", here, lambda _: None)
    made = clicks.clicks(config, ModelChoice(image_size=64), [], setting, "none")
    assert [Path(figure.file).name for figure in made.figures] == ["curve.png"]
