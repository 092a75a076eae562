"""What the commands that train share: options, how a run looks, how it is interrupted, what its folder may hold."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, NamedTuple, Self, TypeVar

import typer

from opensam import distributed
from opensam.cli.shared import INTERRUPTED, console, stopped

if TYPE_CHECKING:
    from opensam.train.loop import Progress, RunConfig

ConfigT = TypeVar("ConfigT", bound="RunConfig")
Recipe = TypeVar("Recipe", bound=Callable[[], object])

OutOption = Annotated[Path, typer.Option("--out", help="folder of the run", show_default=False)]
ValOption = Annotated[
    list[str] | None,
    typer.Option("--val", metavar="PATH", help="held-out data, measured every validate_every steps and at the end"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change a setting of all stages that run; repeat for more"),
]
StageOption = Annotated[
    int | None,
    typer.Option("--stage", min=1, help="only this stage of the recipe, from --init; it writes to OUT/stage-1"),
]
DevicesOption = Annotated[
    int | None, typer.Option("--devices", min=1, help="processes per machine, each on a device of its own")
]
NodesOption = Annotated[
    int | None, typer.Option("--nodes", min=1, help="machines; torchrun or Ray starts their processes")
]
BackendOption = Annotated[
    str, typer.Option("--backend", help="local: here, or where torchrun started it; ray: on a Ray cluster")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="print the resolved config and do nothing")]


class Run(NamedTuple):
    """One of the runs of a command, which come one after the other; `label` is its name on the screen."""

    folder: Path
    config: "RunConfig"
    label: str


def recipe_of(recipes: Mapping[str, Recipe], name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in recipes:
        raise ValueError(f"expected a recipe, one of {', '.join(recipes)}, got {name}")
    return recipes[name]


def one_stage(stages: list[ConfigT], stage: int | None, recipe: str) -> list[ConfigT]:
    """All stages of a recipe, or the one that the user wants, counted from 1.

    Raises:
        ValueError: there is no such stage.
    """
    if stage is None:
        return stages
    if stage > len(stages):
        raise ValueError(f"expected --stage from 1 to {len(stages)} for the recipe {recipe}, got {stage}")
    return [stages[stage - 1]]


def changed(config: ConfigT, overrides: Sequence[str] | None, devices: int | None, nodes: int | None) -> ConfigT:
    """A config with what the user changed.

    Raises:
        ValueError: no such setting, or a value that it cannot have.
    """
    given = [f"{name}={value}" for name, value in (("devices", devices), ("nodes", nodes)) if value is not None]
    return config.with_overrides([*given, *(overrides or [])])


def stage_runs(out: Path, stages: "Sequence[RunConfig]") -> list[Run]:
    """The runs of the stages of a recipe, none of which may be of another config than before.

    Raises:
        ValueError: a folder holds a run with another config.
    """
    runs = [Run(out / f"stage-{n}", config, f"stage {n}/{len(stages)}") for n, config in enumerate(stages, start=1)]
    check_same_runs(runs)
    return runs


def show_configs(stages: "Sequence[RunConfig]") -> None:
    """What --dry-run prints."""
    typer.echo(json.dumps([config.model_dump(mode="json") for config in stages], indent=2))


def check_same_runs(runs: Sequence[Run]) -> None:
    """Find out before the first run goes on that a later one would not.

    Raises:
        ValueError: a folder holds a run with another config.
    """
    from opensam.config import check_same_config

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

    def __call__(self, news: "Progress | str") -> None:
        """Show a report, or a sentence."""
        if isinstance(news, str):
            self.say(news)
            return
        progress = news
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
