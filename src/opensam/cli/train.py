"""`opensam train`: run a recipe, show how it goes, and go on where it was interrupted."""

import json
import sys
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from opensam import distributed
from opensam.cli.shared import INTERRUPTED, BackendOption, console, stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from opensam.train.loop import Progress
    from opensam.train.segment import TrainConfig


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="tiny: the embedded model, from nothing; tiny_gpu: the same on a GPU; tiny_cpu: learns in minutes "
            "on a laptop; sam_vit_b, sam_vit_l, sam_vit_h: as in the paper",
            metavar="RECIPE",
            show_default=False,
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="PATH|JSON:IMAGES[@WEIGHT]",
            help="tars or a folder in the SA-1B layout, COCO or LVIS, mask images, YOLO; repeat to mix",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="folder of the run", show_default=False)],
    val: Annotated[
        list[str] | None,
        typer.Option("--val", metavar="PATH", help="held-out data, measured every validate_every steps and at the end"),
    ] = None,
    init: Annotated[Path | None, typer.Option("--init", help="weights to start from instead of random ones")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="change a setting of all stages that run; repeat for more"),
    ] = None,
    stage: Annotated[
        int | None,
        typer.Option("--stage", min=1, help="only this stage of the recipe, from --init; it writes to OUT/stage-1"),
    ] = None,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, help="processes per machine, each on a device of its own")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="machines; torchrun or Ray starts their processes")
    ] = None,
    backend: BackendOption = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved config and do nothing")] = False,
) -> None:
    """Train a model. Each stage leaves OUT/stage-N/model.safetensors and log.csv; the same command resumes a run."""
    from opensam.recipes import promptable

    given = [f"{name}={value}" for name, value in (("devices", devices), ("nodes", nodes)) if value is not None]
    stages = stages_of(recipe, stage, [*given, *(overrides or [])])
    if dry_run:
        typer.echo(json.dumps([config.model_dump(mode="json") for config in stages], indent=2))
        return
    check_same_run(out, stages)
    weights = run_stages(
        backend, stages, out, lambda report: promptable.train(stages, data, out, report, init, val or [])
    )
    if distributed.is_first():
        typer.echo(str(weights))


def run_stages(
    backend: str, stages: "list[TrainConfig]", out: Path, work: "Callable[[Callable[[Progress], None]], Path]"
) -> Path:
    """Call `work` in all processes of a run, and show what it reports.

    Raises:
        typer.Exit: Ctrl-C.
    """
    from opensam import launch

    try:
        with TrainingView(out, stages) as view:
            return launch.run(backend, stages[0].devices, stages[0].nodes, work, view, out)
    except KeyboardInterrupt:
        if distributed.is_first():
            raise stopped(f"interrupted; {how_to_resume(out)}", INTERRUPTED) from None
        raise typer.Exit(INTERRUPTED) from None


def stages_of(recipe: str, stage: int | None, overrides: list[str]) -> "list[TrainConfig]":
    """The configs of a recipe, or of one stage of it, with what the user changed.

    Raises:
        ValueError: no such recipe, stage or setting.
    """
    from opensam.recipes import training

    if recipe not in training.RECIPES:
        raise ValueError(f"expected a recipe, one of {', '.join(training.RECIPES)}, got {recipe}")
    stages = training.RECIPES[recipe]()
    if stage is not None:
        if stage > len(stages):
            raise ValueError(f"expected --stage from 1 to {len(stages)} for the recipe {recipe}, got {stage}")
        stages = [stages[stage - 1]]
    return [config.with_overrides(overrides) for config in stages]


def check_same_run(out: Path, stages: "list[TrainConfig]") -> None:
    """Find out before the first stage goes on that a later one would not.

    Raises:
        ValueError: the folder holds a run with another config.
    """
    from opensam.train.loop import check_same_config

    for number, config in enumerate(stages, start=1):
        path = out / f"stage-{number}" / "run.json"
        if path.is_file():
            check_same_config(path.parent, json.loads(path.read_text())["config"], config)


def how_to_resume(out: Path) -> str:
    """What to do after Ctrl-C."""
    checkpoints = sorted(out.glob("stage-*/last.pt"), key=lambda path: path.stat().st_mtime)
    if not checkpoints:
        return "nothing was saved yet, so the same command starts again"
    return f"the same command goes on from the last checkpoint, {checkpoints[-1]}"


SHOWN = ("loss", "box_iou", "point_iou", "last_iou")


class TrainingView:
    """How a training run looks on stderr: a bar on a terminal, a line per report anywhere else."""

    def __init__(self, out: Path, stages: "list[TrainConfig]") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.out, self.stages = out, stages
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
        # A stage makes its folder when it begins, and begins when the one before has finished.
        number = sum((self.out / f"stage-{n}").is_dir() for n in range(1, len(self.stages) + 1))
        config = self.stages[number - 1]
        images = (progress.steps - progress.step) * config.batch_size * config.devices
        left = timedelta(seconds=round(images / max(progress.images_per_second, 1e-9)))
        losses = " ".join(f"{name} {progress.facts[name]:.3f}" for name in SHOWN if name in progress.facts)
        stage = f"stage {number}/{len(self.stages)}"
        facts = f"{losses}  {progress.images_per_second:.1f} images/s  {left} left"
        self.bar.update(self.task, description=stage, completed=progress.step, total=progress.steps, facts=facts)
        if not self.screen.is_terminal:
            typer.echo(f"{stage} {progress.step}/{progress.steps} {facts}", err=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()
