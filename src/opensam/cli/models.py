"""`opensam models`: what can be given to --model."""

import sys
from typing import TYPE_CHECKING

from opensam.cli.shared import cache_folder, console

if TYPE_CHECKING:
    from opensam.models.zoo import ModelSpec


def models() -> None:
    """List the models that can be named with --model, and where their weights are."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from opensam.models.zoo import list_models

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("name", "alias"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "size"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("licence", "weights"):
        table.add_column(column, no_wrap=True)
    table.add_column("what it is")
    for spec in list_models():
        aliases = ", ".join(spec.aliases)
        size, where = weights_of(spec)
        table.add_row(spec.name, aliases, f"{spec.params / 1e6:.1f} M", size, spec.license, where, spec.description)
    console(sys.stdout).print(table)


def weights_of(spec: "ModelSpec") -> tuple[str, str]:
    """The size of a model's file, and where it is."""
    from importlib import resources

    if spec.file is not None:
        with resources.as_file(resources.files("opensam") / spec.file) as path:
            return (_megabytes(path.stat().st_size), "embedded") if path.is_file() else ("", "missing")
    cached = spec.url is not None and (cache_folder() / spec.url.rpartition("/")[2]).is_file()
    return _megabytes(spec.bytes) if spec.bytes else "", "cached" if cached else "to download"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
