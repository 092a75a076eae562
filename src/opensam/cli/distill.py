"""`opensam distill`: teach a small model what a large one knows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opensam import distributed
from opensam.cli.runs import (
    DevicesOption,
    DryRunOption,
    NodesOption,
    OutOption,
    RunView,
    SetOption,
    StageOption,
    ValOption,
    changed,
    interrupted,
    one_stage,
    recipe_of,
    show_configs,
    stage_runs,
)
from opensam.cli.shared import load_model

if TYPE_CHECKING:
    from opensam.models.sam import Sam

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
InitOption = Annotated[
    Path | None, typer.Option("--init", help="weights of the student's image encoder instead of random ones")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="folder of the teacher's embeddings, which runs may share; OUT/embeddings"),
]


def distill(
    recipe: RecipeArgument,
    teacher: TeacherOption,
    data: DataOption,
    out: OutOption,
    val: ValOption = None,
    init: InitOption = None,
    cache: CacheOption = None,
    overrides: SetOption = None,
    stage: StageOption = None,
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Teach a small model what a large one knows. The same command resumes a run.

    Each stage leaves OUT/stage-N/model.safetensors, for `--checkpoint` of other commands, and log.csv.
    """
    from opensam.recipes import distillation

    stages = one_stage(recipe_of(distillation.RECIPES, recipe)(), stage, recipe)
    stages = [changed(config, overrides, devices, nodes) for config in stages]
    if dry_run:
        show_configs(stages)
        return
    runs = stage_runs(out, stages)
    try:
        sam = load_teacher(teacher)
        with RunView(runs, SHOWN) as view:
            weights = distillation.distill(stages, sam, data, out, view, init, val or [], cache, view.say)
    except KeyboardInterrupt:
        raise interrupted(runs) from None
    if distributed.is_first():
        typer.echo(str(weights))


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
