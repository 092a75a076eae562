"""Masks from words: tables beside chance, and sheets of the best, the middle and the worst answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from opensam.amg import PRESETS, MaskGenerator, preset_of
from opensam.compose.clip import ClipEncoder, check_folder, load_clip
from opensam.compose.text import RankedMasks
from opensam.data.categories import Categories
from opensam.data.specs import open_datasets
from opensam.eval.report import Figure, Headline, Report
from opensam.eval.runner import Item, Measured, list_items
from opensam.eval.text_to_mask import TextConfig, asking, spoken, summarise, tables
from opensam.files import digest_of
from opensam.image import read
from opensam.masks import area, decode_rle
from opensam.recipes.evaluation.session import ModelChoice, Session, Setting
from opensam.recipes.evaluation.sheets import Row, SheetMode, Tile, case, write_sheet
from opensam.rle import rle_union

SHOWN = 4
"""Answers on one sheet."""
ANSWER, RIGHT = (40, 125, 255), (46, 196, 130)
"""Their colours."""
SHEETS = {"best": "the best answers", "middle": "answers from the middle", "worst": "the worst answers"}
NOTES = (
    "The paper shows pictures of text-to-mask and gives no number, so these measures are ours: no paper has them.",
    "Finding and naming judge the text model alone, on masks that people drew; the masks from words are those of "
    "automatic masks ranked by it. No decoder was trained with texts for them.",
)


HEADLINES = {
    "instance_iou": "mask from a word, IoU",
    "map": "finding masks by words, mAP",
    "top@1": "naming masks, top 1",
}


class TextRun(TextConfig):
    """What is evaluated, with what.

    Attributes:
        clip: folder of the text model; see `load_clip`.
        clip_weights: the digest of the folder.
        amg: settings of automatic masks in place of those that suit the model, such as `points_per_side=16`.
    """

    clip: Path
    clip_weights: str = ""
    amg: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """One text that was asked: the picture, and what `measure_picture` says of it."""

    item: Item
    text: dict[str, Any]


def text(config: TextRun, choice: ModelChoice, setting: Setting, sheets: SheetMode = "photos") -> Report:
    """Measure a promptable model with a text model, and write the report.

    Raises:
        ValueError: a data set, one of the models or a picture cannot be used, or no data set has categories.
    """
    check_folder(config.clip)
    PRESETS["official"].with_overrides(list(config.amg))  # a wrong setting is worth hearing of at once
    everything = [Categories(dataset) for dataset, _ in open_datasets(config.data)]
    data = [one for one in everything if one.names]
    if not data:
        raise ValueError(
            f"expected data that say what a mask shows, got {', '.join(config.data)}; COCO annotations do, and SA-1B "
            "records with `category`"
        )
    unnamed = [one.dataset.name for one in everything if not one.names]
    config = config.model_copy(update={"clip_weights": digest_of(config.clip)})
    items = list_items([one.dataset for one in data], config.max_images)
    session = Session(setting, "text", config, choice)
    measured = session.measure(
        session.facts["model"], items, partial(asking, partial(_method, choice, config), data, config)
    )
    by_dataset: dict[str, list[Any]] = {}
    for item, value in measured.values.items():
        by_dataset.setdefault(item.dataset, []).append(value)
    summary = summarise(by_dataset)
    notes = [*NOTES, f"Without categories and left out: {', '.join(unnamed)}."] if unnamed else list(NOTES)
    if measured.images_per_second:
        notes.append(f"{measured.images_per_second:.2f} images/s per worker.")
    report = Report(
        "text",
        "Masks from words",
        tables(summary),
        summary,
        session.config,
        session.facts,
        notes=tuple(notes),
        figures=draw_sheets(setting.out, choose_shown(measured), data, config.min_area, sheets),
        skipped=session.skipped,
        headlines=headlines(summary["mean"]),
    )
    session.finish(report)
    return report


def headlines(mean: dict[str, dict[str, float | None]]) -> tuple[Headline, ...]:
    """The numbers for a summary, each beside chance; the paper has none."""
    lines = []
    for score, name in HEADLINES.items():
        chance = mean["chance"].get(score)
        beside = "" if chance is None else f"chance {chance:.3f}"
        lines.append(Headline(name, mean["scores"].get(score), baseline=beside))
    return tuple(lines)


def _method(choice: ModelChoice, config: TextRun) -> tuple[RankedMasks, ClipEncoder]:
    encoder = load_clip(config.clip, choice.device)
    predictor = choice.predictor()
    amg = PRESETS[preset_of(predictor.sam.name)].with_overrides(list(config.amg))
    generator = MaskGenerator(predictor, amg)
    return RankedMasks(generator, encoder, config.crops, config.templates, config.min_area), encoder


def choose_shown(measured: Measured) -> dict[str, list[Answered]]:
    """By the names of `SHEETS`, the answers whose masks of one object fit best, middling and worst.

    Of a picture at most one is on a sheet; with few answers the sheets share them.
    """
    answers = [Answered(item, one) for item, value in measured.values.items() for one in value["texts"]]
    ranked = sorted(answers, key=lambda one: (-one.text["instance_iou"], one.item.key, one.text["name"]))
    middle = sorted(range(len(ranked)), key=lambda rank: abs(2 * rank - len(ranked) + 1))
    orders = {"best": ranked, "middle": [ranked[rank] for rank in middle], "worst": ranked[::-1]}
    return {sheet: _of_different_pictures(order) for sheet, order in orders.items()}


def _of_different_pictures(answers: Sequence[Answered]) -> list[Answered]:
    first: dict[str, Answered] = {}
    for one in answers:
        if len(first) < SHOWN:
            first.setdefault(one.item.key, one)
    return list(first.values())


def draw_sheets(
    out: Path, shown: dict[str, list[Answered]], data: Sequence[Categories], min_area: int, mode: SheetMode
) -> tuple[Figure, ...]:
    """Write `text/best.jpg`, `text/middle.jpg` and `text/worst.jpg`; none if nothing was asked or wanted."""
    figures = []
    for name, answers in shown.items():
        if answers and mode != "none":
            caption = f"{SHEETS[name].capitalize()}. Green: the labelled masks; blue: the answer."
            figures.append(Figure(f"text/{name}.jpg", caption))
            write_sheet(out / figures[-1].file, [Row([_tile(one, data, min_area, mode) for one in answers])])
    return tuple(figures)


def _tile(answer: Answered, data: Sequence[Categories], min_area: int, mode: SheetMode) -> Tile:
    number, place = answer.item.place
    image, said = read(data[number].dataset.picture(place)), answer.text
    labelled = [mask for mask, name in data[number].masks(place) if name and spoken(name) == said["name"]]
    truth = decode_rle(rle_union([mask for mask in labelled if area(mask) >= max(min_area, 1)]))
    found = decode_rle({"size": list(image.shape[:2]), "counts": said["answer"]})
    shown = image if mode == "photos" else (image.shape[0], image.shape[1])
    words = f"“{said['name']}”\nIoU {said['instance_iou']:.2f}, likeness {said['score']:.2f}, of {said['masks']} masks"
    return Tile(case(shown, truth, found, zoom=False), words)
