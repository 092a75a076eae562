"""What the evaluations share: options, who does the work, how it looks."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensam.cli.shared import INTERRUPTED, DownloadBar, PrecisionName, cache_folder, console, stopped

if TYPE_CHECKING:
    from opensam.eval.report import Report, Table
    from opensam.eval.runner import Progress
    from opensam.recipes.evaluation.session import ModelChoice, Setting

DataOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="PATH|JSON:IMAGES",
        help="tars or a folder in the SA-1B layout, COCO or LVIS, mask images, YOLO; repeat for more",
        show_default=False,
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="folder of the report", show_default=False)]
ImageSizeOption = Annotated[
    int | None,
    typer.Option("--image-size", min=64, help="side of the model's square, a multiple of 16; TinyViT models only"),
]
MaxImagesOption = Annotated[
    int | None, typer.Option("--max-images", min=1, help="at most so many of each data set, evenly spaced")
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="processes, each with a model of its own")]
BackendOption = Annotated[str, typer.Option("--backend", help="local: here; ray: on a Ray cluster")]
SkipBadOption = Annotated[
    bool, typer.Option("--skip-bad", help="list pictures that cannot be used, instead of stopping at the first")
]


class Sheets(StrEnum):
    """`SheetMode` as typer wants it."""

    photos = "photos"
    outlines = "outlines"
    none = "none"


SheetsOption = Annotated[
    Sheets,
    typer.Option("--sheets", help="of examples: over photographs; outlines, without a pixel of a photograph; or none"),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="of what is random")]


def choose(
    model: str | None, checkpoint: Path | None, device: str, precision: PrecisionName, image_size: int | None = None
) -> "ModelChoice":
    """The model that a user named, its weights downloaded before workers begin.

    Raises:
        ValueError: there is none of that name.
    """
    from opensam.models import zoo
    from opensam.recipes.evaluation.session import ModelChoice

    if checkpoint is None and (spec := zoo.find(model or "opensam_tiny")).url is not None:
        with DownloadBar() as bar:
            zoo.download(spec, cache_folder(), bar)
    return ModelChoice(
        model=model,
        checkpoint=checkpoint and checkpoint.absolute(),
        device=device,
        precision=precision.value,
        image_size=image_size,
        cache_dir=cache_folder(),
    )


@contextmanager
def setting(out: Path, workers: int, backend: str, device: str, skip_bad: bool) -> Iterator["Setting"]:
    """Workers for an evaluation, and a bar on stderr while they work; Ctrl-C says how to go on.

    Raises:
        typer.Exit: Ctrl-C.
    """
    from opensam.launch import pool
    from opensam.recipes.evaluation.session import Setting

    def spread(start: Any, items: Any, count: int) -> "AbstractContextManager[Any]":
        return pool.answers(backend, min(workers, count), start, items, out, device)

    with EvaluationBar() as bar:
        try:
            yield Setting(out, spread, bar, workers, skip_bad)
        except KeyboardInterrupt:
            raise stopped("interrupted; the same command goes on", INTERRUPTED) from None


class EvaluationBar:
    """A bar on a terminal; elsewhere a line for every data set."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.screen = console(sys.stderr)
        columns: list[Any] = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        ]
        self.bar = Bar(*columns, console=self.screen, disable=not self.screen.is_terminal)
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> "EvaluationBar":
        self.bar.start()
        return self

    def __call__(self, progress: "Progress") -> None:
        """Show how far it is."""
        task = self.tasks.get(progress.method)
        if task is None:
            task = self.tasks[progress.method] = self.bar.add_task(progress.method, total=progress.of)
        self.bar.update(task, completed=progress.done, description=f"{progress.method} {progress.dataset}")
        if not self.screen.is_terminal and (progress.done == progress.of or progress.done % 50 == 0):
            typer.echo(f"{progress.method}: {progress.done}/{progress.of} images", err=True)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def show(report: "Report", table: "Table", out: Path) -> None:
    """Print a table of a report, and where it is."""
    show_table(table)
    if report.skipped:
        typer.echo(f"left out {len(report.skipped)} pictures; the report lists them")
    typer.echo(f"{out / report.name}.md\n{out / report.name}.json")


def show_table(table: "Table") -> None:
    """Print a table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Screen

    screen = Screen(table.heads[0], box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in table.heads[1:]:
        screen.add_column(head, justify="right")
    for row in table.texts():
        screen.add_row(*row)
    console(sys.stdout).print(screen)
