"""AP against pycocotools and the package lvis, and cases whose answer is known."""

import json

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval
from tests.eval.scenes import CATEGORIES, SIZE, as_coco, as_dataset, as_results, rectangle, scenes

from opensam.data.ground_truth import Annotation, Category, Truth
from opensam.eval.matching import (
    PER_CATEGORY,
    PER_PICTURE,
    Detection,
    average_precision,
    counted,
    judge,
    match,
    overlaps,
)

COCO_STATS = ["AP", "AP50", "AP75", "AP small", "AP medium", "AP large"]


def ours(pairs, federated):
    """Through JSON, as an evaluation keeps it."""
    values = [json.loads(json.dumps(judge(found, truth, federated))) for truth, found in pairs]
    return average_precision(values, CATEGORIES)


@pytest.mark.parametrize("seed", range(3))
def test_ap_is_that_of_pycocotools(seed):
    pairs = scenes(seed)
    theirs = as_coco(as_dataset([truth for truth, _ in pairs]))
    evaluation = COCOeval(theirs, theirs.loadRes(as_results(pairs)), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    result = ours(pairs, federated=False)
    assert [result[name] for name in COCO_STATS] == pytest.approx(evaluation.stats[:6].tolist(), abs=1e-12)
    assert result["AR"] == pytest.approx(evaluation.stats[8], abs=1e-12)
    assert 0.1 < result["AP"] < 0.9, "a scene in which nothing is hard compares nothing"
    each = evaluation.eval["precision"][:, :, :, 0, 2]
    expected = {f"kind {k + 1}": each[:, :, k].mean() for k in range(6) if (each[:, :, k] > -1).all()}
    assert result["categories"] == pytest.approx(expected, abs=1e-12)


# What lvis 0.5.3 says to the scenes of seed 0, so that they are compared where it is not installed too.
LVIS_SAYS = {
    "AP": 0.3083431384832083, "AP50": 0.4115785974201816, "AP75": 0.3149679673849738, "AP small": 0.17841584158415838,
    "AP medium": 0.5181965196519651, "AP large": 0.5016501650165016, "AP r": 0.30561056105610557,
    "AP c": 0.4013362091703676, "AP f": 0.21671635650960053, "AR": 0.48026373626373625,
}  # fmt: skip


def test_federated_ap_is_what_the_package_lvis_once_said():
    result = ours(scenes(0, crowds=False), federated=True)
    del result["categories"]
    assert result == pytest.approx(LVIS_SAYS, abs=1e-12)
    assert result["AP"] != ours(scenes(0, crowds=False), federated=False)["AP"], "what was looked for must matter"


@pytest.mark.parametrize("seed", range(3))
def test_federated_ap_is_that_of_the_package_lvis(seed, tmp_path, monkeypatch):
    lvis = pytest.importorskip("lvis", reason="needs the package lvis, whose AP it compares with")
    monkeypatch.setattr(np, "float", float, raising=False)  # gone from numpy since 1.24
    pairs = scenes(seed, crowds=False)
    (tmp_path / "truth.json").write_text(json.dumps(as_dataset([truth for truth, _ in pairs])))
    (tmp_path / "results.json").write_text(json.dumps(as_results(pairs)))
    evaluation = lvis.LVISEval(str(tmp_path / "truth.json"), str(tmp_path / "results.json"), "segm")
    evaluation.run()
    theirs = evaluation.get_results()
    names = {"APs": "AP small", "APm": "AP medium", "APl": "AP large", "APr": "AP r", "APc": "AP c", "APf": "AP f"}
    result = ours(pairs, federated=True)
    for name in ("AP", "AP50", "AP75", *names):
        assert result[names.get(name, name)] == pytest.approx(theirs[name], abs=1e-12), name
    assert result["AR"] == pytest.approx(theirs["AR@300"], abs=1e-12)


# ---- cases whose answer is known ---------------------------------------------------------------------------

ONE = {1: Category(1, "thing", "f")}


def annotation(number, x, side=40, category=1, crowd=False):
    rle = rectangle(x, 10, x + side, 10 + side)
    return Annotation(number, category, rle, (x, 10, side, side), float(side**2), crowd)


def truth_of(*annotations, **more):
    return Truth(1, SIZE, annotations, **more)


def found(x, score=1.0, side=40, category=1):
    return Detection(category, score, rectangle(x, 10, x + side, 10 + side))


def test_what_is_there_gives_one_and_nothing_gives_zero():
    truth = truth_of(annotation(0, 10), annotation(1, 100))  # with the id 0, of which pycocotools makes a miss
    right = average_precision([judge([found(10, 0.4), found(100, 0.9)], truth, False)], ONE)
    assert right == {
        "AP": pytest.approx(1), "AP50": pytest.approx(1), "AP75": pytest.approx(1), "AP small": None,
        "AP medium": pytest.approx(1), "AP large": None, "AP f": pytest.approx(1), "AR": 1.0,
        "categories": {"thing": pytest.approx(1)},
    }  # fmt: skip
    nothing = average_precision([judge([], truth, False)], ONE)
    assert (nothing["AP"], nothing["AP medium"], nothing["AR"]) == (0, 0, 0)
    assert average_precision([], ONE)["AP"] is None


def test_a_mask_moved_by_a_quarter_reaches_the_thresholds_up_to_its_iou():
    truth = truth_of(annotation(1, 10))
    result = average_precision([judge([found(20)], truth, False)], ONE)  # IoU 30 / 50
    assert result["AP50"] == pytest.approx(1)
    assert (result["AP75"], result["AR"]) == (0, pytest.approx(0.3)), ".50, .55 and .60 of ten"


def test_a_mistake_of_a_higher_score_halves_the_precision_and_one_of_a_lower_score_costs_nothing():
    truth = truth_of(annotation(1, 10))
    before = average_precision([judge([found(10, 0.5), found(120, 0.9)], truth, False)], ONE)
    after = average_precision([judge([found(10, 0.5), found(120, 0.1)], truth, False)], ONE)
    assert before["AP"] == pytest.approx(0.5)
    assert after["AP"] == pytest.approx(1)


def test_a_second_mask_of_a_thing_is_a_mistake_but_of_a_crowd_any_number_is_none():
    twice = [found(10, 0.9), found(11, 0.8), found(100, 0.7)]
    things = truth_of(annotation(1, 10), annotation(2, 100))
    assert judge(twice, things, False)["detections"][1][2][0] == "-"
    crowd = truth_of(annotation(1, 10, crowd=True), annotation(2, 100))
    value = judge(twice, crowd, False)
    assert value["truths"] == [[1, 1, 0, 1, 0]]
    assert [row[2][0] for row in value["detections"]] == [".", ".", "+"]


def test_in_a_federated_truth_only_what_was_looked_for_counts():
    kinds = [found(10, 0.9), found(10, 0.8, category=2), found(10, 0.7, category=3), found(100, 0.6)]
    truth = truth_of(annotation(1, 10), negatives=frozenset({2}), not_exhaustive=frozenset({1}))
    marks = {(row[0], row[1]): row[2][0] for row in judge(kinds, truth, True)["detections"]}
    assert marks == {(1, 0.9): "+", (1, 0.6): ".", (2, 0.8): "-"}, "nobody looked for kind 3"


def test_only_so_many_detections_count():
    scores = [1.0] * (PER_PICTURE + 5)
    assert len(counted([1] * len(scores), scores, federated=False)) == PER_CATEGORY
    assert len(counted([1, 2] * (len(scores) // 2), scores[:-1], federated=False)) == 2 * PER_CATEGORY
    assert counted([1] * len(scores), scores, federated=True) == list(range(PER_PICTURE))
    assert counted([1, 1, 2], [0.1, 0.3, 0.2], federated=False) == [1, 2, 0]


def test_of_equal_overlaps_the_last_is_taken_and_what_is_looked_for_comes_first():
    ious = np.array([[0.9, 0.9, 0.95]])
    assert match(ious, [False, False, True], [False] * 3)[0].tolist() == [1]
    assert match(ious, [False, False, True], [False] * 3)[-1].tolist() == [2], "from .95 on only the ignored one"
    assert match(np.zeros((2, 0)), [], []).tolist() == [[-1, -1]] * 10


def test_the_overlap_with_a_crowd_is_the_part_that_lies_in_it():
    there = [annotation(1, 10, side=80, crowd=True), annotation(2, 10, side=80)]
    assert overlaps([found(10).segmentation], there).tolist() == [[1.0, 0.25]]
