"""`opensam eval`: every evaluation as a command.

A command lives in a module of its own; here they get their names.
"""

import typer

from opensam.cli.evaluate.clicks import clicks
from opensam.cli.evaluate.edges import edges
from opensam.cli.evaluate.fairness import fairness
from opensam.cli.evaluate.geography import geography
from opensam.cli.evaluate.human import human
from opensam.cli.evaluate.instances import instances
from opensam.cli.evaluate.proposals import proposals
from opensam.cli.evaluate.suite import report, suite
from opensam.cli.evaluate.text import text
from opensam.cli.shared import EPILOG

evaluations = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Measure a model against masks that are known."
)
evaluations.command(epilog=EPILOG)(clicks)
evaluations.command(epilog=EPILOG)(edges)
evaluations.command(epilog=EPILOG)(proposals)
evaluations.command(epilog=EPILOG)(instances)
evaluations.command(epilog=EPILOG)(text)
evaluations.command(epilog=EPILOG)(fairness)
evaluations.command(epilog=EPILOG)(geography)
evaluations.command(epilog=EPILOG)(human)
evaluations.command("all", epilog=EPILOG)(suite)
evaluations.command(epilog=EPILOG)(report)
