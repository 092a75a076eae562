"""An evaluation on paper: tables and pictures for people, numbers for programs, each file whole or not there."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from opensam.files import replacing

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows under heads; the first column names the row, the others hold numbers or words.

    Attributes:
        title: what it shows, in a few words.
        heads: of the columns.
        rows: a cell per head. None is shown as nothing: not measured, or not published.
        decimals: of the floats of each column but the first; one number holds for all of them.
        note: what a reader must know to read it.

    Raises:
        ValueError: a row has more or fewer cells than there are heads.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    decimals: int | tuple[int, ...] = 3
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.heads):
                raise ValueError(f"expected {len(self.heads)} cells under {self.heads}, got {row}")

    def texts(self) -> list[list[str]]:
        """The rows as they are shown."""
        columns = len(self.heads) - 1
        decimals = (self.decimals,) * columns if isinstance(self.decimals, int) else self.decimals
        return [
            [_shown(row[0], 0), *(_shown(cell, places) for cell, places in zip(row[1:], decimals, strict=True))]
            for row in self.rows
        ]

    def markdown(self) -> str:
        """The table alone, a line each."""
        lines = [list(self.heads), ["---", *["---:"] * (len(self.heads) - 1)], *self.texts()]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@dataclass(frozen=True)
class Figure:
    """A plot, or a sheet of examples.

    Attributes:
        file: its name in the folder of the report, or in a folder there.
        caption: what to see in it.
    """

    file: str
    caption: str


@dataclass(frozen=True)
class Headline:
    """A number that stands for an evaluation.

    Attributes:
        score: its name.
        measured: what came out; None: it could not be measured.
        paper: what the paper has for SAM with ViT-H, on its data; None: nothing comparable.
        baseline: the best of the other methods on the same data, and which that is; "" if there is none.
    """

    score: str
    measured: float | None
    paper: float | None = None
    baseline: str = ""


@dataclass(frozen=True)
class Report:
    """What one evaluation has found.

    Attributes:
        name: of the evaluation and of its files.
        title: for people.
        tables: the main one first.
        results: the numbers of the tables and more, unrounded, as JSON can hold them.
        config: of the evaluation, as JSON can hold it.
        facts: see `opensam.eval.facts.run_facts`, and whatever else the numbers depend on, such as the model.
        notes: sentences on how to read the numbers.
        figures: in the order in which they should be looked at.
        skipped: pictures that could not be used, with the reason.
        headlines: the one to three numbers that a summary of several evaluations shows.
    """

    name: str
    title: str
    tables: tuple[Table, ...]
    results: dict[str, Any]
    config: dict[str, Any]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    headlines: tuple[Headline, ...] = ()

    def markdown(self) -> str:
        """The page: tables, notes, figures, and under which conditions."""
        parts = [f"# {self.title}\n"]
        parts += [
            f"## {one.title}\n\n{one.markdown()}" + (f"\n{one.note}\n" if one.note else "") for one in self.tables
        ]
        parts += [f"{note}\n" for note in self.notes]
        parts += [f"![{figure.caption}]({figure.file})\n\n{figure.caption}\n" for figure in self.figures]
        if self.skipped:
            lines = [f"- {name}: {reason}" for name, reason in self.skipped.items()]
            parts.append("\n".join([f"## Left out: {len(self.skipped)} pictures\n", *lines]) + "\n")
        parts.append("\n".join(["## Conditions\n", *(f"- {line}" for line in conditions(self.facts))]) + "\n")
        return "\n".join(parts)

    def json(self) -> dict[str, Any]:
        """All of it; the conditions stand beside the rest."""
        page = asdict(self)
        return {"evaluation": page.pop("name"), **page.pop("facts"), **page}


def read_report(path: Path) -> Report:
    """A report that `write_report` wrote as JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        fields = {one.name for one in dataclasses.fields(Report)}
        page = {key: value for key, value in content.items() if key in fields}
        page |= {
            "tables": tuple(_read_table(one) for one in page["tables"]),
            "notes": tuple(page["notes"]),
            "figures": tuple(Figure(**one) for one in page["figures"]),
            "headlines": tuple(Headline(**one) for one in page["headlines"]),
            "facts": {key: value for key, value in content.items() if key not in {*fields, "evaluation"}},
        }
        return Report(name=content["evaluation"], **page)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"expected the report of an evaluation in {path}, got something else: {error!r}") from None


def _read_table(one: dict[str, Any]) -> Table:
    decimals = one["decimals"]
    rows = tuple(tuple(row) for row in one["rows"])
    return Table(
        one["title"], tuple(one["heads"]), rows, decimals if isinstance(decimals, int) else tuple(decimals), one["note"]
    )


def write_report(folder: Path, report: Report) -> tuple[Path, Path]:
    """Write `NAME.md` and `NAME.json`; the figures are there already.

    Args:
        folder: made if it is missing.
        report: what to write.

    Returns:
        The two paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    markdown, machine = folder / f"{report.name}.md", folder / f"{report.name}.json"
    # A NaN would be no JSON: an evaluation without a value has None.
    text = json.dumps(report.json(), indent=2, allow_nan=False) + "\n"
    for path, content in ((markdown, report.markdown()), (machine, text)):
        with replacing(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return markdown, machine


def headline_table(reports: Sequence[Report]) -> Table:
    """The numbers that stand for several evaluations, a row each."""
    rows: list[tuple[Cell, ...]] = [
        (f"{report.title}: {line.score}", line.measured, line.paper, line.baseline)
        for report in reports
        for line in report.headlines
    ]
    note = (
        "The paper's numbers are of SAM with ViT-H on the paper's data, which this data is not unless it is named so."
    )
    return Table("Summary", ("score", "measured", "paper", "baseline here"), tuple(rows), 3, note)


def conditions(facts: dict[str, Any]) -> list[str]:
    """What a number depends on, a line each."""
    return [f"{name}: {_as_text(value)}" for name, value in facts.items()]


def mean_row(name: str, rows: Sequence[Sequence[Cell]]) -> tuple[Cell, ...]:
    """A last row: the mean of the floats of each column that has only those, the sum of integers, else nothing."""
    columns: list[Cell] = []
    for column in zip(*(row[1:] for row in rows), strict=True):
        if all(isinstance(cell, int) for cell in column):
            columns.append(sum(cell for cell in column if isinstance(cell, int)))
        elif all(isinstance(cell, float) for cell in column):
            columns.append(sum(cell for cell in column if isinstance(cell, float)) / len(column))
        else:
            columns.append(None)
    return (name, *columns)


def _shown(cell: Cell, decimals: int) -> str:
    if cell is None:
        return ""
    return f"{cell:.{decimals}f}" if isinstance(cell, float) else str(cell)


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)
