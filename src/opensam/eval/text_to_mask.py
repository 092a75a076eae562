"""Masks from words, measured on data that say what their masks show.

The paper shows pictures and gives no number (section 7.5), so these measures are ours. Three questions about one
picture, each beside what pure chance would answer:

- masks: a text is given to the method; does its mask fit an object of that category, or all of them together?
- finding: the picture's own labelled masks are ranked by likeness to a text; do those of the category come first?
- naming: the names of the data set are ranked by likeness to a mask; does its own come first?

The first judges a method, the others the text model alone, on perfect masks. Letters: V names, n masks.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray
from torch import Tensor

from opensam.compose.text import (
    Candidates,
    CropConfig,
    TextImageEncoder,
    TextSegmenter,
    embed_masks,
    embed_names,
)
from opensam.config import Config
from opensam.data.categories import Categories
from opensam.eval.report import Cell, Table
from opensam.eval.runner import Item, Measure
from opensam.image import Rgb, read
from opensam.masks import area, encode_rle
from opensam.rle import Rle, rle_iou, rle_union

TEMPLATES = ("a photo of a {}",)
TOP = 5
MEANS_NOTE = (
    "Higher is better, but for the median rank. What is not above chance was not found by the words. Data sets in "
    "which nothing can be confused are left out of finding and naming."
)
MASKS_NOTE = (
    "The answer to a text, against the best mask of its category and against all of them together; mean over texts. "
    "chance: a candidate of the method drawn at random; best: the candidate that fits best."
)
FINDING_NOTE = (
    "The labelled masks of a picture by likeness to a text: one of the category among the first 1 or 5 (R@1, R@5), "
    "mean average precision, the rank within which half of the texts have one. Pictures of one category are left out."
)
NAMING_NOTE = (
    "All names of the data set by likeness to a labelled mask: its own is the first, or among the first 5. Data sets "
    "of one name are left out."
)
# What COCO's names of regions have behind the word that a person would use.
_BOOKKEEPING = ("-merged", "-other", "-stuff")


class TextConfig(Config):
    """What to evaluate on, what is asked, and how the text model sees it.

    Attributes:
        data: data sets as `opensam.data.specs` has them.
        max_images: at most so many per data set, evenly spaced; None: all.
        templates: sentences around the name of a category; several are averaged.
        crops: how a mask becomes a picture for the text model.
        min_area: labelled masks with fewer pixels are not asked for, and found ones are no answer. The paper trains
            on 100 x 100 pixels of pictures that are about 1500 high; 0: all.
    """

    data: tuple[str, ...]
    max_images: int | None = pydantic.Field(None, ge=1)
    templates: tuple[str, ...] = TEMPLATES
    crops: CropConfig = CropConfig()
    min_area: int = pydantic.Field(0, ge=0)


@dataclass(frozen=True, eq=False)
class Names:
    """What masks may be called: V names, spoken, and their embeddings (V, D)."""

    names: tuple[str, ...]
    embeddings: Tensor


def asking(
    make: Callable[[], tuple[TextSegmenter, TextImageEncoder]], data: Sequence[Categories], config: TextConfig
) -> Measure:
    """What a worker does with a picture, once it has made the method and the encoder; see `runner.measure`."""
    segmenter, encoder = make()
    names = [read_names(one.names, encoder, config.templates) for one in data]
    return partial(_ask, segmenter, encoder, data, names, config)


def _ask(
    segmenter: TextSegmenter,
    encoder: TextImageEncoder,
    data: Sequence[Categories],
    names: Sequence[Names],
    config: TextConfig,
    item: Item,
) -> dict[str, Any]:
    number, row = item.place
    image = read(data[number].dataset.picture(row))
    return measure_picture(segmenter, encoder, image, data[number].masks(row), names[number], config)


def read_names(categories: Sequence[str], encoder: TextImageEncoder, templates: Sequence[str]) -> Names:
    """The names of a data set, from its categories; those that are spoken alike are one.

    Raises:
        ValueError: there is none, or as `embed_names`.
    """
    names = tuple(sorted(set(map(spoken, categories))))
    if not names:
        raise ValueError("expected data with categories, got none; COCO annotations and SA-1B records can have them")
    return Names(names, embed_names(encoder, names, templates))


def spoken(category: str) -> str:
    """A category as a person would say it: `wall-other-merged` is a wall, `Fire_truck` a fire truck."""
    name = category.strip().lower()
    for ending in _BOOKKEEPING:
        name = name.removesuffix(ending)
    return " ".join(name.replace("_", " ").split())


def measure_picture(
    segmenter: TextSegmenter,
    encoder: TextImageEncoder,
    image: Rgb,
    labelled: Sequence[tuple[Rle, str | None]],
    names: Names,
    config: TextConfig,
) -> dict[str, Any]:
    """All that is measured on one picture, as JSON can hold it.

    Args:
        segmenter: the method; it embeds the picture once.
        encoder: ranks the labelled masks.
        image: (H, W, 3).
        labelled: its masks with their categories; those without one, and empty ones, are not asked for.
        names: of the data set.
        config: what is asked.

    Returns:
        `names`, how many there are to choose from. `texts`, one for each category of the picture: its `name`, the
        number of `masks` in the picture and of those that are `relevant`, the rank of the `first` relevant one, `ap`;
        `score`, `answer` (the counts of its RLE), `instance_iou`, `semantic_iou`, and for both, where the method
        chooses among candidates, `chance_*`, the mean over them, and `best_*`. `masks`, one for each labelled mask:
        its `name` and the `rank` of that among all.

    Raises:
        ValueError: a category is not among the names, or a likeness is not a number.
    """
    asked = [(mask, spoken(name)) for mask, name in labelled if name and area(mask) >= max(config.min_area, 1)]
    if unknown := sorted({name for _, name in asked} - set(names.names)):
        raise ValueError(f"expected categories of the data set, got {unknown[0]!r}, which is not among them")
    if not asked:
        return {"names": len(names.names), "texts": [], "masks": []}
    masks, columns = [mask for mask, _ in asked], [names.names.index(name) for _, name in asked]
    seen = embed_masks(encoder, image, masks, config.crops)
    likeness = (seen @ names.embeddings.T).double().cpu().numpy()  # (n, V)
    _check_finite(likeness, "likenesses of masks and texts")
    present = sorted(set(columns))
    answers, candidates = _answers(segmenter, image, [names.names[column] for column in present])
    texts = []
    for column, (answer, score) in zip(present, answers, strict=True):
        relevant = np.array([own == column for own in columns])
        truths = [mask for mask, own in zip(masks, relevant, strict=True) if own]
        first, precision = rank_masks(likeness[:, column], relevant)
        counts = {"masks": len(masks), "relevant": len(truths), "first": first, "ap": precision}
        said = {"score": score, "answer": answer["counts"], **overlaps(answer, truths, candidates)}
        texts.append({"name": names.names[column], **counts, **said})
    named = [
        {"name": names.names[own], "rank": rank_name(row, own)} for row, own in zip(likeness, columns, strict=True)
    ]
    return {"names": len(names.names), "texts": texts, "masks": named}


def _answers(
    segmenter: TextSegmenter, image: Rgb, texts: Sequence[str]
) -> tuple[list[tuple[Rle, float]], list[Rle] | None]:
    """What the method says to each text, and the masks that it chose from, if it chooses."""
    embedding = segmenter.embed(image)
    masks, scores = segmenter.segment_texts(embedding, texts)
    expected = (len(texts), *image.shape[:2])
    if masks.shape != expected or masks.dtype != np.bool_:
        raise ValueError(f"expected bool masks of shape {expected}, got {masks.dtype} of shape {masks.shape}")
    _check_finite(scores, "scores of answers")
    answers = [(encode_rle(mask), float(score)) for mask, score in zip(masks, scores, strict=True)]
    return answers, embedding.masks if isinstance(embedding, Candidates) else None


def overlaps(answer: Rle, truths: Sequence[Rle], candidates: Sequence[Rle] | None) -> dict[str, float]:
    """`instance_iou` with the best of the masks of a category, `semantic_iou` with their union.

    With candidates (None: the method does not choose), `chance_*` is the mean over these, which is what drawing one of
    them brings, and `best_*` what the best of them would have brought.
    """
    right = [*truths, rle_union(truths)]
    own = rle_iou([answer], right)[0]
    values = {"instance_iou": float(own[:-1].max()), "semantic_iou": float(own[-1])}
    if candidates is not None:
        every = rle_iou(candidates, right) if candidates else np.zeros((1, len(right)))
        for kind, ious in (("instance_iou", every[:, :-1].max(axis=1)), ("semantic_iou", every[:, -1])):
            values |= {f"chance_{kind}": float(ious.mean()), f"best_{kind}": float(ious.max())}
    return values


def rank_masks(likeness: NDArray[np.float64], relevant: NDArray[np.bool_]) -> tuple[int, float]:
    """The rank from 1 of the first relevant mask, and the average precision of the order by falling likeness (n,).

    Of equal likenesses the wrong ones come first: who cannot tell masks apart gets no credit for their order.
    """
    order = np.lexsort((relevant, -likeness))
    ranks = np.flatnonzero(relevant[order]) + 1
    return int(ranks[0]), float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def rank_name(likeness: NDArray[np.float64], own: int) -> int:
    """The rank from 1 of the name with this number among all by falling likeness (V,); among equals it is the last."""
    return int(np.count_nonzero(likeness >= likeness[own]))


def chance_recall(masks: int, relevant: int, k: int) -> float:
    """How probable it is that a random order has a relevant mask among the first k."""
    k = min(k, masks)
    return 1 - math.comb(masks - relevant, k) / math.comb(masks, k)


def chance_precision(masks: int, relevant: int) -> float:
    """The expected average precision of a random order."""
    if relevant == masks:
        return 1.0
    # At rank k stands a relevant mask with probability r / n; of the k - 1 before it, (r - 1) / (n - 1) are relevant.
    density = (relevant - 1) / (masks - 1)
    return sum((1 + (k - 1) * density) / k for k in range(1, masks + 1)) / masks


def summarise(values: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Means over the texts or masks of each data set, then over the data sets.

    Args:
        values: of each data set what `measure_picture` gave, picture by picture.

    Returns:
        `datasets`: for each the numbers of `images`, `texts`, `ranked` (texts for which masks are ranked), `masks` and
        `names`, its `scores`, the same by `chance`, and for masks the `best` that the candidates allow. `mean`: the
        three groups over the data sets that have a value. A value is None where nothing can be asked: finding needs
        pictures with several categories, naming a data set with several names.
    """
    datasets = {name: _of_dataset(pictures) for name, pictures in values.items()}
    mean = {group: _mean_of([one[group] for one in datasets.values()]) for group in ("scores", "chance", "best")}
    return {"datasets": datasets, "mean": mean}


def _of_dataset(pictures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    texts = [text for picture in pictures for text in picture["texts"]]
    masks = [mask for picture in pictures for mask in picture["masks"]]
    names = max((picture["names"] for picture in pictures), default=0)
    kinds = ("instance_iou", "semantic_iou")
    groups: dict[str, dict[str, float | None]] = {
        "scores": {kind: _mean([text[kind] for text in texts]) for kind in kinds},
        "chance": {kind: _mean([text.get(f"chance_{kind}") for text in texts]) for kind in kinds},
        "best": {kind: _mean([text.get(f"best_{kind}") for text in texts]) for kind in kinds},
    }
    ranked = [text for text in texts if text["relevant"] < text["masks"]]
    finding, chance = _finding(ranked)
    groups["scores"] |= finding
    groups["chance"] |= chance
    naming, chance = _naming(masks if names > 1 else [], names)
    groups["scores"] |= naming
    groups["chance"] |= chance
    counts = {"images": len(pictures), "texts": len(texts), "ranked": len(ranked), "masks": len(masks), "names": names}
    return {**counts, **groups}


def _finding(texts: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Scores and chance of ranking masks by likeness to texts of which there is something to confuse."""
    odds = [(text["masks"], text["relevant"]) for text in texts]
    scores = {f"recall@{k}": _mean([float(text["first"] <= k) for text in texts]) for k in (1, TOP)}
    chance = {f"recall@{k}": _mean([chance_recall(n, r, k) for n, r in odds]) for k in (1, TOP)}
    scores["map"], chance["map"] = (
        _mean([text["ap"] for text in texts]),
        _mean([chance_precision(*one) for one in odds]),
    )
    firsts = Counter(text["first"] for text in texts)
    counts = Counter(odds)
    scores["median_rank"] = _median_rank(lambda k: sum(firsts[rank] for rank in firsts if rank <= k), len(texts))
    chance["median_rank"] = _median_rank(
        lambda k: sum(times * chance_recall(n, r, k) for (n, r), times in counts.items()), len(texts)
    )
    return scores, chance


def _median_rank(within: Callable[[int], float], texts: int) -> float | None:
    """The smallest rank within which at least half of the texts have their first relevant mask."""
    return next(float(k) for k in count(1) if within(k) >= texts / 2) if texts else None


def _naming(masks: Sequence[Mapping[str, Any]], names: int) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Scores and chance of ranking names by likeness to masks; "by category" each of these counts the same."""
    by_name: dict[str, list[float]] = {}
    for mask in masks:
        by_name.setdefault(mask["name"], []).append(float(mask["rank"] == 1))
    scores = {f"top@{k}": _mean([float(mask["rank"] <= k) for mask in masks]) for k in (1, TOP)}
    scores["top@1_by_category"] = _mean([float(np.mean(hits)) for hits in by_name.values()])
    chance = {score: min(TOP if score == f"top@{TOP}" else 1, names) / names if masks else None for score in scores}
    return scores, chance


MASKS = {"instance_iou": "one object", "semantic_iou": "all together"}
FINDING = {"recall@1": "R@1", "recall@5": "R@5", "map": "mAP", "median_rank": "median rank"}
NAMING = {"top@1": "top 1", "top@5": "top 5", "top@1_by_category": "top 1, mean over categories"}


def tables(summary: Mapping[str, Any]) -> tuple[Table, ...]:
    """What `summarise` gave, for people: the means, then a row per data set for each of the three questions."""
    asked, named = {"images": "images", "texts": "texts"}, {"masks": "masks", "names": "names"}
    chance, best = ("scores", "chance"), ("scores", "chance", "best")
    return (
        _means(summary),
        _table(summary, "Masks from words: IoU", asked, MASKS, best, MASKS_NOTE),
        _table(summary, "Finding labelled masks by words", {"ranked": "texts"}, FINDING, chance, FINDING_NOTE),
        _table(summary, "Naming labelled masks", named, NAMING, chance, NAMING_NOTE),
    )


def _means(summary: Mapping[str, Any]) -> Table:
    groups = ("scores", "chance", "best")
    rows = [
        (f"{question}: {head}", *(summary["mean"][group].get(score) for group in groups))
        for question, scores in (("mask from words, IoU", MASKS), ("finding masks", FINDING), ("naming masks", NAMING))
        for score, head in scores.items()
    ]
    return Table(
        "Mean over data sets", ("measure", "measured", "chance", "best possible"), tuple(rows), note=MEANS_NOTE
    )


def _table(
    summary: Mapping[str, Any],
    title: str,
    counts: Mapping[str, str],
    scores: Mapping[str, str],
    groups: Sequence[str],
    note: str,
) -> Table:
    """Counts, then of each score its value in each group; both are given with their heads."""
    heads = [head if group == "scores" else group for head in scores.values() for group in groups]
    decimals = [1 if score == "median_rank" else 3 for score in scores for _ in groups]
    datasets = summary["datasets"]
    rows: list[tuple[Cell, ...]] = [
        (name, *(one[what] for what in counts), *_cells(one, scores, groups)) for name, one in datasets.items()
    ]
    totals = [None if what == "names" else sum(one[what] for one in datasets.values()) for what in counts]
    rows.append((f"mean of {len(rows)} data sets", *totals, *_cells(summary["mean"], scores, groups)))
    return Table(title, ("data set", *counts.values(), *heads), tuple(rows), (*(0 for _ in counts), *decimals), note)


def _cells(values: Mapping[str, Any], scores: Mapping[str, str], groups: Sequence[str]) -> list[Cell]:
    return [values[group].get(score) for score in scores for group in groups]


def _mean(values: Sequence[float | None]) -> float | None:
    """None where there is no value, or not all are there."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _mean_of(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Of each score over the rows that have it."""
    scores = dict.fromkeys(score for row in rows for score in row)
    return {score: _mean([row[score] for row in rows if row.get(score) is not None]) for score in scores}


def _check_finite(values: NDArray[Any], what: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite {what}, got NaN or infinity; are the weights of the text model damaged?")
