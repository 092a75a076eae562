"""`opensam eval clicks`."""

from typing import Annotated

import typer

from opensam.cli.evaluate.shared import (
    BackendOption,
    DataOption,
    ImageSizeOption,
    MaxImagesOption,
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

POINTS_HELP = (
    "where clicks come: center, the deepest point of the mask and of each error; random_first, the first one anywhere "
    "in the mask; random, all of them"
)

BASELINE_HELP = "compare with grabcut (boxes only), watershed, random_walker; repeat for more"


def clicks(
    data: DataOption,
    out: OutOption,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: ImageSizeOption = None,
    precision: PrecisionOption = PrecisionName.float32,
    points: Annotated[str, typer.Option("--points", help=POINTS_HELP)] = "center",
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", help=BASELINE_HELP),
    ] = None,
    max_images: MaxImagesOption = None,
    max_masks: Annotated[
        int | None, typer.Option("--max-masks", min=1, help="at most so many of each image, evenly spaced")
    ] = None,
    seed: SeedOption = 0,
    sheets: SheetsOption = Sheets.photos,
    workers: WorkersOption = 1,
    backend: BackendOption = "local",
    skip_bad: SkipBadOption = False,
) -> None:
    """Measure masks from 1, 2, 3, 5 and 9 clicks and from a box, and the clicks to an IoU of 85 and 90 %.

    The same command goes on where it was interrupted.
    """
    from opensam.eval.single_point import ClicksConfig
    from opensam.recipes.evaluation import clicks as evaluation

    chosen = baseline or []
    if unknown := [name for name in chosen if name not in evaluation.BASELINES]:
        raise ValueError(f"expected a baseline, one of {', '.join(evaluation.BASELINES)}, got {unknown[0]}")
    config = ClicksConfig.of(
        {"data": data, "max_images": max_images, "max_masks_per_image": max_masks, "points": points, "seed": seed}
    )
    choice = choose(model, checkpoint, device, precision, image_size)
    with setting(out, workers, backend, device, skip_bad) as place:
        report = evaluation.clicks(config, choice, chosen, place, sheets.value)
    show(report, report.tables[0], out)
