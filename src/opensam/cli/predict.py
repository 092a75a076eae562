"""`opensam predict`: one picture and prompts in; an overlay, masks and a record out."""

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensam.cli.shared import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    OnnxOption,
    PrecisionName,
    PrecisionOption,
    console,
    load_predictor,
    timed,
)

if TYPE_CHECKING:
    from opensam.image import Rgb
    from opensam.predictor import Prediction, PromptInput


def predict(
    image: Annotated[Path, typer.Argument(help="a picture", metavar="IMAGE", show_default=False)],
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point", metavar="X,Y[,0|1]", help="a click on the object, or beside it with ,0; repeat for more"
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="X0,Y0,X1,Y1", help="two corners around an object; repeat for several objects"),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="a picture of a rough mask to refine: 0 outside, any size")
    ] = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    onnx: OnnxOption = None,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = PrecisionName.auto,
    out: Annotated[Path, typer.Option("--out", help="folder for what is written")] = Path("out"),
    multimask: Annotated[
        bool | None,
        typer.Option(
            "--multimask/--single",
            help="three candidates or one mask; unless given, three for a single point or box, which may be ambiguous",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one line of JSON instead of a table")] = False,
) -> None:
    """Segment what points, boxes or a rough mask show in a picture. All coordinates are in its pixels.

    \b
    Writes, for photo.jpg, into the folder --out:
      photo_overlay.png           the picture with the best mask of each object
      photo_mask.png              the best mask, 255 inside and 0 outside
      photo_mask_candidate2.png   the next best, where there are candidates
      photo_mask_object2.png      with several boxes: of the second object
      photo.json                  all of these masks as SA-1B records
    """  # noqa: D301 -- \b is for typer
    asked = read_options(point or [], box or [], mask)
    prompt = asked.prompt(multimask)

    from opensam import image as images
    from opensam.geometry import Resize
    from opensam.predictor.reading import read_prompts

    picture = images.read(image)
    # A wrong prompt is worth hearing of before gigabytes are downloaded; the size of the square does not matter.
    read_prompts(Resize((picture.shape[0], picture.shape[1]), 1024), prompt)
    predictor, load_seconds = timed(lambda: load_predictor(model, checkpoint, onnx, device, precision))
    embedding, encode_seconds = timed(lambda: predictor.embed(picture))
    answer, decode_seconds = timed(lambda: predictor.predict_batch([embedding], [prompt])[0])
    written = write_answer(out, image, picture, asked, answer)
    seconds = {"load": load_seconds, "encode": encode_seconds, "decode": decode_seconds}
    if as_json:
        facts = {**written.facts(), "model": predictor.name, "seconds": rounded(seconds)}
        typer.echo(json.dumps(facts))
    else:
        show(written, seconds)


@dataclass(frozen=True)
class Asked:
    """The prompts of one run: points with labels, at most one box and a mask of one object, or boxes of several."""

    points: list[list[float]]
    labels: list[int]
    boxes: list[list[float]]
    mask: "Rgb | None"

    def prompt(self, multimask: bool | None) -> "PromptInput":
        """As the predictor takes it, with an axis P of objects in front."""
        prompt: PromptInput = {"multimask_output": multimask}
        if self.points:
            prompt |= {"point_coords": [self.points], "point_labels": [self.labels]}
        if self.boxes:
            prompt["boxes"] = self.boxes
        if self.mask is not None:
            prompt["mask"] = self.mask[None]
        return prompt


def read_options(points: list[str], boxes: list[str], mask: Path | None) -> Asked:
    """The options as prompts.

    Raises:
        ValueError: nothing is given, something is not numbers, or it is unclear which object is meant.
    """
    if not points and not boxes and mask is None:
        raise ValueError("expected at least one --point, --box or --mask, got none; say what to segment")
    if len(boxes) > 1 and (points or mask is not None):
        raise ValueError(
            f"expected points or a mask with at most one box, got {len(boxes)} boxes; run once for each object"
        )
    clicks = [_numbers("--point", text, ("500,375", "500,375,0")) for text in points]
    labels = [click[2] if len(click) == 3 else 1 for click in clicks]
    for text, label in zip(points, labels, strict=True):
        if label not in (0, 1):
            raise ValueError(f"expected the label 1 (on the object) or 0 (beside it) after x,y, got --point {text}")
    corners = [_numbers("--box", text, ("75,275,500,600",)) for text in boxes]
    return Asked([click[:2] for click in clicks], [int(label) for label in labels], corners, _read_mask(mask))


def _numbers(option: str, text: str, examples: tuple[str, ...]) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in [len(example.split(",")) for example in examples]:
        raise ValueError(f"expected pixels such as {option} {' or '.join(examples)}, got {option} {text}")
    return values


def _read_mask(path: Path | None) -> "Rgb | None":
    """(H, W) of which a picture is: 0 is outside, whatever colour the inside has."""
    from opensam import image as images

    return None if path is None else images.read(path).max(axis=2)


@dataclass(frozen=True)
class WrittenMask:
    """A mask file and what the model says of it; `object` and `candidate` count from 1, the best is 1."""

    file: str
    object: int
    candidate: int
    predicted_iou: float
    stability_score: float
    area: int


@dataclass(frozen=True)
class Written:
    """What lies in the folder now."""

    image: str
    overlay: str
    record: str
    masks: list[WrittenMask]

    def facts(self) -> dict[str, Any]:
        """Plain values for JSON."""
        masks = [rounded(vars(mask)) for mask in self.masks]
        return {**vars(self), "masks": masks}


def write_answer(out: Path, image: Path, picture: "Rgb", asked: Asked, answer: "Prediction") -> Written:
    """Write overlay, masks (P, C, H, W) and record; either all of them appear or none.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    from opensam.image import write_png
    from opensam.records import ImageInfo, ImageRecord, MaskRecord
    from opensam.view import overlay

    drawn = overlay(picture, answer.best.mask, points=asked.points, labels=asked.labels, boxes=asked.boxes)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".opensam-", dir=out) as folder:
        staged = Path(folder)
        write_png(staged / f"{image.stem}_overlay.png", drawn)
        records: list[MaskRecord] = []
        masks: list[WrittenMask] = []
        objects, candidates = answer.iou_predictions.shape
        for o, c in ((o, c) for o in range(objects) for c in range(candidates)):
            name = image.stem + "_mask" + f"_object{o + 1}" * (objects > 1) + f"_candidate{c + 1}" * (c > 0) + ".png"
            record = MaskRecord.from_mask(
                answer.masks[o, c],
                len(records) + 1,
                predicted_iou=float(answer.iou_predictions[o, c]),
                stability_score=float(answer.stability_score[o, c]),
                point_coords=asked.points,
            )
            write_png(staged / name, answer.masks[o, c])
            records.append(record)
            scores = (record.predicted_iou, record.stability_score, record.area)
            masks.append(WrittenMask(str(out / name), o + 1, c + 1, *scores))
        height, width = picture.shape[:2]
        info = ImageInfo(image_id=1, width=width, height=height, file_name=image.name)
        (staged / f"{image.stem}.json").write_bytes(ImageRecord(image=info, annotations=records).to_json())
        for file in sorted(staged.iterdir()):
            os.replace(file, out / file.name)
    return Written(str(image), str(out / f"{image.stem}_overlay.png"), str(out / f"{image.stem}.json"), masks)


def show(written: Written, seconds: dict[str, float]) -> None:
    """Print what was written, a line per file."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("file", overflow="fold")
    for column in ("predicted IoU", "stability", "pixels"):
        table.add_column(column, justify="right")
    for mask in written.masks:
        # As an IoU: the estimate itself may lie a little outside.
        iou = min(max(mask.predicted_iou, 0), 1)
        table.add_row(mask.file, f"{iou:.3f}", f"{mask.stability_score:.3f}", str(mask.area))
    table.add_row(written.overlay)
    table.add_row(written.record)
    screen = console(sys.stdout)
    screen.print(table)
    screen.print("seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in seconds.items()))


def rounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers for people and logs."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in facts.items()}
