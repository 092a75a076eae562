"""`opensam eval edges`."""

from pathlib import Path
from typing import Annotated

import typer

from opensam.cli.evaluate.shared import (
    BackendOption,
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


def edges(
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="BSDS500 as published, or a tar or folder of ID.jpg and ID.npz", show_default=False
        ),
    ],
    out: OutOption,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: ImageSizeOption = None,
    precision: PrecisionOption = PrecisionName.float32,
    maps: Annotated[
        Path | None, typer.Option("--maps", help="measure maps ID.png of another method in this folder, not a model")
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="compare with canny or sobel; repeat for more")
    ] = None,
    people: Annotated[bool, typer.Option("--people", help="measure the annotators against each other too")] = False,
    split: Annotated[str, typer.Option("--split", help="train, val or test, of the published layout")] = "test",
    thresholds: Annotated[
        int, typer.Option("--thresholds", min=1, help="how many; the original benchmark has 99")
    ] = 99,
    max_images: MaxImagesOption = None,
    sheets: SheetsOption = Sheets.photos,
    workers: WorkersOption = 1,
    backend: BackendOption = "local",
    skip_bad: SkipBadOption = False,
) -> None:
    """Find edges without having learnt them, and measure them on BSDS500: ODS, OIS, AP and R50.

    The maps are kept in OUT/maps. The same command goes on where it was interrupted.
    """
    from opensam.recipes.evaluation import edges as evaluation

    chosen = baseline or []
    if unknown := [name for name in chosen if name not in evaluation.BASELINES]:
        raise ValueError(f"expected a baseline, one of {', '.join(evaluation.BASELINES)}, got {unknown[0]}")
    if maps is not None and (model or checkpoint):
        raise ValueError("expected a model or --maps, got both; maps are of another method")
    config = evaluation.BenchmarkConfig.of(
        {"data": data, "split": split, "maps": maps, "max_images": max_images, "thresholds": thresholds}
    )
    choice = choose(model, checkpoint, device, precision, image_size) if maps is None else None
    with setting(out, workers, backend, device, skip_bad) as place:
        report = evaluation.edges(config, choice, chosen, people, place, sheets.value)
    show(report, report.tables[0], out)
