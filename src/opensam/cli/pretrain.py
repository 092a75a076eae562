"""`opensam pretrain`: teach an image encoder on pictures without labels, for `opensam train --init`."""

import csv
from typing import Annotated

import typer

from opensam import distributed
from opensam.cli.runs import (
    DevicesOption,
    DryRunOption,
    NodesOption,
    OutOption,
    Run,
    RunView,
    SetOption,
    changed,
    check_same_runs,
    interrupted,
    recipe_of,
    show_configs,
)

SHOWN = ("loss",)


def pretrain(
    recipe: Annotated[
        str,
        typer.Argument(
            help="tiny: the embedded model's encoder, by SparK; tiny_simmim: the same by SimMIM; "
            "vit_b, vit_l, vit_h: as MAE did",
            metavar="RECIPE",
            show_default=False,
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="PATH",
            help="a folder of pictures, with the folders in it, or tars; masks are ignored; repeat for more",
            show_default=False,
        ),
    ],
    out: OutOption,
    overrides: SetOption = None,
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Pre-train an image encoder by hiding parts of pictures. Leaves OUT/model.safetensors; repeat to resume."""
    from opensam.recipes import pretraining

    config = changed(recipe_of(pretraining.RECIPES, recipe)(), overrides, devices, nodes)
    if dry_run:
        show_configs([config])
        return
    runs = [Run(out, config, "pre-training")]
    check_same_runs(runs)
    try:
        with RunView(runs, SHOWN) as view:
            weights = pretraining.pretrain(config, data, out, view)
            if (skipped := out / "skipped.csv").is_file():
                with skipped.open(newline="") as file:
                    count = sum(1 for _ in csv.reader(file)) - 1
                view.say(f"skipped {count} pictures that could not be read; {skipped} says why")
    except KeyboardInterrupt:
        raise interrupted(runs) from None
    if distributed.is_first():
        typer.echo(str(weights))
