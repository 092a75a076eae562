"""`opensam pretrain`: teach an image encoder on pictures without labels, for `opensam train --init`."""

import csv
import json
from pathlib import Path
from typing import Annotated

import typer

from opensam import distributed
from opensam.cli.runs import Run, RunView, check_same_runs, interrupted

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
    out: Annotated[Path, typer.Option("--out", help="folder of the run", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change a setting; repeat for more")
    ] = None,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, help="processes per machine, each on a device of its own")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="machines; torchrun starts their processes")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved config and do nothing")] = False,
) -> None:
    """Pre-train an image encoder by hiding parts of pictures. Leaves OUT/model.safetensors; repeat to resume."""
    from opensam.recipes import pretraining

    if recipe not in pretraining.RECIPES:
        raise ValueError(f"expected a recipe, one of {', '.join(pretraining.RECIPES)}, got {recipe}")
    given = [f"{name}={value}" for name, value in (("devices", devices), ("nodes", nodes)) if value is not None]
    config = pretraining.RECIPES[recipe]().with_overrides([*given, *(overrides or [])])
    if dry_run:
        typer.echo(json.dumps(config.model_dump(mode="json"), indent=2))
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
