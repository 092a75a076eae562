"""`opensam eval fairness`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opensam.cli.evaluate.shared import (
    BackendOption,
    DataOption,
    ImageSizeOption,
    OutOption,
    SeedOption,
    SkipBadOption,
    WorkersOption,
    choose,
    setting,
    show,
)
from opensam.cli.shared import CheckpointOption, DeviceOption, ModelOption, PrecisionName, PrecisionOption

GROUPS_HELP = "CSV: image, mask (its number from 0) or x,y,w,h, a column per attribute; dataset where names come twice"


class PaperTable(StrEnum):
    """Whose numbers stand beside the measured ones."""

    people = "people"
    clothing = "clothing"
    none = "none"


def fairness(
    data: DataOption,
    groups: Annotated[Path, typer.Option("--groups", help=GROUPS_HELP, show_default=False)],
    out: OutOption,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", help="a column of groups; repeat for more  [default: all]")
    ] = None,
    paper: Annotated[
        PaperTable, typer.Option("--paper", help="the paper's table to show beside: masks of people, or of clothing")
    ] = PaperTable.people,
    points: Annotated[
        str,
        typer.Option("--points", help="where clicks come: random_first, random or center; see `opensam eval clicks`"),
    ] = "random_first",
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: ImageSizeOption = None,
    precision: PrecisionOption = PrecisionName.float32,
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    backend: BackendOption = "local",
    skip_bad: SkipBadOption = False,
) -> None:
    """Compare groups of masks: mean IoU from 1 and 3 clicks, with 95 % intervals.

    The same command goes on where it was interrupted. With --skip-bad, lines whose box fits no mask are listed too.
    """
    from opensam.eval.fairness import FairnessConfig
    from opensam.recipes.evaluation.fairness import fairness as evaluate

    config = FairnessConfig.of(
        {
            "data": data,
            "groups": groups,
            "attributes": attribute or (),
            "paper": paper.value,
            "points": points,
            "seed": seed,
        }
    )
    choice = choose(model, checkpoint, device, precision, image_size)
    with setting(out, workers, backend, device, skip_bad) as place:
        report = evaluate(config, choice, place)
    show(report, report.tables[0], out)
