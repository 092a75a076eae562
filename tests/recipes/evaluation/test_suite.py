import json

import pytest

from opensam.eval.report import Headline, Report, write_report
from opensam.recipes.evaluation.session import Setting
from opensam.recipes.evaluation.suite import Part, read_reports, run_suite


def report(name):
    headlines = (Headline("score", 0.25, 0.5),)
    return Report(name, f"The {name}", (), {"n": 1}, {}, {"commit": "c"}, headlines=headlines)


def evaluation(name, ran):
    """An evaluation that leaves a journal as long as it is told to keep it."""

    def run(setting):
        ran.append((name, setting.keep))
        setting.out.mkdir(exist_ok=True)
        (setting.out / f"{name}.partial.jsonl").touch()
        write_report(setting.out, report(name))
        return report(name)

    return run


def test_what_can_be_run_is_run_and_the_rest_is_named(tmp_path):
    ran = []
    parts = [
        Part("clicks", evaluation("clicks", ran)),
        Part("text", None, "no --clip"),
        Part("edges", evaluation("edges", ran)),
    ]
    reports, left_out = run_suite(parts, Setting(tmp_path / "out", None, None))
    assert [one.name for one in reports] == ["clicks", "edges"]
    assert left_out == ["text: no --clip"]
    assert ran == [("clicks", True), ("edges", True)], "one that breaks off must find the values of those before it"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{name}.{kind}" for name in ("clicks", "edges") for kind in ("md", "json")} | {
        f"report.{kind}" for kind in ("md", "json", "html")
    }
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(content["reports"]) == ["clicks", "edges"]
    assert content["left_out"] == ["text: no --clip"]
    text = (tmp_path / "out" / "report.md").read_text()
    for words in ("| The clicks: score | 0.250 | 0.500 |", "[The edges](edges.md)", "left out: text: no --clip"):
        assert words in text
    assert "text: no --clip" in (tmp_path / "out" / "report.html").read_text()


def test_nothing_to_run_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"got nothing: text: no --clip"):
        run_suite([Part("text", None, "no --clip")], Setting(tmp_path / "out", None, None))
    assert not (tmp_path / "out").exists()


def test_values_are_kept_when_a_later_evaluation_fails(tmp_path):
    def fail(setting):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_suite(
            [Part("clicks", evaluation("clicks", [])), Part("edges", fail)], Setting(tmp_path / "out", None, None)
        )
    assert (tmp_path / "out" / "clicks.partial.jsonl").exists()


def test_reports_of_single_evaluations_are_found_in_their_order(tmp_path):
    for name in ("edges", "clicks"):
        write_report(tmp_path, report(name))
    (tmp_path / "other.json").write_text("{}")
    assert read_reports(tmp_path) == [report("clicks"), report("edges")]
    with pytest.raises(ValueError, match="got none"):
        read_reports(tmp_path / "empty")
