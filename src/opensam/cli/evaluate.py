"""`opensam eval`: the protocols of `opensam.eval` on data of one's own."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensam.cli.shared import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionName,
    PrecisionOption,
    console,
    load_model,
)

if TYPE_CHECKING:
    from opensam.eval.journal import Journal
    from opensam.eval.metrics import MethodScores
    from opensam.eval.segmenters import BoxSegmenter
    from opensam.eval.single_point import ClicksConfig
    from opensam.models.sam import Sam


class Baseline(StrEnum):
    """What to compare with."""

    grabcut = "grabcut"


def clicks(
    data: Annotated[Path, typer.Option("--data", help="folder of tars in the SA-1B layout", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="folder for clicks.md and clicks.json", show_default=False)],
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", min=64, help="side of the model's square, a multiple of 16; TinyViT models only"),
    ] = None,
    precision: PrecisionOption = PrecisionName.float32,
    baseline: Annotated[Baseline | None, typer.Option("--baseline", help="compare boxes with this method")] = None,
    max_images: Annotated[
        int | None, typer.Option("--max-images", min=1, help="at most so many of each data set, evenly spaced")
    ] = None,
    max_masks: Annotated[
        int | None, typer.Option("--max-masks", min=1, help="at most so many of each image, evenly spaced")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="processes of one thread; on a GPU only the baseline has them")
    ] = 1,
) -> None:
    """Measure masks from 1, 2, 3, 5 and 9 clicks and from a box, and the clicks to an IoU of 85 and 90 %.

    The same command goes on where it was interrupted.
    """
    import torch

    from opensam.data.sa1b import list_shards
    from opensam.eval.baselines import GrabCut
    from opensam.eval.report import run_facts, write_report
    from opensam.eval.segmenters import SamSegmenter
    from opensam.eval.single_point import ClicksConfig
    from opensam.models.inference import for_inference
    from opensam.precision import compute_type

    list_shards(data)  # a wrong path is worth hearing of before a model is downloaded
    config = ClicksConfig.model_validate({"data": data, "max_images": max_images, "max_masks_per_image": max_masks})
    sam = load_model(model, checkpoint, device)
    if image_size is not None:
        sam = at_image_size(sam, image_size)
    compute = compute_type(precision.value, sam.device, sam.dtype)
    segmenter = SamSegmenter(for_inference(sam, compute))
    facts = {
        "model": sam.name,
        "checkpoint": str(checkpoint) if checkpoint else None,
        "image_size": sam.image_size,
        "precision": {torch.bfloat16: "bf16"}.get(compute, str(compute).removeprefix("torch.")),
        "workers": workers,
        **run_facts(device, seed=0),
    }
    journal = open_journal(out, config, facts, checkpoint)
    methods = [_run(segmenter, config, sam.name, workers if sam.device.type == "cpu" else 1, journal)]
    if baseline is Baseline.grabcut:
        methods.append(_run(GrabCut(), config, "GrabCut", workers, journal))
    markdown, machine = write_report(out, methods, config, facts)
    journal.delete()
    show(methods)
    typer.echo(f"{markdown}\n{machine}")


def open_journal(out: Path, config: "ClicksConfig", facts: dict[str, Any], checkpoint: Path | None) -> "Journal":
    """What the same command has measured before it was interrupted; nothing if the code was edited since a commit."""
    from opensam.eval.journal import Journal

    state = checkpoint.stat() if checkpoint else None
    wanted = {name: facts[name] for name in ("model", "checkpoint", "image_size", "precision", "commit", "versions")}
    wanted |= {"config": config.model_dump(mode="json"), "changed": state.st_mtime_ns if state else None}
    path = out / "clicks.partial.jsonl"
    if str(facts["commit"]).endswith("-dirty"):
        path.unlink(missing_ok=True)
    return Journal(path, wanted)


def at_image_size(sam: "Sam", image_size: int) -> "Sam":
    """The same weights over a square of another size.

    Raises:
        ValueError: the image encoder is tied to its size, or the size does not suit it.
    """
    from opensam.models.sam import Sam

    if image_size == sam.image_size:
        return sam
    encoder = sam.config.image_encoder
    if encoder.kind != "tiny_vit":
        raise ValueError(
            f"expected a TinyViT model with --image-size, got {sam.name}, whose position table fits "
            f"{sam.image_size} alone; leave --image-size out"
        )
    if image_size % 16:
        raise ValueError(f"expected --image-size as a multiple of 16, got {image_size}")
    resized = Sam(sam.config.with_overrides([f"image_encoder.image_size={image_size}"]), sam.name)
    resized.load_state_dict(sam.state_dict())
    return resized.to(sam.device).eval()


def _run(
    segmenter: "BoxSegmenter", config: "ClicksConfig", method: str, workers: int, journal: "Journal"
) -> "MethodScores":
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from opensam.eval.single_point import Progress, run_clicks

    if workers > 1:  # before torch is imported in them: many processes of many threads fight for the cores
        os.environ["OMP_NUM_THREADS"] = "1"
    screen = console(sys.stderr)
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Bar(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(method, total=None)

        def show_progress(progress: Progress) -> None:
            name = f"{method} {progress.dataset}"
            bar.update(task, description=name, completed=progress.images, total=progress.of)
            if not screen.is_terminal and progress.images == progress.of:
                typer.echo(f"{name}: {progress.of} images", err=True)

        return run_clicks(segmenter, config, method=method, workers=workers, progress=show_progress, journal=journal)


def show(methods: "list[MethodScores]") -> None:
    """Print the means over the data sets, a column per method."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from opensam.eval.report import COLUMNS

    table = Table("mean over data sets", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for method in methods:
        table.add_column(method.method, justify="right")
    for score, (title, decimals) in COLUMNS.items():
        values = [f"{method.mean[score]:.{decimals}f}" if score in method.mean else "" for method in methods]
        table.add_row(title, *values)
    console(sys.stdout).print(table)
