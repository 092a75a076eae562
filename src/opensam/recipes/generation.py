"""Masks of everything for many pictures: what is to do, what is done, and what is written.

The state of a job is its folder alone. A picture is done when the last of its files is there, and every file appears
complete or not at all. So a job that was cut off, however hard, goes on with what is missing; and who works on which
picture changes nothing.

    OUT/run.json                 config, versions, machine of the first start
    OUT/STEM.json                the record (format "sa1b"), or what another format writes
    OUT/STEM_overlay.jpg         if asked for
    OUT/masks-000000.tar         instead of files: a fixed number of pictures, each beside its record
    OUT/skipped.csv              pictures without a result, and why
    OUT/.opensam/                records of other formats, and pieces of tars: what the job needs to go on
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from opensam import image
from opensam.amg import AmgConfig, MaskGenerator
from opensam.amg.tiles import TilesConfig, generate_tiled
from opensam.config import Config, check_same_config, write_run_json
from opensam.eval.facts import run_facts
from opensam.precision import Precision
from opensam.predictor.base import BasePredictor
from opensam.recipes.inputs import Inputs, Picture, check_names
from opensam.recipes.results import (
    HIDDEN,
    RESERVED,
    Draw,
    Files,
    NameTooLongError,
    Segmented,
    Shards,
    SkippedList,
    member_name,
    sweep_all,
)
from opensam.records import ImageInfo, ImageRecord, MaskRecord
from opensam.records.formats import FORMATS

Segment = Callable[[image.Rgb], list[MaskRecord]]
Report = Callable[["Progress"], None]
Work = Callable[[Picture], "Outcome"]
Answers = Iterator[tuple[Picture, "Outcome | Exception"]]
Spread = Callable[[Callable[[], Work], Iterator[Picture], int], AbstractContextManager[Answers]]
"""Gives so many pictures to workers, each of which makes itself ready by the function; see `opensam.launch.pool`."""

MASKS_PER_IMAGE = 10**6
"""Ids of masks are `image_id * MASKS_PER_IMAGE + k`, k from 1: unique in a job, whoever made which."""


class GenerateConfig(Config):
    """What the files of a job depend on; to go on with a job, all of it must be the same.

    Attributes:
        model: a name of the zoo; None: what the checkpoint holds.
        weights: SHA-256 of the checkpoint, or of the exported graphs, where there is one.
        precision: see `Predictor`; not "auto", which workers on different machines would understand differently.
        amg: settings of the masks.
        tiles: how large pictures are cut; None: every picture is seen as a whole.
        format: a name of `opensam.records.formats.FORMATS`.
        overlay: also draw the masks over the picture.
        shard_size: pictures per tar; 0: files.
        pictures: how many there are.
        names: SHA-256 of their names: numbers depend on them.
    """

    model: str | None
    weights: str | None = None
    precision: Precision = "float32"
    amg: AmgConfig
    tiles: TilesConfig | None = None
    format: str = "sa1b"
    overlay: bool = False
    shard_size: int = 0
    pictures: int
    names: str


@dataclass(frozen=True)
class Progress:
    """How a job stands.

    Attributes:
        done: pictures of this start that are finished, with or without a result.
        todo: pictures that this start began with.
        before: pictures that an earlier start has finished.
        masks: found by this start.
        empty: pictures of this start without any mask.
        skipped: how often each reason was given for a picture without a result, of this start.
        seconds: since the first picture was begun.
    """

    done: int
    todo: int
    before: int
    masks: int = 0
    empty: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Of this start."""
        return self.done / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of a picture: a number of masks, or the reason why there is no result."""

    masks: int = 0
    reason: str | None = None


def generate(
    inputs: Inputs,
    out: Path,
    config: GenerateConfig,
    open_segment: Callable[[], Segment],
    report: Report,
    spread: Spread,
    *,
    device: str = "cpu",
    draw: Draw | None = None,
) -> Progress:
    """Make what is missing of a job.

    Args:
        inputs: its pictures.
        out: its folder: new, empty, or that of the same job.
        config: what to make.
        open_segment: called once in every worker; must survive pickling. It returns a function from a picture
            (H, W, 3) to its masks; their ids do not matter.
        report: called after each picture.
        spread: starts the workers. The answer for a picture over which they died is an exception.
        device: of the model, for run.json: one of torch, or `onnxruntime`.
        draw: see `Files`; needed for a config with overlays.

    Returns:
        How it ended. A picture that could not be read or segmented, or over which two workers died, is in
        `skipped.csv`, and is tried again by the next start (in tars: if its tar was not finished).

    Raises:
        ValueError: the folder holds another job, or somebody works on it; something cannot be written; there is no
            result for any picture.
    """
    check_folder(out, config)
    (out / HIDDEN).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / HIDDEN / "lock", timeout=0):
            if (out / "run.json").is_file():
                sweep_all(out)
            else:
                write_run_json(out, config, **run_facts(device, seed=0))
            return _Job(inputs, out, config, report, draw).run(open_segment, spread)
    except Timeout:
        raise ValueError(f"expected nobody else to work on {out}, got a job that runs; wait for it to end") from None


def check_writable(inputs: Inputs, config: GenerateConfig) -> None:
    """Find out before anything is loaded whether a job can be written as asked.

    Raises:
        ValueError: an unknown format, options that exclude each other, or a picture that would write over run.json.
    """
    if config.format not in FORMATS:
        raise ValueError(f"expected a format, one of {', '.join(FORMATS)}, got {config.format}")
    if config.shard_size and (config.format != "sa1b" or config.overlay):
        given = f"--format {config.format}" if config.format != "sa1b" else "--overlay"
        raise ValueError(f"expected SA-1B records alone in tars, got {given} with --shards-out; leave one of them out")
    if config.shard_size:
        check_names(lambda: map(member_name, inputs.stems()))
    elif taken := next(filter(RESERVED.__contains__, inputs.stems()), None):
        raise ValueError(f"expected no picture called {taken}: the job has a {taken}.json of its own; rename it")


def check_folder(out: Path, config: GenerateConfig) -> None:
    """Find out whether a job can go on, or begin, in a folder.

    Raises:
        ValueError: it holds something else.
    """
    path = out / "run.json"
    if path.is_file():
        check_same_config(out, _read_config(path), config)
    elif out.is_dir() and (found := [file.name for file in out.iterdir() if not file.name.startswith(".")]):
        raise ValueError(
            f"expected --out to be a new folder, or that of an earlier start, got {out} with {min(found)} in it and "
            "without run.json; choose another --out"
        )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())["config"]
        return dict(config)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"expected the config of a job in {path}, got something else; choose another --out") from None


class _Job:
    """One start of a job."""

    def __init__(self, inputs: Inputs, out: Path, config: GenerateConfig, report: Report, draw: Draw | None) -> None:
        self.inputs, self.config, self.report = inputs, config, report
        self.results = _results(out, config, draw)
        done = np.fromiter((self.results.has(picture) for picture in inputs), np.bool_, len(inputs))
        self.todo: NDArray[np.int64] = np.flatnonzero(~done) + 1
        self.skipped = SkippedList(out / "skipped.csv", keep=lambda number: bool(done[number - 1]))
        self.progress = Progress(0, len(self.todo), len(inputs) - len(self.todo))

    def run(self, open_segment: Callable[[], Segment], spread: Spread) -> Progress:
        """Do what is to do; see `generate`."""
        self.results.prepare(self.todo)
        if len(self.todo):
            self._work(partial(_start, open_segment, self.results, self.config), spread)
            self.skipped.sort()
        if not self.progress.before and self.progress.done == self.progress.skipped.total():
            ((reason, _),) = self.progress.skipped.most_common(1)
            raise ValueError(f"expected pictures that can be used, got none among {len(self.inputs)}: {reason}")
        self.results.finish(self.inputs)
        return self.progress

    def _work(self, start: Callable[[], Work], spread: Spread) -> None:
        began = time.perf_counter()
        pictures = (self.inputs[int(number)] for number in self.todo)
        with spread(start, pictures, len(self.todo)) as answers:
            for picture, answer in answers:
                outcome = Outcome(reason=str(answer)) if isinstance(answer, Exception) else answer
                if outcome.reason is not None:
                    self.skipped.add(picture, outcome.reason)
                self.results.account(picture)
                self._count(outcome, time.perf_counter() - began)

    def _count(self, outcome: Outcome, seconds: float) -> None:
        now = self.progress
        if outcome.reason is not None:
            now.skipped[outcome.reason] += 1
        self.progress = Progress(
            now.done + 1,
            now.todo,
            now.before,
            now.masks + outcome.masks,
            now.empty + (outcome.reason is None and not outcome.masks),
            now.skipped,
            seconds,
        )
        self.report(self.progress)


def _results(out: Path, config: GenerateConfig, draw: Draw | None) -> Files | Shards:
    if config.shard_size:
        return Shards(out, config.shard_size, config.pictures)
    return Files(out, config.format, draw if config.overlay else None)


def _start(
    open_segment: Callable[[], Segment], results: Files | Shards, config: GenerateConfig
) -> Callable[[Picture], Outcome]:
    """What a worker does first."""
    limit = image.MAX_PIXELS if config.tiles is None else config.tiles.max_pixels
    return partial(_make, open_segment(), results, limit)


def _make(segment: Segment, results: Files | Shards, max_pixels: int, picture: Picture) -> Outcome:
    """Segment a picture and write its files.

    Raises:
        WriteError: they cannot be written.
    """
    try:
        content = picture.read()
        rgb = image.read(content, max_pixels=max_pixels)
        record = describe(picture, picture.file_name(content), rgb, segment(rgb))
        files = results.files(Segmented(picture, content, rgb, record))
    except Exception as error:  # whatever is wrong with one picture is no reason to lose the others
        return Outcome(reason=_reason(error))
    try:
        results.write(files)
    except NameTooLongError as error:
        return Outcome(reason=str(error))
    return Outcome(len(record.annotations))


def describe(picture: Picture, file_name: str, rgb: image.Rgb, masks: list[MaskRecord]) -> ImageRecord:
    """The record of a picture with ids that are unique in the job.

    Raises:
        ValueError: too many masks for that.
    """
    if len(masks) >= MASKS_PER_IMAGE:
        raise ValueError(f"expected fewer than {MASKS_PER_IMAGE} masks in a picture, got {len(masks)}")
    first = picture.number * MASKS_PER_IMAGE + 1
    height, width = rgb.shape[:2]
    info = ImageInfo(image_id=picture.number, width=width, height=height, file_name=file_name)
    numbered = [mask.model_copy(update={"id": first + k}) for k, mask in enumerate(masks)]
    return ImageRecord(image=info, annotations=numbered)


def _reason(error: Exception) -> str:
    """In one line; of what should not have happened with its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"


def open_segment(config: GenerateConfig, checkpoint: Path | None, device: str, cache_dir: Path) -> Segment:
    """Load the model of a job; see `generate`.

    Raises:
        ValueError: the model, the checkpoint, the device or the precision cannot be had.
    """
    from opensam.models import zoo
    from opensam.predictor import Predictor

    sam = zoo.load(config.model, checkpoint=checkpoint, device=device, cache_dir=cache_dir)
    return _segment(config, Predictor(sam, config.precision))


def open_onnx_segment(config: GenerateConfig, folder: Path) -> Segment:
    """Open the exported graphs of a job, for which torch is not needed; see `generate`.

    Raises:
        ValueError: there are none, or they cannot be used.
    """
    from opensam.onnx import OnnxPredictor

    # Workers beside each other are told how many threads each may have.
    return _segment(config, OnnxPredictor.load(folder, threads=int(os.environ.get("OMP_NUM_THREADS", 0))))


def _segment(config: GenerateConfig, predictor: BasePredictor[Any]) -> Segment:
    generator = MaskGenerator(predictor, config.amg)
    if config.tiles is None:
        return generator.generate
    return partial(generate_tiled, generator, config=config.tiles)
