"""Masks for the boxes of a detector."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from opensam.data.ground_truth import GroundTruth, open_ground_truth
from opensam.eval.instances import (
    GROUND_TRUTH,
    PAPER,
    RIGHT_BOX,
    Box,
    InstancesConfig,
    SamRefiner,
    measuring,
    read_boxes,
    summarise,
)
from opensam.eval.report import Figure, Headline, Report, Table
from opensam.eval.runner import Item, list_items
from opensam.files import digest_of, replacing
from opensam.recipes.evaluation.detection_figures import COLUMNS, cut_tile
from opensam.recipes.evaluation.session import ModelChoice, Session, Setting
from opensam.recipes.evaluation.sheets import Row, SheetMode, write_sheet

NAME = "instances"
MASKS_FILE = "instances_masks.json"
_SHOWN = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large")
_FREQUENCIES = ("AP f", "AP c", "AP r")
_ROWS = 4  # of the sheet


def instances(config: InstancesConfig, choice: ModelChoice, setting: Setting, sheets: SheetMode = "photos") -> Report:
    """Measure the masks of a model for boxes, and write the report with a sheet of the worst masks.

    With `config.masks` they are written too, as COCO results.

    Raises:
        ValueError: the data, the boxes, the model or a picture cannot be used.
    """
    truth = open_ground_truth(config.data)
    boxes, unusable = _boxes(config, truth, setting.skip_bad)
    if boxes is not None:
        config = config.model_copy(update={"digest": digest_of(Path(config.boxes))})
    session = Session(setting, NAME, config, choice)
    measured = session.measure(
        session.facts["model"],
        list_items([truth], config.max_images),
        partial(measuring, partial(_refiner, choice), truth, boxes, config),
    )
    summary = summarise(measured.values.values(), truth.categories)
    if summary["AP"] is None:
        raise ValueError(f"expected annotations in {truth.name}, got none in {summary['pictures']} pictures")
    if config.masks:
        _write_masks(setting.out, measured.values)
    name = f"{session.facts['model']} here, " + ("true boxes" if boxes is None else Path(config.boxes).name)
    published = PAPER[_protocol(truth)]["SAM, boxes of ViTDet-H"]["AP"] if boxes is not None else None
    report = Report(
        NAME,
        "Instance segmentation from boxes",
        (precision_table(summary, name, truth.federated), box_table(summary)),
        summary | {"boxes that cannot be used": unusable},
        session.config,
        session.facts,
        notes=_notes(config, truth, summary, unusable, measured.images_per_second),
        figures=_figures(setting, truth, measured.values, sheets),
        skipped=session.skipped,
        headlines=(Headline(f"mask AP, {'true boxes' if boxes is None else 'boxes given'}", summary["AP"], published),),
    )
    session.finish(report)
    return report


def precision_table(summary: Mapping[str, Any], name: str, federated: bool) -> Table:
    """AP beside the paper's."""
    shown = (*_SHOWN, *(one for one in _FREQUENCIES if one in summary))
    protocol = "LVIS" if federated else "COCO"
    data = "LVIS v1 val" if federated else "COCO val2017"
    measured = (name, *(summary[score] for score in shown))
    published = [(f"{row}, paper, {data}", *(of.get(score) for score in shown)) for row, of in PAPER[protocol].items()]
    note = (
        "The paper's rows are of SAM with ViT-H and of the detector alone (table 5). Small is below 32 x 32 pixels, "
        "large above 96 x 96."
    )
    return Table(f"Mask AP, {protocol} protocol", ("method", *shown), (measured, *published), 3, note)


def box_table(summary: Mapping[str, Any]) -> Table:
    """How good the masks of right boxes are: what of the AP is not the detector's fault."""
    rows = tuple((size, count, mean) for size, (count, mean) in summary["right boxes"].items())
    note = f"A box is right from an IoU of {RIGHT_BOX:g} with that of an annotation of its category on."
    return Table("Masks of right boxes", ("size", "masks", "mean IoU"), rows, 3, note)


def _boxes(
    config: InstancesConfig, truth: GroundTruth, skip_bad: bool
) -> tuple[dict[int, list[Box]] | None, list[str]]:
    """The boxes by picture, None for those of the annotations; and why some cannot be used."""
    if config.boxes == GROUND_TRUTH:
        return None, []
    path, unusable = Path(config.boxes), list[str]()
    if not path.exists():
        raise ValueError(
            f"expected --boxes to be a file of COCO results or {GROUND_TRUTH}, got {path}, which does not exist; "
            "opensam has no detector yet: run one and give its boxes"
        )
    return read_boxes(path, truth, unusable if skip_bad else None), unusable


def _protocol(truth: GroundTruth) -> str:
    return "LVIS" if truth.federated else "COCO"


def _notes(
    config: InstancesConfig,
    truth: GroundTruth,
    summary: Mapping[str, Any],
    unusable: Sequence[str],
    speed: float | None,
) -> tuple[str, ...]:
    rounds = {0: "no refinement round", 1: "one refinement round, as in the paper"}
    sentences = [
        f"{summary['boxes']} boxes in {summary['pictures']} pictures of {truth.name}; "
        f"{rounds.get(config.rounds, f'{config.rounds} refinement rounds')}."
    ]
    if config.boxes == GROUND_TRUTH:
        sentences.append(
            "The boxes are those of the annotations: a perfect detector. The AP is what no detector's boxes can "
            "exceed by much, and not comparable with the paper's."
        )
    if unusable:
        sentences.append(f"{len(unusable)} boxes cannot be used and were left out, the first: {unusable[0]}.")
    if speed:
        sentences.append(f"{speed:.2f} images/s per worker.")
    return tuple(sentences)


def _figures(
    setting: Setting, truth: GroundTruth, values: Mapping[Item, Mapping[str, Any]], sheets: SheetMode
) -> tuple[Figure, ...]:
    """A sheet of the worst masks, of each picture at most one: rows by rising IoU."""
    worst = sorted(
        (
            (value["worst"]["iou"], item.place[1], item.name, value["worst"])
            for item, value in values.items()
            if value["worst"]
        ),
        key=lambda one: one[:2],
    )
    if not worst or sheets == "none":
        return ()
    tiles = [
        cut_tile(truth, (row, one["annotation"]), f"{name[-22:]}  IoU {iou:.2f}", one["mask"], sheets, box=one["box"])
        for iou, row, name, one in worst[: _ROWS * COLUMNS]
    ]
    rows = [Row(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    file = f"{NAME}/worst.jpg"
    write_sheet(setting.out / file, rows)
    caption = (
        "The worst mask of each picture, the worst first: the annotation in green, ours in blue, the box in yellow."
    )
    return (Figure(file, caption),)


def _write_masks(out: Path, values: Mapping[Item, Mapping[str, Any]]) -> None:
    with replacing(out / MASKS_FILE) as temporary:
        temporary.write_text(json.dumps([one for value in values.values() for one in value["masks"]]))


def _refiner(choice: ModelChoice) -> SamRefiner:
    return SamRefiner(choice.fast())
