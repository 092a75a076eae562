"""An evaluation on paper: tables and pictures for people, numbers for programs, each file whole or not there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
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
        parts.append("\n".join(["## Conditions\n", *conditions(self.facts)]) + "\n")
        return "\n".join(parts)

    def json(self) -> dict[str, Any]:
        """All of it but the words."""
        kept = {"config": self.config, **self.facts, "results": self.results}
        return {"evaluation": self.name, **kept, **({"skipped": self.skipped} if self.skipped else {})}


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


def conditions(facts: dict[str, Any]) -> list[str]:
    """What a number depends on, a line each."""
    return [f"- {name}: {_as_text(value)}" for name, value in facts.items()]


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
