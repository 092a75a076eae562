"""Tables that people hand in: CSV files with a header, read with the number of each line."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A line of the file; cells by the names of their columns, without spaces around them."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Rows:
    """A whole file: its columns in their order, and its lines."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def at(self, row: Row) -> str:
        """Where a line stands, for messages."""
        return f"{self.path} line {row.line}"


def read_rows(path: Path, needed: Sequence[str]) -> Rows:
    """Read a CSV file: commas, a header, UTF-8; empty lines do not count.

    Args:
        path: the file.
        needed: columns that it must have; others are kept too.

    Raises:
        ValueError: no such file, not UTF-8, a column is missing, unnamed or there twice, a line with more or fewer
            cells than the header, or no line at all.
    """
    try:
        # The mark that spreadsheets put first is no part of the first name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = tuple(name.strip() for name in next(reader, []))
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if line]
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"expected {path} as UTF-8, got another encoding; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"expected {path} as CSV, got {error}") from error
    _check_columns(path, columns, needed)
    for number, cells in lines:
        if len(cells) != len(columns):
            raise ValueError(
                f"expected {len(columns)} cells in {path} line {number} as in its header, got {len(cells)}; "
                'put a cell that has a comma in it between "'
            )
    if not lines:
        raise ValueError(f"expected lines below the header of {path}, got none")
    return Rows(path, columns, tuple(Row(number, dict(zip(columns, cells, strict=True))) for number, cells in lines))


def _check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    got = ", ".join(columns) or "an empty line"
    if missing := [name for name in needed if name not in columns]:
        raise ValueError(f"expected a column {missing[0]} in the header of {path}, got {got}")
    if "" in columns:
        raise ValueError(f"expected a name for every column in the header of {path}, got {got}")
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise ValueError(f"expected every column of {path} once, got {twice[0]} twice")
