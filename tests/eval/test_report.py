import json
from pathlib import Path

import pytest

from opensam.eval.report import Figure, Headline, Report, Table, headline_table, mean_row, read_report, write_report

TABLE = Table("Scores", ("method", "n", "IoU"), (("ours", 3, 0.5), ("paper", None, 0.25)), (0, 2), "Higher is better.")

LINES = (Headline("IoU", 0.5, 0.75, "GrabCut 0.400"), Headline("AR", None))


def report(**changed):
    values = {"tables": (TABLE,), "results": {"ours": 0.5}, "config": {"data": ["val"]}, "facts": {"seed": 3}} | changed
    return Report("clicks", "Clicks", **values)


def test_a_table_shows_numbers_with_their_decimals_and_nothing_for_what_is_not_there():
    assert TABLE.markdown() == (
        "| method | n | IoU |\n| --- | ---: | ---: |\n| ours | 3 | 0.50 |\n| paper |  | 0.25 |\n"
    )


def test_a_row_must_fit_its_heads():
    with pytest.raises(ValueError, match="expected 2 cells"):
        Table("", ("a", "b"), (("x",),))


def test_the_mean_row_sums_counts_and_leaves_holes_empty():
    rows = [("a", 2, 0.5, 1.0), ("b", 3, 1.0, None)]
    assert mean_row("mean", rows) == ("mean", 5, 0.75, None)


def test_both_files_hold_the_numbers_and_what_they_depend_on(tmp_path):
    figures = (Figure("curve.png", "IoU over clicks"),)
    whole = report(figures=figures, notes=("A note.",), skipped={"val/a": "cut short"}, headlines=LINES)
    markdown, machine = write_report(tmp_path / "new" / "folder", whole)
    text = markdown.read_text()
    assert text.startswith("# Clicks\n\n## Scores\n\n" + TABLE.markdown() + "\nHigher is better.\n")
    for words in ("A note.", "![IoU over clicks](curve.png)", "- val/a: cut short", "- seed: 3"):
        assert words in text
    content = json.loads(machine.read_text())
    assert (content["evaluation"], content["config"], content["seed"]) == ("clicks", {"data": ["val"]}, 3)
    assert content["results"] == {"ours": 0.5}
    assert content["skipped"] == {"val/a": "cut short"}
    assert read_report(machine) == whole
    assert sorted(path.name for path in markdown.parent.iterdir()) == ["clicks.json", "clicks.md"]


def test_a_result_that_is_no_number_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_report(tmp_path, report(results={"ours": float("nan")}))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_report_and_nothing_half_written(tmp_path, monkeypatch):
    markdown, _ = write_report(tmp_path, report())
    before = markdown.read_text()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_report(tmp_path, report(notes=("other",)))
    assert markdown.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.json", "clicks.md"]


def test_a_summary_has_a_row_for_each_number_that_stands_for_an_evaluation():
    table = headline_table([report(headlines=LINES), report(headlines=())])
    assert table.texts() == [["Clicks: IoU", "0.500", "0.750", "GrabCut 0.400"], ["Clicks: AR", "", "", ""]]


@pytest.mark.parametrize("content", ["", "[]", '{"evaluation": "x"}'])
def test_what_is_no_report_is_refused_by_name(content, tmp_path):
    (tmp_path / "clicks.json").write_text(content)
    with pytest.raises(ValueError, match=r"clicks\.json"):
        read_report(tmp_path / "clicks.json")
