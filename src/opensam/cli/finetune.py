"""`opensam finetune`: a better model for one's own pictures, in one line."""

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensam import distributed
from opensam.cli.runs import DryRunOption, Run, RunView, SetOption, interrupted
from opensam.cli.shared import console, load_model

if TYPE_CHECKING:
    from opensam.models.sam import Sam
    from opensam.recipes.before_after import Shown
    from opensam.recipes.finetuning import FinetuneConfig, Outcome, Plan


PANEL = 640  # pixels
SHOWN = ("loss", "box_iou", "point_iou", "last_iou")


class Trainable(StrEnum):
    """What is trained."""

    decoder = "decoder"
    lora = "lora"
    all = "all"


TRAINED = {
    Trainable.decoder: "the mask decoder",
    Trainable.lora: "adapters in the image encoder, and the mask decoder",
    Trainable.all: "everything",
}


def finetune(
    data: Annotated[
        list[str],
        typer.Argument(
            help="ANNOTATIONS.json IMAGES/ (COCO), or a folder: SA-1B records or tars, mask images, YOLO; several mix",
            metavar="DATA",
            show_default=False,
        ),
    ],
    init: Annotated[
        str | None,
        typer.Option(
            "--init", help="what to start from: a name of `opensam models` or a file; unless given, the embedded model"
        ),
    ] = None,
    trainable: Annotated[
        Trainable,
        typer.Option(
            "--trainable",
            help="decoder: quick, also on a CPU; lora: adapts the image encoder too; all: for much data and memory",
        ),
    ] = Trainable.decoder,
    rank: Annotated[int, typer.Option("--rank", min=1, help="width of the adapters of lora")] = 8,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder of the run; runs/DATA-MODEL-TRAINABLE unless given")
    ] = None,
    val: Annotated[
        list[str] | None, typer.Option("--val", metavar="FOLDER|JSON:IMAGES", help="held-out data; repeat for more")
    ] = None,
    val_share: Annotated[
        float, typer.Option("--val-share", help="share of the pictures to hold out, unless --val is given")
    ] = 0.1,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="only this category of a COCO file; repeat for more")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="by the number of pictures unless given")] = None,
    overrides: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Fine-tune a model on pictures with masks, and show what it got better at. The same command resumes a run."""
    from opensam.recipes import finetuning

    specs, held_out, file = specs_of(data), specs_of(val or []), as_file(init)
    check_paths([*specs, *held_out])
    sam = load_model(None if file else init, file, best_device())
    folder = out or Path("runs") / f"{_data_name(specs[0])}-{sam.name}-{trainable.value}"
    settings = [f"init={json.dumps(init or sam.name)}", f"rank={rank}", f"alpha={rank}", f"val_share={val_share}"]
    settings += [*([f"steps={steps}"] if steps else []), *(overrides or [])]
    options: dict[str, Any] = {"val": held_out, "categories": category or [], "trainable": trainable.value}
    plan = finetuning.plan(sam, specs, folder, **options, overrides=settings)
    if dry_run:
        typer.echo(json.dumps(plan.config.model_dump(mode="json"), indent=2))
        return
    introduce(plan, trainable)
    _run(plan)


def _run(plan: "Plan") -> None:
    from opensam.recipes import finetuning

    runs = [Run(plan.folder / finetuning.TRAINING, plan.config, "training")]
    try:
        with RunView(runs, SHOWN) as view:
            outcome = finetuning.run(plan, view, view.say)
    except KeyboardInterrupt:
        raise interrupted(runs) from None
    if distributed.is_first():
        conclude(outcome, plan.folder)


def _data_name(spec: str) -> str:
    """What to call a run on this data."""
    from opensam.data.specs import parse

    return parse(spec).path.resolve().stem


def specs_of(arguments: Sequence[str]) -> list[str]:
    """Arguments as specs of data: a JSON file and the folder behind it become one.

    Raises:
        ValueError: a JSON file without a folder.
    """
    specs, rest = [], list(arguments)
    while rest:
        one = rest.pop(0)
        if one.lower().endswith(".json"):
            if not rest or rest[0].lower().endswith(".json"):
                raise ValueError(f"expected the folder of the pictures behind {one}, got none; write {one} IMAGES/")
            one = f"{one}:{rest.pop(0)}"
        specs.append(one)
    return specs


def check_paths(specs: Sequence[str]) -> None:
    """Hear of a wrong path before a model is downloaded.

    Raises:
        ValueError: something that a spec names is not there.
    """
    from opensam.data.specs import parse

    for spec in map(parse, specs):
        for path in (spec.path, spec.images):
            if path is not None and not path.exists():
                raise ValueError(f"expected a file or folder of data, got {path}, which does not exist; check the path")


def as_file(init: str | None) -> Path | None:
    """The file or folder of weights that --init names; None if it names a model."""
    from opensam.models import zoo

    if init is None or any(init in (spec.name, *spec.aliases) for spec in zoo.MODELS):
        return None
    # What is neither a model nor there is more likely a wrong path if it looks like one.
    return Path(init) if Path(init).exists() or Path(init).suffix or "/" in init else None


def best_device() -> str:
    """The device that the trainer chooses."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def introduce(plan: "Plan", trainable: Trainable) -> None:
    """Say what is about to happen."""
    if not distributed.is_first():
        return
    pictures, masks = sum(map(len, plan.train)), sum(sum(subset.counts) for subset in plan.train)
    held_out = sum(map(len, plan.held_out))
    lines = [
        f"{plan.sam.name}: training {TRAINED[trainable]}, {_parameters(plan.sam, plan.config)}",
        f"{pictures:,} pictures with {masks:,} masks to learn from; {held_out:,} held out to measure",
    ]
    if plan.skipped:
        (dataset, name), reason = next(iter(plan.skipped.items()))
        more = f"{len(plan.skipped)} pictures are left out, such as {name} of {dataset}: {reason}"
        lines.append(f"{more} ({plan.folder / 'skipped.csv'} will list them)")
    typer.echo("\n".join(lines), err=True)


def _parameters(sam: "Sam", config: "FinetuneConfig") -> str:
    """How many are trained, in words."""
    from opensam.models.lora import ADAPTED

    total = sum(one.numel() for one in sam.parameters())
    decoder = sum(one.numel() for one in sam.mask_decoder.parameters())
    adapted = (
        sum(layer.weight.shape) * config.rank
        for name, layer in sam.image_encoder.named_modules()
        if name.rpartition(".")[2] in ADAPTED and hasattr(layer, "in_features")
    )
    trained = {"decoder": decoder, "lora": decoder + sum(adapted), "all": total}[config.trainable]
    return f"{trained / 1e6:.1f} of {total / 1e6:.1f} million parameters"


def conclude(outcome: "Outcome", folder: Path) -> None:
    """Print the table, write the pictures, and say where things are and how to use them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from opensam.recipes.before_after import table

    shown = Table("IoU from", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in ("before", "after", "difference"):
        shown.add_column(head, justify="right")
    for row in table(outcome.before, outcome.after):
        shown.add_row(*row)
    console(sys.stdout).print(shown)
    if not outcome.is_better:
        typer.echo("It did not get better: keep the weights that you had. More pictures or --trainable lora may help.")
    places = [
        ("weights", f"{outcome.weights} (official layout: {outcome.official.name})"),
        ("pictures", f"{write_pictures(folder / 'pictures', outcome.shown)}/ (truth, before, after)"),
        ("report", str(outcome.report)),
        ("use it", f"opensam predict PHOTO.jpg --point X,Y --checkpoint {outcome.weights}"),
    ]
    typer.echo("\n".join(f"{name:<9}{place}" for name, place in places))


def write_pictures(folder: Path, shown: "Sequence[Shown]") -> Path:
    """Write a PNG for each picture: truth, before and after side by side; returns the folder."""
    import numpy as np
    from PIL import Image

    from opensam.files import replacing
    from opensam.masks import mask_to_box
    from opensam.view import overlay

    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(shown, start=1):
        boxes = mask_to_box(each.truths)
        panels = [overlay(each.rgb, each.truths)]
        panels += [overlay(each.rgb, masks, boxes=boxes) for masks in (each.before, each.after)]
        gap = np.full((each.rgb.shape[0], max(4, each.rgb.shape[1] // 60), 3), 255, np.uint8)
        picture = Image.fromarray(np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1))
        picture.thumbnail((3 * PANEL, PANEL))
        before, after = each.ious
        name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in each.name)[-60:]
        with replacing(folder / f"{number}-{name}-{before:.2f}-{after:.2f}.png") as temporary:
            picture.save(temporary, "PNG")
    return folder
