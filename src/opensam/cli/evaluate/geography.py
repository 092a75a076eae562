"""`opensam eval geography`."""

from pathlib import Path
from typing import Annotated

import typer

from opensam.cli.evaluate.shared import OutOption, setting, show


def geography(
    metadata: Annotated[
        Path,
        typer.Option(
            "--metadata", help="CSV with the columns image and country (name or ISO code)", show_default=False
        ),
    ],
    out: OutOption,
) -> None:
    """Count where the pictures of a data set come from: countries, regions and incomes."""
    from opensam.recipes.evaluation.geography import GeographyConfig
    from opensam.recipes.evaluation.geography import geography as evaluate

    with setting(out, 1, "local", "cpu", skip_bad=False) as place:
        report = evaluate(GeographyConfig(metadata=metadata), place)
    show(report, report.tables[0], out)
