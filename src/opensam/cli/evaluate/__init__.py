"""`opensam eval`: every evaluation as a command.

A command lives in a module of its own; here they get their names.
"""

import typer

from opensam.cli.evaluate.clicks import clicks
from opensam.cli.evaluate.edges import edges
from opensam.cli.shared import EPILOG

evaluations = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Measure a model against masks that are known."
)
evaluations.command(epilog=EPILOG)(clicks)
evaluations.command(epilog=EPILOG)(edges)
