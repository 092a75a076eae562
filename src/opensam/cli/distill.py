"""`opensam distill`: teach a small model what a large one knows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opensam import distributed
from opensam.cli.shared import INTERRUPTED, load_model, stopped
from opensam.cli.train import TrainingView, check_same_run, how_to_resume

if TYPE_CHECKING:
    from opensam.models.sam import Sam
    from opensam.train.distill import DistillConfig

SHOWN = ("loss", "cosine", "box_iou", "point_iou", "last_iou")


RecipeArgument = Annotated[
    str,
    typer.Argument(
        help="mobile: the teacher's image embeddings, as MobileSAM; edge: then its masks too, as EdgeSAM; "
        "tiny_cpu: both in minutes on a laptop",
        metavar="RECIPE",
        show_default=False,
    ),
]
TeacherOption = Annotated[
    str,
    typer.Option("--teacher", metavar="NAME|FILE", help="a name of `opensam models`, or weights", show_default=False),
]
DataOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="PATH",
        help="a folder or tars of pictures; a stage of masks needs labelled data as in `opensam train`, or "
        "--set prompts=points; repeat to mix",
        show_default=False,
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="folder of the teacher's embeddings, which runs may share; OUT/embeddings"),
]


def distill(
    recipe: RecipeArgument,
    teacher: TeacherOption,
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", help="folder of the run", show_default=False)],
    val: Annotated[
        list[str] | None,
        typer.Option("--val", metavar="PATH", help="held-out data, measured every validate_every steps and at the end"),
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", help="weights of the student's image encoder instead of random ones")
    ] = None,
    cache: CacheOption = None,
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
        int | None, typer.Option("--nodes", min=1, help="machines; torchrun starts their processes")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved config and do nothing")] = False,
) -> None:
    """Teach a small model what a large one knows. The same command resumes a run.

    Each stage leaves OUT/stage-N/model.safetensors, for `--checkpoint` of other commands, and log.csv.
    """
    from opensam.recipes import distillation

    given = [f"{name}={value}" for name, value in (("devices", devices), ("nodes", nodes)) if value is not None]
    stages = stages_of(recipe, stage, [*given, *(overrides or [])])
    if dry_run:
        typer.echo(json.dumps([config.model_dump(mode="json") for config in stages], indent=2))
        return
    check_same_run(out, stages)
    try:
        sam = load_teacher(teacher)
        with TrainingView(out, stages, SHOWN) as view:
            weights = distillation.distill(stages, sam, data, out, view, init, val or [], cache, say)
    except KeyboardInterrupt:
        if distributed.is_first():
            raise stopped(f"interrupted; {how_to_resume(out)}", INTERRUPTED) from None
        raise typer.Exit(INTERRUPTED) from None
    if distributed.is_first():
        typer.echo(str(weights))


def stages_of(recipe: str, stage: int | None, overrides: list[str]) -> "list[DistillConfig]":
    """The configs of a recipe, or of one stage of it, with what the user changed.

    Raises:
        ValueError: no such recipe, stage or setting.
    """
    from opensam.recipes.distillation import RECIPES

    if recipe not in RECIPES:
        raise ValueError(f"expected a recipe, one of {', '.join(RECIPES)}, got {recipe}")
    stages = RECIPES[recipe]()
    if stage is not None:
        if stage > len(stages):
            raise ValueError(f"expected --stage from 1 to {len(stages)} for the recipe {recipe}, got {stage}")
        stages = [stages[stage - 1]]
    return [config.with_overrides(overrides) for config in stages]


def load_teacher(teacher: str) -> "Sam":
    """The model that is called so, or that is in the file.

    Raises:
        ValueError: it is neither.
    """
    from opensam.models import zoo

    if any(teacher in (spec.name, *spec.aliases) for spec in zoo.MODELS):
        return load_model(teacher, None, "cpu")
    if not Path(teacher).exists():
        known = ", ".join(spec.name for spec in zoo.MODELS)
        raise ValueError(f"expected a file or one of {known} as --teacher, got {teacher}; check the path")
    return load_model(None, Path(teacher), "cpu")


def say(sentence: str) -> None:
    """Tell on stderr, once for all processes."""
    if distributed.is_first():
        typer.echo(sentence, err=True)
