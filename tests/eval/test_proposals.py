"""AR against pycocotools, and generators whose recall is known."""

import json
from functools import partial

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval
from tests.eval.scenes import CATEGORIES, as_coco, as_dataset, scenes
from tests.eval.scenes import SIZE as SCENE
from tests.eval.scenes import rectangle as box
from tests.eval.synthetic_eval import picture, rectangle, write_shard

from opensam.data.ground_truth import Annotation, Truth, open_ground_truth
from opensam.eval.proposals import (
    LIMIT,
    LIMITS,
    ProposalsConfig,
    average_recall,
    match_proposals,
    measuring,
    rank,
    summarise,
)
from opensam.eval.runner import list_items
from opensam.masks import encode_rle
from opensam.records import MaskRecord

SIZE = (120, 160)


def ours(pairs):
    """Through JSON, as an evaluation keeps it."""
    values = []
    for truth, found in pairs:
        ranked = sorted(found, key=lambda one: -one.score)
        values.append(json.loads(json.dumps(match_proposals([one.segmentation for one in ranked], truth, CATEGORIES))))
    return summarise(values)


def theirs(pairs, categories=None):
    """Recall of pycocotools without categories: (T, A, M)."""
    results = [
        {"image_id": truth.id, "category_id": (categories or [1])[0], "segmentation": dict(one.segmentation),
         "score": one.score}
        for truth, found in pairs
        for one in found
    ]  # fmt: skip
    coco = as_coco(as_dataset([truth for truth, _ in pairs]))
    evaluation = COCOeval(coco, coco.loadRes(results), "segm")
    evaluation.params.useCats, evaluation.params.maxDets = 0, list(LIMITS)
    if categories:
        evaluation.params.catIds = categories
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["recall"][:, 0]


@pytest.mark.parametrize("seed", range(3))
def test_ar_is_that_of_pycocotools(seed):
    pairs = scenes(seed)
    recall, result = theirs(pairs), ours(pairs)
    for number, group in enumerate(("all", "small", "medium", "large")):
        np.testing.assert_allclose(np.array(result["groups"][group]["recall"]).T, recall[:, number], atol=1e-12)
        assert average_recall(result, group) == pytest.approx(recall[:, number, -1].mean(), abs=1e-12)
    assert average_recall(result, limit=1) < average_recall(result, limit=5) < average_recall(result) < 1


@pytest.mark.parametrize("frequency", ["r", "c", "f"])
def test_ar_of_a_frequency_is_that_of_pycocotools_on_its_categories_alone(frequency):
    pairs = scenes(7)
    recall = theirs(pairs, [one.id for one in CATEGORIES.values() if one.frequency == frequency])
    group = ours(pairs)["groups"][frequency]
    np.testing.assert_allclose(np.array(group["recall"]).T, recall[:, 0], atol=1e-12)


def test_of_equal_overlaps_the_annotation_of_the_last_category_is_found_as_in_pycocotools():
    first, second = (
        Annotation(number, category, box(x, 10, x + 40, 50), (x, 10, 40, 40), 1600.0)
        for number, category, x in ((1, 2, 10), (2, 1, 30))
    )
    rows = match_proposals([box(20, 10, 60, 50)], Truth(1, SCENE, (first, second)), CATEGORIES)["truths"]
    assert {row["id"]: row["ranks"]["all"][0] for row in rows} == {1: 1, 2: 0}


# ---- generators whose recall is known ----------------------------------------------------------------------


def record(mask, number=0, predicted_iou=1.0, stability_score=1.0):
    return MaskRecord.from_mask(mask, number, predicted_iou=predicted_iou, stability_score=stability_score)


MASKS = [rectangle(SIZE, 5, 5, 24, 24), rectangle(SIZE, 40, 10, 99, 59), rectangle(SIZE, 20, 10, 139, 109)]
"""400, 3000 and 12000 pixels: one of each size."""


@pytest.fixture
def truth(tmp_path):
    write_shard(tmp_path / "things.tar", [(picture(MASKS), MASKS), (picture(MASKS[:1]), MASKS[:1])])
    return open_ground_truth([str(tmp_path / "things.tar")])


def run(truth, generate, **settings):
    config = ProposalsConfig(data=("things",), **settings)
    work = measuring(lambda: generate, truth, config)
    return summarise([json.loads(json.dumps(work(item), allow_nan=False)) for item in list_items([truth])])


def oracle(rgb):
    assert rgb.shape == (*SIZE, 3)
    return [record(mask) for mask in MASKS]


def test_a_generator_that_knows_the_truth_has_an_ar_of_one(truth):
    result = run(truth, oracle)
    assert {group: one["count"] for group, one in result["groups"].items()} == {
        "all": 4, "small": 2, "medium": 1, "large": 1,
    }  # fmt: skip
    assert [average_recall(result, group) for group in result["groups"]] == [1, 1, 1, 1]
    assert (result["pictures"], result["proposals"], result["missed"]) == (2, 3, 0)
    assert average_recall(result, limit=1) == pytest.approx(0.5), "one of three, and the one"
    assert average_recall(result, "r") is None


def test_a_generator_that_finds_nothing_has_none(truth):
    result = run(truth, lambda rgb: [])
    assert [average_recall(result, group) for group in result["groups"]] == [0, 0, 0, 0]
    assert result["missed"] == 1


def test_masks_moved_by_a_quarter_reach_the_thresholds_up_to_their_iou(truth):
    moved = [record(np.roll(mask, np.ptp(np.flatnonzero(mask.any(axis=0))) // 4 + 1, axis=1)) for mask in MASKS]
    result = run(truth, lambda rgb: moved)  # IoU 3 / 5 of each
    assert [np.mean(row) for row in result["groups"]["all"]["recall"]][-1] == pytest.approx(0.3), ".50, .55, .60"
    assert result["missed"] == 0


def test_what_is_missed_is_kept_with_the_best_proposal(truth):
    half = rectangle(SIZE, 5, 5, 12, 24)
    row = measuring(lambda: lambda rgb: [record(half)], truth, ProposalsConfig(data=("a",)))(list_items([truth])[1])
    (missed,) = row["truths"]
    assert missed["iou"] == pytest.approx(0.4)
    assert missed["missed"] == encode_rle(half)
    assert missed["ranks"] == {"all": [0] * 10, "small": [0] * 10}


def test_the_mean_of_both_scores_ranks_and_a_thousand_count():
    mask = MASKS[0]
    records = [record(mask, 0, 0.5, 0.9), record(mask, 1, 0.8, 0.8), record(mask, 2, 0.9, 0.5)]
    assert [one.id for one in rank(records)] == [1, 0, 2], "equal ones in their order"
    many = [record(mask, 0)] * (LIMIT + 1)
    assert len(rank(many)) == LIMIT
    shuffled = partial(rank, [record(mask, number) for number in range(20)])
    ids = [[one.id for one in shuffled(np.random.default_rng(seed))] for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    assert sorted(ids[2]) == list(range(20))


def test_a_random_order_is_that_of_the_seed_and_the_picture(truth):
    found = [run(truth, oracle, single_output=True, seed=seed)["groups"] for seed in (0, 0, 1, 2, 3)]
    assert found[0] == found[1]
    assert any(one != found[0] for one in found[2:])


def test_a_picture_of_another_size_is_refused(tmp_path):
    write_shard(tmp_path / "things.tar", [(picture([np.zeros((50, 50), dtype=bool)]), MASKS)])
    truth = open_ground_truth([str(tmp_path / "things.tar")])
    with pytest.raises(ValueError, match=r"\(H, W\) = \(120, 160\).*\(50, 50\).*another picture"):
        run(truth, oracle)
