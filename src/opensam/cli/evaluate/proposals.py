"""`opensam eval proposals`."""

from typing import Annotated

import typer

from opensam.cli.evaluate.shared import (
    BackendOption,
    DataOption,
    ImageSizeOption,
    OutOption,
    SeedOption,
    Sheets,
    SheetsOption,
    SkipBadOption,
    WorkersOption,
    choose,
    setting,
    show,
)
from opensam.cli.shared import CheckpointOption, DeviceOption, ModelOption, PrecisionName, PrecisionOption

ROW_HELP = (
    "of the paper's table: sam, 64 x 64 clicks with three masks each; single-output, 128 x 128 clicks with one mask"
)


def proposals(
    data: DataOption,
    out: OutOption,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: ImageSizeOption = None,
    precision: PrecisionOption = PrecisionName.float32,
    row: Annotated[str, typer.Option("--row", help=ROW_HELP)] = "sam",
    points_per_side: Annotated[
        int | None, typer.Option("--points-per-side", min=1, help="another number of clicks along a side")
    ] = None,
    max_images: Annotated[
        int | None, typer.Option("--max-images", min=1, help="at most so many, evenly spaced")
    ] = None,
    seed: SeedOption = 0,
    sheets: SheetsOption = Sheets.photos,
    workers: WorkersOption = 1,
    backend: BackendOption = "local",
    skip_bad: SkipBadOption = False,
) -> None:
    """Measure how many annotated things automatic masks find: mask AR@1000 by size and frequency.

    The same command goes on where it was interrupted.
    """
    from opensam.eval.proposals import ROWS, ProposalsConfig
    from opensam.recipes.evaluation import proposals as evaluation

    if row not in ROWS:
        raise ValueError(f"expected a --row, one of {', '.join(ROWS)}, got {row}")
    config = ProposalsConfig.of({"data": data, "max_images": max_images, "seed": seed, **ROWS[row]})
    if points_per_side is not None:
        config = config.model_copy(update={"amg": config.amg.changed(points_per_side=points_per_side)})
    choice = choose(model, checkpoint, device, precision, image_size)
    with setting(out, workers, backend, device, skip_bad) as place:
        report = evaluation.proposals(config, choice, place, sheets.value)
    show(report, report.tables[0], out)
