"""`opensam eval text`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opensam.cli.evaluate.shared import (
    BackendOption,
    DataOption,
    ImageSizeOption,
    MaxImagesOption,
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

CLIP_HELP = "folder of a CLIP model: config.json, model.safetensors, tokenizer; nothing is downloaded"
TEMPLATE_HELP = (
    "a sentence with {} for the name of a category; repeat to average several; unless given, a photo of a {}"
)
SET_HELP = "change a setting of the automatic masks, such as points_per_side=16; repeat for more"


class Background(StrEnum):
    """`CropConfig.background` as typer wants it."""

    zeroed = "zeroed"
    kept = "kept"


def text(
    data: DataOption,
    out: OutOption,
    clip: Annotated[Path, typer.Option("--clip", metavar="FOLDER", help=CLIP_HELP, show_default=False)],
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: ImageSizeOption = None,
    precision: PrecisionOption = PrecisionName.float32,
    template: Annotated[list[str] | None, typer.Option("--template", help=TEMPLATE_HELP, show_default=False)] = None,
    background: Annotated[
        Background, typer.Option("--background", help="what CLIP sees around a mask: black, or the picture")
    ] = Background.zeroed,
    enlarge: Annotated[
        float,
        typer.Option("--enlarge", min=1, max=4, help="side of the square CLIP sees, over the longer side of the mask"),
    ] = 1.5,
    min_area: Annotated[int, typer.Option("--min-area", min=0, help="leave out masks with fewer pixels")] = 0,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    max_images: MaxImagesOption = None,
    sheets: SheetsOption = Sheets.photos,
    workers: WorkersOption = 1,
    backend: BackendOption = "local",
    skip_bad: SkipBadOption = False,
) -> None:
    """Measure masks from words on data that say what their masks show, beside what chance would answer.

    The same command goes on where it was interrupted.
    """
    from opensam.eval.text_to_mask import TEMPLATES
    from opensam.recipes.evaluation import text as evaluation

    config = evaluation.TextRun.of(
        {
            "data": data,
            "max_images": max_images,
            "templates": template or TEMPLATES,
            "crops": {"enlarge": enlarge, "background": background.value},
            "min_area": min_area,
            "clip": clip.absolute(),
            "amg": overrides or [],
        }
    )
    with setting(out, workers, backend, device, skip_bad) as place:
        report = evaluation.text(config, choose(model, checkpoint, device, precision, image_size), place, sheets.value)
    show(report, report.tables[0], out)
