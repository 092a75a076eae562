"""A stand-in for a model: masks by brightness. What a picture does to its worker hangs on its width.

As a program, `python -m tests.recipes.stand_in PHOTOS OUT BACKEND WORKERS [SLOWLY]` does a whole job.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from opensam.amg import AmgConfig
from opensam.cli.generate import draw
from opensam.image import Rgb
from opensam.launch import pool
from opensam.recipes import generation
from opensam.recipes.inputs import find_pictures
from opensam.records import MaskRecord

DIES_ONCE, DIES, FAILS = 31, 32, 33


def write_photos(folder: Path, widths: dict[str, int]) -> Path:
    """Pictures of noise, of 20 rows."""
    for number, (name, width) in enumerate(widths.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (20, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return folder


def open_stand_in(folder: Path | None = None, seconds: float = 0.0) -> Callable[[Rgb], list[MaskRecord]]:
    """For `generation.generate`; the folder remembers who died."""

    def segment(rgb: Rgb) -> list[MaskRecord]:
        time.sleep(seconds)
        width = rgb.shape[1]
        once = (folder or Path()) / "died"
        if width == DIES or (width == DIES_ONCE and not once.exists()):
            if width == DIES_ONCE:
                once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if width == FAILS:
            raise RuntimeError("out of memory")
        masks = [rgb[..., 0] > level for level in (60, 120, 250) if (rgb > level).any()]
        return [
            MaskRecord.from_mask(mask, number, predicted_iou=0.9, stability_score=0.95)
            for number, mask in enumerate(masks)
        ]

    return segment


def make_config(inputs: generation.Inputs, **settings: object) -> generation.GenerateConfig:
    """The config of a job."""
    given = {"model": "stand_in", "amg": AmgConfig(), "pictures": len(inputs), "names": inputs.digest()}
    return generation.GenerateConfig.model_validate(given | settings)


def run_job(
    photos: Path, out: Path, seconds: float = 0.0, *, backend: str = "local", workers: int = 1, **settings: object
) -> generation.Progress:
    """A whole job."""
    inputs = find_pictures([photos], out)

    def spread(start: Callable, pictures: Iterator, count: int) -> object:
        return pool.answers(backend, workers, start, pictures, out, "cpu")

    return generation.generate(
        inputs,
        out,
        make_config(inputs, **settings),
        partial(open_stand_in, photos.parent, seconds),
        lambda progress: print(f"done {progress.done}", flush=True),
        spread,
        draw=draw,
    )


def read_all(out: Path) -> dict[str, bytes]:
    """All files of a job but run.json, which has the machine in it, and the lock."""
    files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in ("run.json", ".opensam/lock")}


if __name__ == "__main__":
    _, given, result, where, count, *slowly = sys.argv
    run_job(Path(given), Path(result), 0.1 if slowly else 0.0, backend=where, workers=int(count))
