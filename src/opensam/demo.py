"""`python -m opensam.demo`: the embedded model on real photographs, with a click, two clicks, and a box.

It is what `make demo` runs. The photographs are the samples that scikit-image carries, or one of your own.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import opensam
from opensam import image as images
from opensam.files import replacing
from opensam.predictor import Prediction, Predictor
from opensam.records import ImageInfo, ImageRecord, MaskRecord
from opensam.view import overlay

Xy = tuple[float, float]
Xyxy = tuple[float, float, float, float]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Scene:
    """A photograph and what to point at in it: on the object, beside it, and the corners around it."""

    name: str
    file_name: str
    picture: images.Rgb
    on: Xy
    beside: Xy
    around: Xyxy


@dataclass(frozen=True)
class Job:
    """One prompt on one picture: the answer, where its overlay lies, and how long the model took."""

    picture: str
    prompt: str
    overlay: Path
    answer: Prediction
    encode_seconds: float
    decode_seconds: float


# In pixels: the cup and not its saucer, the woman and not the flag, the cat, the rocket and not the sky.
SAMPLES: dict[str, tuple[Xy, Xy, Xyxy]] = {
    "coffee.png": ((300, 215), (120, 270), (172, 15, 405, 310)),
    "astronaut.png": ((120, 380), (40, 130), (18, 12, 375, 511)),
    "chelsea.png": ((235, 70), (425, 120), (0, 0, 398, 299)),
    "rocket.jpg": ((322, 280), (430, 280), (305, 126, 340, 408)),
}


def sample_scenes() -> Iterator[Scene]:
    """The sample photographs.

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the sample photographs come with scikit-image: pip install 'opensam[demo]', or use --image"
        ) from error
    for file_name, (on, beside, around) in SAMPLES.items():
        name = Path(file_name).stem
        yield Scene(name, file_name, getattr(data, name)(), on, beside, around)


def scene_of(path: Path) -> Scene:
    """A picture of which nothing is known: what is in the middle, and not what is in the corner.

    Raises:
        ValueError: it cannot be read as a picture.
    """
    picture = images.read(path)
    height, width = picture.shape[:2]
    x, y = 0.2 * width, 0.2 * height
    corner = (0.03 * width, 0.03 * height)
    box = (x, y, width - x, height - y)
    return Scene(path.stem, path.name, picture, (width / 2, height / 2), corner, box)


def run_scene(predictor: Predictor, scene: Scene, out: Path) -> Iterator[Job]:
    """Answer a click, a second click that corrects it, and a box; write three files for each into `out`."""
    embedding, encode_seconds = timed(lambda: predictor.embed(scene.picture))

    def job(prompt: str, answer: Prediction, seconds: float, **drawn: Any) -> Job:
        overlay_path = out / f"{scene.name}-{prompt.replace(' ', '-')}.png"
        write_answer(overlay_path, scene, answer, drawn)
        return Job(scene.name, prompt, overlay_path, answer, encode_seconds, seconds)

    first, seconds = timed(lambda: predictor.predict(embedding, [scene.on]))
    yield job("click", first, seconds, points=[scene.on], labels=[1])

    points, labels = [scene.on, scene.beside], [1, 0]
    logits = first.best.low_res_mask
    again, seconds = timed(lambda: predictor.predict(embedding, points, labels, mask_input=logits))
    yield job("two clicks", again, seconds, points=points, labels=labels)

    boxed, seconds = timed(lambda: predictor.predict(embedding, boxes=scene.around))
    yield job("box", boxed, seconds, boxes=scene.around)


def timed(function: Callable[[], Value]) -> tuple[Value, float]:
    """What a function returns, and the seconds it took."""
    started = time.perf_counter()
    value = function()
    return value, time.perf_counter() - started


def write_answer(path: Path, scene: Scene, answer: Prediction, drawn: dict[str, Any]) -> None:
    """Write the overlay to `path`, and beside it the mask (`-mask.png`) and the SA-1B record (`.json`)."""
    best, (height, width) = answer.best, scene.picture.shape[:2]
    record = MaskRecord.from_mask(
        best.mask,
        1,
        predicted_iou=float(answer.iou_predictions[0]),
        stability_score=float(best.stability_score),
        point_coords=drawn.get("points", []),
    )
    image = ImageInfo(image_id=1, width=width, height=height, file_name=scene.file_name)
    images.write_png(path, overlay(scene.picture, best.mask, **drawn))
    images.write_png(path.with_name(f"{path.stem}-mask.png"), best.mask)
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_bytes(ImageRecord(image=image, annotations=[record]).to_json())


def table_of(jobs: list[Job]) -> Table:
    """What was asked and answered, a line per job."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("picture", style="bold")
    table.add_column("prompt")
    for column in ("predicted\nIoU", "encode\nseconds", "decode\nseconds"):
        table.add_column(column, justify="right")
    table.add_column("overlay", overflow="fold")
    for before, job in zip([None, *jobs], jobs, strict=False):
        new = before is None or before.picture != job.picture
        table.add_row(
            job.picture if new else "",
            job.prompt,
            f"{job.answer.best.predicted_iou:.2f}",
            f"{job.encode_seconds:.2f}" if new else "",  # once per picture
            f"{job.decode_seconds:.2f}",
            str(job.overlay),
        )
    return table


def main(
    out: Annotated[Path, typer.Option(help="folder for pictures and records")] = Path("out"),
    image: Annotated[Path | None, typer.Option(help="a picture of your own")] = None,
) -> None:
    """Segment photographs with the embedded model: a click, a correcting click, and a box on each."""
    console = Console()
    try:
        scenes = list(sample_scenes()) if image is None else [scene_of(image)]
        out.mkdir(parents=True, exist_ok=True)
        sam, load_seconds = timed(opensam.load)
        predictor = Predictor(sam)
        jobs = [job for scene in scenes for job in run_scene(predictor, scene, out)]
    except (ValueError, OSError, ModuleNotFoundError) as error:
        Console(stderr=True).print(f"[bold red]error[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(table_of(jobs))
    console.print(f"Loading the model took {load_seconds:.2f} s. ", end="")
    console.print("Beside each overlay NAME.png lie NAME-mask.png and NAME.json.", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
