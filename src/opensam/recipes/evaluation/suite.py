"""Several evaluations, one after the other, and one report of all."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opensam.eval.report import Report, conditions, headline_table, read_report
from opensam.files import replacing
from opensam.recipes.evaluation.page import write_page
from opensam.recipes.evaluation.session import Setting

TITLE = "Evaluations"
ORDER = ("clicks", "edges", "proposals", "instances", "text", "fairness", "geography", "human")


@dataclass(frozen=True)
class Part:
    """An evaluation that could be run.

    Attributes:
        name: of it.
        run: does it; None: something that it needs was not given.
        missing: what that is, in one sentence.
    """

    name: str
    run: Callable[[Setting], Report] | None
    missing: str = ""


def run_suite(parts: Sequence[Part], setting: Setting) -> tuple[list[Report], list[str]]:
    """Run what can be run, and write `report.md`, `report.json` and `report.html` beside the single reports.

    What was measured stays on disk until all of it is done, so that an interrupted suite goes on in its middle.

    Returns:
        The reports, and what was left out, a sentence each.

    Raises:
        ValueError: nothing can be run, or an evaluation cannot.
    """
    left_out = [f"{part.name}: {part.missing}" for part in parts if part.run is None]
    if len(left_out) == len(parts):
        raise ValueError(f"expected something to evaluate, got nothing: {'; '.join(left_out)}")
    reports = [part.run(replace(setting, keep=True)) for part in parts if part.run]
    write_summary(setting.out, reports, left_out)
    for journal in setting.out.glob("*.partial.jsonl"):
        journal.unlink()
    return reports, left_out


def read_reports(out: Path) -> list[Report]:
    """The reports of single evaluations in a folder, in the order of ORDER.

    Raises:
        ValueError: there is none, or one cannot be read.
    """
    found = [read_report(out / f"{name}.json") for name in ORDER if (out / f"{name}.json").is_file()]
    if not found:
        raise ValueError(
            f"expected reports such as {ORDER[0]}.json in {out}, got none; `opensam eval {ORDER[0]}` makes it"
        )
    return found


def write_summary(out: Path, reports: Sequence[Report], left_out: Sequence[str]) -> None:
    """Write several reports as one, as a page, as Markdown with links to the single ones, and as JSON."""
    links = [f"- [{report.title}]({report.name}.md)" for report in reports]
    missing = [f"- left out: {sentence}" for sentence in left_out]
    table = headline_table(reports)
    facts = [f"- {line}" for line in conditions(reports[0].facts)]
    lines = [f"# {TITLE}\n", f"{table.markdown()}\n{table.note}\n", *links, *missing, "", *facts]
    content = {report.name: report.json() for report in reports}
    machine = json.dumps({"left_out": list(left_out), "reports": content}, indent=2, allow_nan=False)
    for name, text in (("report.md", "\n".join(lines) + "\n"), ("report.json", machine + "\n")):
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_page(out / "report.html", TITLE, reports, left_out)
