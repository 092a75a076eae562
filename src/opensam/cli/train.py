"""`opensam train`: run a recipe, show how it goes, and go on where it was interrupted."""

from pathlib import Path
from typing import Annotated

import typer

from opensam import distributed
from opensam.cli.runs import (
    BackendOption,
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
    out: OutOption,
    val: ValOption = None,
    init: Annotated[
        Path | None, typer.Option("--init", help="weights to start from: a model's, or a pre-trained image encoder's")
    ] = None,
    overrides: SetOption = None,
    stage: StageOption = None,
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    backend: BackendOption = "local",
    dry_run: DryRunOption = False,
) -> None:
    """Train a model. Each stage leaves OUT/stage-N/model.safetensors and log.csv; the same command resumes a run."""
    from opensam import launch
    from opensam.recipes import promptable, training

    stages = one_stage(recipe_of(training.RECIPES, recipe)(), stage, recipe)
    stages = [changed(config, overrides, devices, nodes) for config in stages]
    if dry_run:
        show_configs(stages)
        return
    runs = stage_runs(out, stages)
    try:
        with RunView(runs, SHOWN) as view:
            weights = launch.run(
                backend,
                stages[0].devices,
                stages[0].nodes,
                lambda report: promptable.train(stages, data, out, report, init, val or [], report),
                view,
                out,
            )
    except KeyboardInterrupt:
        raise interrupted(runs) from None
    if distributed.is_first():
        typer.echo(str(weights))
