from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from opensam.eval.report import Figure, Headline, Report, Table
from opensam.recipes.evaluation.page import write_page

VOID = {"meta", "img"}


class Checked(HTMLParser):
    """Fails on tags that do not close, and keeps what is linked and loaded."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.ids, self.sources = [], set(), set(), []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.ids.add(values.get("id"))
        self.links |= {values["href"]} if "href" in values else set()
        self.sources += [values["src"]] if "src" in values else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def report(name, **changed):
    table = Table("By <data set>", ("data set", "IoU"), (("a & b", 0.5),), 3, "Mean.")
    values = {"tables": (table,), "results": {}, "config": {}, "facts": {"seed": 0}} | changed
    return Report(name, f"Title of {name}", **values)


def test_the_page_is_whole_and_holds_its_figures(tmp_path):
    cv2.imwrite(str(tmp_path / "curve.png"), np.full((4, 6, 3), 200, dtype=np.uint8))
    reports = [
        report(
            "clicks", figures=(Figure("curve.png", "Curve"),), headlines=(Headline("IoU", 0.5, 0.75, "GrabCut 0.4"),)
        ),
        report("edges", skipped={"val/a": "cut <short>"}),
    ]
    write_page(tmp_path / "report.html", "All <evaluations>", reports, ["text: no --clip was given"])
    text = (tmp_path / "report.html").read_text()
    page = Checked(text.partition("\n")[2])
    assert page.links == {"#clicks", "#edges"} <= {f"#{one}" for one in page.ids}
    assert len(page.sources) == 1
    assert page.sources[0].startswith("data:image/png;base64,")
    for words in (
        "All &lt;evaluations&gt;",
        "a &amp; b",
        "GrabCut 0.4",
        "text: no --clip",
        "cut &lt;short&gt;",
        "seed: 0",
    ):
        assert words in text
    assert "http" not in text, "nothing is loaded from elsewhere"


def test_a_missing_figure_is_named_and_no_page_is_left(tmp_path):
    with pytest.raises(OSError, match=r"gone\.png"):
        write_page(tmp_path / "report.html", "All", [report("clicks", figures=(Figure("gone.png", "Gone"),))])
    assert not list(tmp_path.iterdir())
