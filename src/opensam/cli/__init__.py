"""The command `opensam`: predict, generate, annotate, serve, the trainings, export and eval.

Nothing heavy is imported here: a command imports what it needs when it runs, so that help appears at once.
"""

import typer

from opensam.cli.annotate import annotate
from opensam.cli.distill import distill
from opensam.cli.evaluate import evaluations
from opensam.cli.export import export
from opensam.cli.finetune import finetune
from opensam.cli.generate import generate
from opensam.cli.models import models
from opensam.cli.predict import predict
from opensam.cli.pretrain import pretrain
from opensam.cli.serve import serve
from opensam.cli.shared import EPILOG, Commands
from opensam.cli.train import train

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segment anything: click an object in a photo, get its mask, and train the model yourself.",
    epilog=EPILOG,
)
app.command(epilog=EPILOG)(predict)
app.command(epilog=EPILOG)(generate)
app.command(epilog=EPILOG)(annotate)
app.command(epilog=EPILOG)(serve)
app.command(epilog=EPILOG)(models)
app.command(epilog=EPILOG)(pretrain)
app.command(epilog=EPILOG)(train)
app.command(epilog=EPILOG)(finetune)
app.command(epilog=EPILOG)(distill)
app.command(epilog=EPILOG)(export)
app.add_typer(evaluations, name="eval")


def main() -> None:
    """Run the command line of this process; ends with `SystemExit`."""
    app(prog_name="opensam")
