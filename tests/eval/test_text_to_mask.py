"""Text-to-mask: what it measures, against enumeration, an oracle that is always right, and one that guesses."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from tests.compose.stand_ins import NAMES, ColourEncoder, RandomEncoder, coloured

from opensam.compose.text import Candidates, CropConfig, embed_masks, embed_names
from opensam.eval.text_to_mask import (
    TextConfig,
    chance_precision,
    chance_recall,
    measure_picture,
    overlaps,
    rank_masks,
    rank_name,
    read_names,
    spoken,
    summarise,
    tables,
)
from opensam.masks import decode_rle, encode_rle

SIZE = (40, 64)
CONFIG = TextConfig(data=("nowhere",), templates=("a {} thing",))


class Knowing:
    """Chooses, by an encoder, among the masks that are right."""

    def __init__(self, encoder, labelled):
        self.encoder, self.masks = encoder, [mask for mask, _ in labelled]

    def embed(self, image):
        return Candidates(image.shape[:2], self.masks, embed_masks(self.encoder, image, self.masks, CropConfig()))

    def segment_texts(self, embedding, texts):
        scores, chosen = (embed_names(self.encoder, texts, ["{}"]) @ embedding.embeddings.T).max(dim=1)
        return np.stack([decode_rle(embedding.masks[number]) for number in chosen.tolist()]), scores.numpy()


def scattered(rng, count):
    """A picture of rectangles that do not touch, each of a colour, and their masks."""
    cells = rng.permutation(6)[:count]
    boxes = []
    for cell in cells:
        left, top = (cell % 3) * 20 + 2, (cell // 3) * 20 + 1
        boxes.append((left, top, left + int(rng.integers(4, 18)), top + int(rng.integers(4, 18))))
    return coloured(SIZE, boxes)


def measured(encoder, picture, labelled, config=CONFIG, names=NAMES):
    method = Knowing(encoder, labelled)
    return measure_picture(method, encoder, picture, labelled, read_names(names, encoder, config.templates), config)


def test_who_knows_everything_scores_one_everywhere():
    rng = np.random.default_rng(0)
    values = [measured(ColourEncoder(), *scattered(rng, count)) for count in (2, 4, 6)]
    summary = summarise({"a": values[:2], "b": values[2:]})
    assert all(
        value == 1 for one in (summary, *summary["datasets"].values()) for value in one.get("scores", {}).values()
    )
    assert all(value == 1 for value in summary["mean"]["scores"].values())
    assert summary["mean"]["best"] == {"instance_iou": 1, "semantic_iou": 1}
    counts = {name: [one[key] for key in ("images", "texts", "ranked", "masks", "names")]
              for name, one in summary["datasets"].items()}  # fmt: skip
    assert counts == {"a": [2, 6, 6, 6, 6], "b": [1, 6, 6, 6, 6]}


def test_who_guesses_scores_what_chance_says():
    rng = np.random.default_rng(1)
    encoder = RandomEncoder(2)
    values = []
    for number in range(120):
        picture, labelled = scattered(rng, 2 + number % 5)
        names = [NAMES[int(rng.integers(3))] for _ in labelled]  # several of a category
        values.append(
            measured(encoder, picture, [(mask, name) for (mask, _), name in zip(labelled, names, strict=True)])
        )
    ((_, one),) = summarise({"all": values})["datasets"].items()
    assert one["ranked"] > 200
    tolerance = {"recall@1": 0.07, "recall@5": 0.03, "map": 0.05, "median_rank": 0.0, "top@1": 0.04, "top@5": 0.04}
    tolerance |= {"top@1_by_category": 0.04, "instance_iou": 0.07, "semantic_iou": 0.07}
    assert set(one["scores"]) == set(one["chance"]) == set(tolerance)
    for score, allowed in tolerance.items():
        assert abs(one["scores"][score] - one["chance"][score]) <= allowed, score
    assert 0.1 < one["chance"]["recall@1"] < 0.7
    assert one["chance"]["top@1"] == 1 / 6
    assert one["chance"]["top@5"] == 5 / 6


@pytest.mark.parametrize(("masks", "relevant"), [(1, 1), (2, 1), (4, 4), (5, 2), (6, 1), (6, 3)])
def test_chance_is_the_mean_over_all_orders(masks, relevant):
    marks = np.arange(masks) < relevant
    ranked = [rank_masks(np.array(order, dtype=float), marks) for order in permutations(range(masks))]
    assert np.isclose(chance_precision(masks, relevant), np.mean([precision for _, precision in ranked]))
    for k in (1, 2, 5):
        assert np.isclose(chance_recall(masks, relevant, k), np.mean([first <= k for first, _ in ranked]))


def test_ranks_and_precision_are_those_of_the_order():
    relevant = np.array([True, False, True, False, True])
    assert rank_masks(np.array([0.1, 0.9, 0.8, 0.3, 0.5]), relevant) == (2, (1 / 2 + 2 / 3 + 3 / 5) / 3)
    assert rank_name(np.array([0.1, 0.9, 0.8]), 0) == 3
    assert rank_name(np.array([0.1, 0.9, 0.8]), 1) == 1


def test_who_cannot_tell_things_apart_gets_no_credit():
    relevant = np.array([True, False, False])
    assert rank_masks(np.full(3, 0.5), relevant) == (3, 1 / 3)
    assert [rank_name(np.full(4, 0.5), own) for own in range(4)] == [4] * 4


def test_an_answer_is_held_to_the_best_object_and_to_all_of_them():
    truths = np.zeros((2, *SIZE), dtype=bool)
    truths[0, :10, :10], truths[1, 20:30, :20] = True, True
    answer = truths[1].copy()
    answer[20:25] = False  # a half of the second object
    candidates = [answer, truths[0], ~truths.any(axis=0)]
    found = overlaps(encode_rle(answer), [encode_rle(one) for one in truths], [encode_rle(one) for one in candidates])
    assert found == pytest.approx({
        "instance_iou": 0.5, "semantic_iou": 100 / 300,
        "best_instance_iou": 1, "chance_instance_iou": 0.5,
        "best_semantic_iou": 100 / 300, "chance_semantic_iou": 200 / 900,
    })  # fmt: skip
    nothing = encode_rle(np.zeros(SIZE, dtype=bool))
    empty = overlaps(nothing, [encode_rle(one) for one in truths], [])
    assert set(empty.values()) == {0.0}
    assert len(empty) == 6
    assert set(overlaps(nothing, [encode_rle(truths[0])], None)) == {"instance_iou", "semantic_iou"}


def test_masks_without_a_category_and_small_ones_are_not_asked_for():
    picture, labelled = coloured(SIZE, [(2, 2, 12, 12), (20, 2, 24, 6), (40, 20, 60, 38), (2, 20, 10, 30)])
    labelled[3] = (labelled[3][0], None)
    labelled.append((encode_rle(np.zeros(SIZE, dtype=bool)), "red"))
    value = measured(ColourEncoder(), picture, labelled[:4], CONFIG.model_copy(update={"min_area": 20}))
    assert [text["name"] for text in value["texts"]] == ["blue", "red"]
    assert [mask["name"] for mask in value["masks"]] == ["red", "blue"]
    method, names = Knowing(ColourEncoder(), labelled[:4]), read_names(NAMES, ColourEncoder(), ["{}"])
    value = measure_picture(method, ColourEncoder(), picture, labelled, names, CONFIG)
    assert [text["relevant"] for text in value["texts"]] == [1, 1, 1]
    nothing = measure_picture(method, ColourEncoder(), picture, [(labelled[0][0], None)], names, CONFIG)
    assert nothing == {"names": 6, "texts": [], "masks": []}


def test_what_cannot_be_wrong_is_not_counted():
    picture, labelled = coloured(SIZE, [(2, 2, 12, 12), (20, 2, 34, 16)])
    same = [(mask, "red") for mask, _ in labelled]
    summary = summarise({"one": [measured(ColourEncoder(), picture, same, names=["red"])]})
    scores = summary["datasets"]["one"]["scores"]
    assert [scores[score] for score in ("recall@1", "map", "median_rank", "top@1", "top@1_by_category")] == [None] * 5
    assert scores["instance_iou"] == 1
    both = summarise({
        "one": [measured(ColourEncoder(), picture, same, names=["red"])],
        "two": [measured(ColourEncoder(), picture, labelled)],
    })  # fmt: skip
    assert both["mean"]["scores"]["map"] == 1
    assert both["mean"]["chance"]["top@1"] == 1 / 6


def test_every_category_counts_the_same():
    masks = [{"name": "a", "rank": 1}] * 8 + [{"name": "b", "rank": 2}, {"name": "b", "rank": 7}]
    ((_, one),) = summarise({"all": [{"names": 10, "texts": [], "masks": masks}]})["datasets"].items()
    scores = one["scores"]
    assert (scores["top@1"], scores["top@5"], scores["top@1_by_category"]) == (0.8, 0.9, 0.5)
    assert scores["instance_iou"] is None


def text(first, masks, relevant):
    return {"first": first, "masks": masks, "relevant": relevant, "ap": 0.5, "instance_iou": 0.5, "semantic_iou": 0.5}


def test_the_median_rank_is_one_that_half_of_the_texts_reach():
    texts = [text(1, 9, 1), text(3, 9, 1), text(4, 9, 1), text(9, 9, 1)]
    ((_, one),) = summarise({"all": [{"names": 1, "texts": texts, "masks": []}]})["datasets"].items()
    assert one["scores"]["median_rank"] == 3
    assert one["chance"]["median_rank"] == 5  # of one among nine
    assert one["chance"]["instance_iou"] is None  # the method had no candidates


def test_the_tables_show_chance_beside_every_score():
    value = measured(ColourEncoder(), *scattered(np.random.default_rng(0), 4))
    means, masks, finding, naming = tables(summarise({"a": [value], "b": [value]}))
    assert means.heads == ("measure", "measured", "chance", "best possible")
    assert len(means.rows) == 9
    assert all(row[2] is not None for row in means.rows)
    assert masks.rows[-1][:3] == ("mean of 2 data sets", 2, 8)
    assert finding.heads[:4] == ("data set", "texts", "R@1", "chance")
    assert finding.texts()[0][-2:] == ["1.0", "2.0"]
    assert naming.texts()[-1][:3] == ["mean of 2 data sets", "8", ""]
    for table in (means, masks, finding, naming):
        assert table.markdown().count("|\n") == len(table.rows) + 2


@pytest.mark.parametrize(
    ("category", "name"),
    [("wall-other-merged", "wall"), ("Fire_Truck ", "fire truck"), ("t-shirt", "t-shirt"), ("door-stuff", "door")],
)
def test_categories_are_spoken_as_people_do(category, name):
    assert spoken(category) == name


def test_categories_that_are_spoken_alike_are_one():
    assert read_names(["Red", "red", "tree-merged"], ColourEncoder(), ["{}"]).names == ("red", "tree")
    with pytest.raises(ValueError, match="data with categories, got none"):
        read_names([], ColourEncoder(), ["{}"])


class Broken(ColourEncoder):
    def embed_images(self, images):
        return super().embed_images(images) * float("nan")


class Wrong(Knowing):
    def segment_texts(self, embedding, texts):
        masks, scores = super().segment_texts(embedding, texts)
        return masks[:, 1:], scores


class Unsure(Knowing):
    def segment_texts(self, embedding, texts):
        masks, scores = super().segment_texts(embedding, texts)
        return masks, scores * np.nan


@pytest.mark.parametrize(
    ("method", "encoder", "names", "words"),
    [
        (Knowing, Broken(), NAMES, "finite likenesses of masks and texts"),
        (Unsure, ColourEncoder(), NAMES, "finite scores of answers"),
        (Wrong, ColourEncoder(), NAMES, r"shape \(4, 40, 64\), got bool of shape \(4, 39, 64\)"),
        (Knowing, ColourEncoder(), ["red", "blue"], "'green', which is not among them"),
    ],
)
def test_what_is_no_answer_is_refused(method, encoder, names, words):
    picture, labelled = scattered(np.random.default_rng(0), 4)
    known = read_names(names, ColourEncoder(), ["{}"])
    with pytest.raises(ValueError, match=words):
        measure_picture(method(ColourEncoder(), labelled), encoder, picture, labelled, known, CONFIG)


def test_masks_of_another_picture_are_refused():
    picture, labelled = scattered(np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match="expected masks of the picture's size"):
        measured(ColourEncoder(), picture[:, :-1], labelled)


def test_values_do_not_depend_on_how_many_texts_are_asked_together():
    picture, labelled = scattered(np.random.default_rng(3), 5)
    everything = measured(ColourEncoder(), picture, labelled)
    assert torch.is_tensor(replace(read_names(NAMES, ColourEncoder(), ["{}"])).embeddings)
    for one in everything["texts"]:
        alone = [(mask, name if name == one["name"] else None) for mask, name in labelled]
        (text_alone,) = measured(ColourEncoder(), picture, alone)["texts"]
        assert {key: text_alone[key] for key in ("answer", "instance_iou")} == {
            key: one[key] for key in ("answer", "instance_iou")
        }
