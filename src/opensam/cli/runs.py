"""What the commands that train share: how a run looks, how it is interrupted, and what its folder may hold."""

import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import typer

from opensam import distributed
from opensam.cli.shared import INTERRUPTED, console, stopped

if TYPE_CHECKING:
    from opensam.train.loop import Progress, RunConfig


class Run(NamedTuple):
    """One of the runs of a command, which come one after the other; `label` is its name on the screen."""

    folder: Path
    config: "RunConfig"
    label: str


def check_same_runs(runs: Sequence[Run]) -> None:
    """Find out before the first run goes on that a later one would not.

    Raises:
        ValueError: a folder holds a run with another config.
    """
    from opensam.train.loop import check_same_config

    for run in runs:
        path = run.folder / "run.json"
        if path.is_file():
            check_same_config(run.folder, json.loads(path.read_text())["config"], run.config)


def interrupted(runs: Sequence[Run]) -> typer.Exit:
    """What to raise after Ctrl-C; the first process says how to go on."""
    if not distributed.is_first():
        return typer.Exit(INTERRUPTED)
    return stopped(f"interrupted; {how_to_resume(runs)}", INTERRUPTED)


def how_to_resume(runs: Sequence[Run]) -> str:
    """What to do after Ctrl-C."""
    checkpoints = [run.folder / "last.pt" for run in runs if (run.folder / "last.pt").is_file()]
    if not checkpoints:
        return "nothing was saved yet, so the same command starts again"
    return f"the same command goes on from the last checkpoint, {checkpoints[-1]}"


class RunView:
    """How runs look on stderr: a bar on a terminal, a line per report anywhere else.

    Args:
        runs: in their order.
        shown: those of the facts of a report that are shown.
    """

    def __init__(self, runs: Sequence[Run], shown: Sequence[str]) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.runs, self.shown = runs, shown
        self.screen = console(sys.stderr)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            console=self.screen,
            disable=not (self.screen.is_terminal and distributed.is_first()),
        )
        self.task = self.bar.add_task("starting", total=None, facts="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __call__(self, progress: "Progress") -> None:
        """Show a report."""
        # A run makes its folder when it begins, and begins when the one before has finished.
        run = [run for run in self.runs if run.folder.is_dir()][-1]
        config = run.config
        images = config.batch_size * config.accumulate * config.devices * config.nodes  # per step
        seconds = (progress.steps - progress.step) * images / max(progress.images_per_second, 1e-9)
        values = " ".join(f"{name} {progress.facts[name]:.3f}" for name in self.shown if name in progress.facts)
        facts = f"{values}  {progress.images_per_second:.1f} images/s  {timedelta(seconds=round(seconds))} left"
        self.bar.update(self.task, description=run.label, completed=progress.step, total=progress.steps, facts=facts)
        if not self.screen.is_terminal:
            typer.echo(f"{run.label} {progress.step}/{progress.steps} {facts}", err=True)

    def say(self, sentence: str) -> None:
        """Show a sentence above the bar; the first process does."""
        if distributed.is_first():
            self.screen.print(sentence, soft_wrap=True, markup=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()
