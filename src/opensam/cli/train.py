"""`opensam train`: run a recipe, show how it goes, and go on where it was interrupted."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opensam import distributed
from opensam.cli.runs import Run, RunView, check_same_runs, interrupted

if TYPE_CHECKING:
    from opensam.train.segment import TrainConfig

SHOWN = ("loss", "box_iou", "point_iou", "last_iou")


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
    init: Annotated[
        Path | None, typer.Option("--init", help="weights to start from: a model's, or a pre-trained image encoder's")
    ] = None,
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
    """Train a model. Each stage leaves OUT/stage-N/model.safetensors and log.csv; the same command resumes a run."""
    from opensam.recipes import promptable

    given = [f"{name}={value}" for name, value in (("devices", devices), ("nodes", nodes)) if value is not None]
    stages = stages_of(recipe, stage, [*given, *(overrides or [])])
    if dry_run:
        typer.echo(json.dumps([config.model_dump(mode="json") for config in stages], indent=2))
        return
    runs = [Run(out / f"stage-{n}", config, f"stage {n}/{len(stages)}") for n, config in enumerate(stages, start=1)]
    check_same_runs(runs)
    try:
        with RunView(runs, SHOWN) as view:
            weights = promptable.train(stages, data, out, view, init, val or [], view.say)
    except KeyboardInterrupt:
        raise interrupted(runs) from None
    if distributed.is_first():
        typer.echo(str(weights))


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
