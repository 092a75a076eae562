"""The boundary benchmark, on cases whose answer is known."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from skimage.morphology import thin as thin_of_skimage

from opensam.data.bsds import Bsds
from opensam.eval.boundaries import count_agreement, count_matches, summarise, thin, thresholds

BSDS = Path(__file__).parents[2].parent / "shared" / "data" / "bsds500_test"
SIZE = (60, 80)  # diagonal 100: the tolerance below is 2 pixels
REACH = 0.02


def line(*columns):
    """Vertical lines, without their ends at the border of the picture."""
    drawn = np.zeros(SIZE, dtype=bool)
    drawn[10:50, columns] = True
    return drawn


def score(edges, *annotators, number=9):
    return summarise([count_matches(np.float32(edges), np.stack(annotators), number, REACH)])


def test_thresholds_are_those_of_the_original():
    np.testing.assert_allclose(thresholds(), np.arange(1, 100) / 100)


def test_a_map_against_itself_is_perfect():
    scores = score(line(20, 50), line(20, 50))
    assert (scores.ods, scores.ois, scores.r50, *scores.best_f) == pytest.approx((1, 1, 1, 1))


@pytest.mark.parametrize(("shift", "f"), [(1, 1), (2, 1), (3, 0)])
def test_a_shift_counts_only_beyond_the_tolerance(shift, f):
    assert score(line(20 + shift), line(20)).ods == f


def test_half_of_the_boundary_is_half_of_the_recall():
    scores = score(line(20), line(20, 50))
    assert (scores.precision, scores.recall, scores.ods) == pytest.approx((1, 0.5, 2 / 3))


def test_a_pixel_is_matched_once():
    scores = score(line(19, 21), line(20))
    assert (scores.precision, scores.recall) == (0.5, 1)


def test_precision_asks_for_any_annotator_and_recall_for_all_of_them():
    scores = score(line(20, 40, 60), line(20), line(20, 40))
    assert (scores.precision, scores.recall) == pytest.approx((2 / 3, 1))
    scores = score(line(20), line(20), line(20, 40))
    assert (scores.precision, scores.recall) == pytest.approx((1, 2 / 3))


def test_maps_are_thinned_and_annotators_are_not():
    thick = cv2.dilate(line(20).astype(np.uint8), np.ones((1, 3))).astype(bool)
    assert 36 <= count_matches(np.float32(thick), line(20)[None], 1, REACH)["predicted"][0] <= 40
    assert count_matches(np.float32(line(20)), thick[None], 1, REACH)["annotated"] == 120


def test_a_threshold_keeps_what_reaches_it():
    edges = line(20) * 0.5 + line(50) * 0.9
    counts = count_matches(np.float32(edges), line(20, 50)[None], 9, REACH)
    assert counts["predicted"] == [80] * 5 + [40] * 4
    assert counts["annotated"] == 80
    assert counts["recalled"] == counts["right"] == counts["predicted"]


@pytest.mark.parametrize("smooth", [0, 1, 2.5])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95])
def test_thinning_is_that_of_matlab_and_scikit_image(smooth, share):
    noise = np.random.default_rng(int(10 * smooth)).random((90, 70))
    noise = cv2.GaussianBlur(noise, (0, 0), smooth) if smooth else noise
    mask = noise < np.quantile(noise, share)
    np.testing.assert_array_equal(thin(mask), thin_of_skimage(mask))


def curves(seed):
    """Some wobbly lines, and the same lines as somebody else would draw them."""
    rng, drawings = np.random.default_rng(seed), np.zeros((2, 120, 160), dtype=np.uint8)
    for _ in range(8):
        points = rng.uniform(0, (160, 120), (6, 2)).cumsum(axis=0) / np.arange(1, 7)[:, None]
        for drawing in drawings:
            moved = np.rint(points + rng.normal(0, 1.5, points.shape)).astype(np.int32)
            cv2.polylines(drawing, [moved], False, 1)
    return drawings.astype(bool)


def assigned(edges, boundaries, reach):
    """The original's assignment, written plainly: as many pairs as possible, then as near as possible."""
    found, drawn = np.argwhere(edges), np.argwhere(boundaries)
    distances = cdist(found, drawn)
    rows, columns = linear_sum_assignment(np.where(distances <= reach, distances, 1e5))
    pairs = distances[rows, columns] <= reach
    matched = np.zeros(len(found), dtype=bool)
    matched[rows[pairs]] = True
    return matched


@pytest.mark.parametrize("seed", range(4))
def test_recall_is_that_of_the_assignment_and_precision_nearly(seed):
    first, second = curves(seed)
    people = np.stack([second, curves(seed + 100)[0]])
    edges = thin(first)
    counts = count_matches(np.float32(edges), people, 1, 0.0125)
    expected = [assigned(edges, one, 2.5) for one in people]
    assert counts["recalled"] == [sum(int(one.sum()) for one in expected)]
    assert counts["right"][0] == pytest.approx(int(np.logical_or.reduce(expected).sum()), rel=0.01)
    assert 0.3 < counts["right"][0] / counts["predicted"][0] < 0.999


def counts_of(recalled, right, predicted, annotated=100):
    return {"annotated": annotated, "recalled": recalled, "right": right, "predicted": predicted}


def test_ods_has_one_threshold_for_all_and_ois_the_best_of_each():
    first, second = counts_of([90, 10], [90, 10], [100, 10]), counts_of([90, 80], [90, 80], [900, 100])
    scores = summarise([first, second])
    assert scores.best_f == pytest.approx([0.9, 0.8])
    assert scores.ois == pytest.approx(170 / 200)
    # On the straight line between the two thresholds, as in the original.
    share = np.linspace(0, 1, 100)
    recall, precision = 0.9 - 0.45 * share, 0.18 + (90 / 110 - 0.18) * share
    f = 2 * recall * precision / (recall + precision)
    assert scores.ods == pytest.approx(f.max())
    assert scores.threshold == pytest.approx((1 + share[f.argmax()]) / 3)


def test_average_precision_is_the_area_under_the_curve_and_counts_unreached_recalls_as_nothing():
    scores = summarise([counts_of([80, 50, 20], [40, 40, 20], [80, 50, 20])])
    grid = np.arange(101) / 100
    reached = (grid >= 0.2) & (grid <= 0.8)
    expected = np.interp(grid, [0.2, 0.5, 0.8], [1, 0.8, 0.5])[reached].sum() / 100
    assert scores.ap == pytest.approx(expected)
    assert scores.r50 == pytest.approx(0.8)
    assert summarise([counts_of([80, 50], [20, 10], [80, 50])]).r50 == 0


def test_a_map_without_edges_scores_nothing():
    scores = score(np.zeros(SIZE), line(20))
    assert (scores.ods, scores.ois, scores.ap, scores.r50) == (0, 0, 0, 0)


def test_people_are_matched_each_with_the_others():
    counts = count_agreement(np.stack([line(20), line(20), line(20, 50)]), REACH)
    assert counts == {"annotated": 320, "recalled": [240], "predicted": [160], "right": [120]}
    assert count_agreement(line(20)[None])["annotated"] == 0


@pytest.mark.skipif(not BSDS.is_dir(), reason="needs BSDS500 in shared/data beside the checkout")
def test_people_agree_on_bsds500_as_published():
    data = Bsds(BSDS)
    scores = summarise([count_agreement(data.boundaries(i)) for i in range(0, 200, 10)])
    assert scores.ods == pytest.approx(0.80, abs=0.02)  # of twenty pictures; all 200 are published as 0.80


WRONG = {
    "other sizes": (np.zeros((4, 5)), np.zeros((1, 5, 4), bool), r"\(4, 5\) and \(1, 5, 4\)"),
    "no annotator": (np.zeros((4, 5)), np.zeros((0, 4, 5), bool), r"\(0, 4, 5\)"),
    "levels": (np.full((4, 5), 255.0), np.zeros((1, 4, 5), bool), "from 255.0 to 255.0"),
    "NaN": (np.full((4, 5), np.nan), np.zeros((1, 4, 5), bool), "nan"),
}


@pytest.mark.parametrize(("edges", "boundaries", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_measured_is_refused(edges, boundaries, words):
    with pytest.raises(ValueError, match=words):
        count_matches(edges, boundaries)


def test_pictures_at_different_thresholds_are_not_added_up():
    with pytest.raises(ValueError, match=r"numbers \[1, 2\]"):
        summarise([counts_of([1], [1], [1]), counts_of([1, 1], [1, 1], [1, 1])])
    with pytest.raises(ValueError, match="numbers"):
        summarise([])
