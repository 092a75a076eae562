"""`opensam generate`: the masks of everything in pictures, folders and tars."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self

import typer

from opensam.cli.shared import (
    INTERRUPTED,
    CheckpointOption,
    DeviceOption,
    DownloadBar,
    ModelOption,
    OnnxOption,
    PrecisionName,
    PrecisionOption,
    cache_folder,
    check_only_onnx,
    console,
    stopped,
)

if TYPE_CHECKING:
    from opensam.amg import AmgConfig
    from opensam.amg.tiles import TilesConfig
    from opensam.image import Rgb
    from opensam.recipes.generation import GenerateConfig, Progress, Segment
    from opensam.recipes.inputs import Inputs
    from opensam.records import ImageRecord

LINE_EVERY = 30.0
"""Seconds between two lines about the progress where there is no terminal."""
REASONS_SHOWN = 3
TILES = "tiles."

INPUT_HELP = "pictures, folders of pictures (with the folders in them), tars, or folders of tars"
FORMAT_HELP = "what is written: sa1b, coco, yolo, labelme, png or labelmap"
PRESET_HELP = (
    "settings to start from: official; sa1b, those of the paper's data set (21 views of a picture); tiny, the official "
    "ones with thresholds for the embedded model. Unless given, tiny for that model and official for others"
)
SET_HELP = "change a setting, such as points_per_side=16; repeat for more; --dry-run shows all"
WORKERS_HELP = "processes, each with a model of its own; unless given, 1 here, and on a Ray cluster one per GPU or core"
SHARDS_HELP = "write tars of N pictures, each beside its SA-1B record, as `opensam train` reads them, instead of files"


def generate(
    images: Annotated[list[Path], typer.Argument(help=INPUT_HELP, metavar="IMAGES...", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="folder of the job, new or to go on with", show_default=False)],
    output_format: Annotated[str, typer.Option("--format", help=FORMAT_HELP)] = "sa1b",
    preset: Annotated[str | None, typer.Option("--preset", help=PRESET_HELP, show_default=False)] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    tile: Annotated[
        bool, typer.Option("--tile", help="cut large pictures into tiles; settings are --set tiles.KEY=VALUE")
    ] = False,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = PrecisionName.auto,
    onnx: OnnxOption = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help=WORKERS_HELP, show_default=False)] = None,
    backend: Annotated[str, typer.Option("--backend", help="local: here; ray: on a Ray cluster")] = "local",
    shards_out: Annotated[
        int | None, typer.Option("--shards-out", min=1, metavar="N", help=SHARDS_HELP, show_default=False)
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="also draw the masks over each picture (JPEG)")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the resolved config and the number of pictures, and do nothing")
    ] = False,
) -> None:
    """Segment everything in pictures. The same command goes on with a job that was interrupted.

    \b
    Writes, for photos/sub/a.jpg of a folder photos/, into the folder --out:
      sub/a.json           its masks as SA-1B records (or what --format says)
      sub/a_overlay.jpg    with --overlay
      run.json             the settings; another job in the same folder is refused
      skipped.csv          pictures that could not be used and why, if any;
                           they do not change the exit code unless no other is left
    """  # noqa: D301 -- \b is for typer
    from opensam.recipes import generation
    from opensam.recipes.inputs import find_pictures

    source = choose(model, checkpoint, onnx, device, precision)
    facts = source.facts()
    amg, tiles = settings(preset, overrides or [], tile, facts["model"])
    inputs = find_pictures(images, out)
    config = generation.GenerateConfig.model_validate(
        {
            **facts,
            "amg": amg,
            "tiles": tiles,
            "format": output_format,
            "overlay": overlay,
            "shard_size": shards_out or 0,
            "pictures": len(inputs),
            "names": inputs.digest(),
        }
    )
    generation.check_writable(inputs, config)
    if dry_run:
        typer.echo(json.dumps(config.model_dump(mode="json"), indent=2))
        return
    generation.check_folder(out, config)
    work(inputs, out, config, source.opener(config), Where(backend, workers, source.device))


class Source(Protocol):
    """Where a job's masks come from."""

    @property
    def device(self) -> str:
        """What computes."""

    def facts(self) -> dict[str, str | None]:
        """What `GenerateConfig` says of it, told without loading it where that takes long.

        Raises:
            ValueError: it cannot be had.
        """

    def opener(self, config: "GenerateConfig") -> "Callable[[], Segment]":
        """What every worker calls first."""


@dataclass(frozen=True)
class TorchModel:
    """A model of the zoo, or a checkpoint."""

    model: str | None
    checkpoint: Path | None
    device: str
    precision: PrecisionName

    def facts(self) -> dict[str, str | None]:
        """See `Source`."""
        from opensam.files import digest_of
        from opensam.models import zoo
        from opensam.precision import resolve

        precision = resolve(self.precision.value, self.device)
        if self.checkpoint is None:
            return {"model": zoo.find(self.model or "opensam_tiny").name, "precision": precision}
        name = zoo.find(self.model).name if self.model is not None else None
        return {"model": name, "weights": digest_of(self.checkpoint), "precision": precision}

    def opener(self, config: "GenerateConfig") -> "Callable[[], Segment]":
        """See `Source`; fetches weights before workers begin, each of which would wait for the others."""
        from opensam.models import zoo
        from opensam.recipes import generation

        if config.weights is None and config.model is not None and (spec := zoo.find(config.model)).url is not None:
            with DownloadBar() as bar:
                zoo.download(spec, cache_folder(), bar)
        checkpoint = self.checkpoint and self.checkpoint.absolute()
        return partial(generation.open_segment, config, checkpoint, self.device, cache_folder())


@dataclass(frozen=True)
class Graphs:
    """What `opensam export` wrote."""

    folder: Path
    device: str = "onnxruntime"

    def facts(self) -> dict[str, str | None]:
        """See `Source`."""
        from opensam.files import digest_of
        from opensam.onnx.predictor import OnnxPredictor, graph_files

        name = OnnxPredictor.load(self.folder).name
        return {"model": name, "weights": digest_of(*graph_files(self.folder)), "precision": "float32"}

    def opener(self, config: "GenerateConfig") -> "Callable[[], Segment]":
        """See `Source`."""
        from opensam.recipes import generation

        return partial(generation.open_onnx_segment, config, self.folder.absolute())


def choose(
    model: str | None, checkpoint: Path | None, onnx: Path | None, device: str, precision: PrecisionName
) -> Source:
    """What the options name.

    Raises:
        ValueError: they contradict each other.
    """
    if onnx is None:
        return TorchModel(model, checkpoint, device, precision)
    check_only_onnx(model, checkpoint, device, precision)
    return Graphs(onnx)


@dataclass(frozen=True)
class Where:
    """Who does the work; see `opensam.launch.pool.answers`."""

    backend: str
    workers: int | None
    device: str


def work(inputs: "Inputs", out: Path, config: "GenerateConfig", load: "Callable[[], Segment]", where: Where) -> None:
    """Do a job and show how it goes.

    Raises:
        typer.Exit: Ctrl-C.
        ValueError: see `generation.generate`.
    """
    from opensam.launch import pool
    from opensam.recipes import generation

    def spread(start: Any, pictures: Any, count: int) -> Any:
        workers = where.workers and min(where.workers, count)  # more would only load models
        return pool.answers(where.backend, workers, start, pictures, out, where.device)

    view = GenerateView(inputs)
    try:
        with view:
            end = generation.generate(inputs, out, config, load, view, spread, device=where.device, draw=draw)
    except KeyboardInterrupt:
        raise stopped(f"interrupted; {view.standing()}, and the same command goes on", INTERRUPTED) from None
    show(end, out)


def draw(rgb: "Rgb", record: "ImageRecord") -> bytes:
    """The picture under all its masks, the large ones below, as JPEG."""
    from io import BytesIO

    from PIL import Image

    from opensam.view import PALETTE, overlay

    # One by one: hundreds of masks in the size of the picture would take gigabytes.
    for number, mask in enumerate(sorted(record.annotations, key=lambda mask: -mask.area)):
        rgb = overlay(rgb, mask.mask, colors=[PALETTE[number % len(PALETTE)]])
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def settings(
    preset: str | None, overrides: Sequence[str], tile: bool, model: str | None
) -> "tuple[AmgConfig, TilesConfig | None]":
    """A preset, or that which suits the model, with what the user changed; keys with `tiles.` are about tiles.

    Raises:
        ValueError: no such preset or setting, a value that it cannot have, or tiles that nobody asked for.
    """
    from opensam.amg import PRESETS, preset_of
    from opensam.amg.tiles import TilesConfig

    preset = preset or preset_of(model or "")
    if preset not in PRESETS:
        raise ValueError(f"expected a preset, one of {', '.join(PRESETS)}, got {preset}")
    of_tiles = [override.removeprefix(TILES) for override in overrides if override.startswith(TILES)]
    if of_tiles and not tile:
        raise ValueError(f"expected --tile with --set {TILES}{of_tiles[0]}, got none; add it, or leave the setting out")
    amg = PRESETS[preset].with_overrides([override for override in overrides if not override.startswith(TILES)])
    return amg, TilesConfig().with_overrides(of_tiles) if tile else None


class GenerateView:
    """How a job looks on stderr: a bar on a terminal, a line every half minute and at the end anywhere else."""

    def __init__(self, inputs: "Inputs") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self.screen = console(sys.stderr)
        self.inputs, self.last = inputs, time.monotonic()
        self.progress: Progress | None = None
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            console=self.screen,
            disable=not self.screen.is_terminal,
        )
        self.task = self.bar.add_task("starting", total=len(inputs), facts="")

    def __enter__(self) -> Self:
        passed = f"; passed over {self.inputs.others} other files" if self.inputs.others else ""
        self.screen.print(f"{_images(len(self.inputs))} to segment{passed}", soft_wrap=True, markup=False)
        self.bar.start()
        return self

    def __call__(self, progress: "Progress") -> None:
        """Show how the job stands."""
        self.progress = progress
        seconds = (progress.todo - progress.done) / max(progress.images_per_second, 1e-9)
        skipped = f"  {progress.skipped.total()} skipped" if progress.skipped else ""
        facts = (
            f"{progress.masks} masks{skipped}  {progress.images_per_second:.2f} images/s  "
            f"{timedelta(seconds=round(seconds))} left"
        )
        done = progress.before + progress.done
        self.bar.update(self.task, description="segmenting", completed=done, facts=facts)
        now = time.monotonic()
        if not self.screen.is_terminal and (now - self.last > LINE_EVERY or progress.done == progress.todo):
            self.last = now
            typer.echo(f"segmenting {done}/{len(self.inputs)} {facts}", err=True)

    def standing(self) -> str:
        """In words, how far the job has come."""
        if self.progress is None:
            return "no picture was finished by this start"
        return f"{self.progress.before + self.progress.done} of {_images(len(self.inputs))} are done"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()


def show(end: "Progress", out: Path) -> None:
    """Print what became of the pictures, and where the results are."""
    skipped = end.skipped.total()
    rate = f" ({end.images_per_second:.2f} images/s)" if end.done else ""
    lines = [f"{_images(end.done - skipped)}, {end.masks} masks, {end.seconds:.1f} s{rate}"]
    if end.before:
        lines.append(f"{_images(end.before)} done before")
    if end.empty:
        lines.append(f"{_images(end.empty)} without any mask; a lower --set pred_iou_thresh=... lets more pass")
    if skipped:
        lines.append(f"skipped {_images(skipped)}; {out / 'skipped.csv'} lists them")
        lines += [f"  {count} x {reason}" for reason, count in end.skipped.most_common(REASONS_SHOWN)]
        if len(end.skipped) > REASONS_SHOWN:
            lines.append("  ...")
    typer.echo("\n".join([*lines, str(out)]))


def _images(count: int) -> str:
    return f"{count} image" + "s" * (count != 1)
