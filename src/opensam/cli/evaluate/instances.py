"""`opensam eval instances`."""

from typing import Annotated

import typer

from opensam.cli.evaluate.shared import (
    BackendOption,
    DataOption,
    ImageSizeOption,
    OutOption,
    Sheets,
    SheetsOption,
    SkipBadOption,
    WorkersOption,
    choose,
    setting,
    show,
)
from opensam.cli.shared import CheckpointOption, DeviceOption, ModelOption, PrecisionName, PrecisionOption

BOXES_HELP = (
    "a detector's boxes as COCO results, a JSON list of {image_id, category_id, bbox, score}; or ground-truth, those "
    "of the annotations"
)


def instances(
    data: DataOption,
    out: OutOption,
    boxes: Annotated[str, typer.Option("--boxes", metavar="FILE|ground-truth", help=BOXES_HELP, show_default=False)],
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: ImageSizeOption = None,
    precision: PrecisionOption = PrecisionName.float32,
    rounds: Annotated[
        int, typer.Option("--rounds", min=0, help="how often the mask goes back into the decoder with its box")
    ] = 1,
    save_masks: Annotated[
        bool, typer.Option("--save-masks", help="also write instances_masks.json, COCO results with the masks")
    ] = False,
    max_images: Annotated[
        int | None, typer.Option("--max-images", min=1, help="at most so many, evenly spaced")
    ] = None,
    sheets: SheetsOption = Sheets.photos,
    workers: WorkersOption = 1,
    backend: BackendOption = "local",
    skip_bad: SkipBadOption = False,
) -> None:
    """Measure masks that are prompted with boxes: mask AP by the protocol of COCO, or of LVIS where the data is.

    The same command goes on where it was interrupted.
    """
    from opensam.eval.instances import InstancesConfig
    from opensam.eval.segmenters import prompts_per_call
    from opensam.recipes.evaluation import instances as evaluation

    config = InstancesConfig.of(
        {
            "data": data,
            "max_images": max_images,
            "boxes": boxes,
            "rounds": rounds,
            "masks": save_masks,
            "prompts_per_call": prompts_per_call(device),
        }
    )
    choice = choose(model, checkpoint, device, precision, image_size)
    with setting(out, workers, backend, device, skip_bad) as place:
        report = evaluation.instances(config, choice, place, sheets.value)
    show(report, report.tables[0], out)
