import numpy as np
import pytest

from opensam.eval.metrics import DatasetScores, MethodScores, iou, mean_scores, number_of_clicks, scores_by_size


def test_iou_counts_pixels():
    truth = np.array([[1, 1, 0], [1, 1, 0]], dtype=bool)
    predictions = np.array([[[1, 1, 0], [1, 1, 0]], [[0, 1, 1], [0, 1, 1]], [[0, 0, 1], [0, 0, 0]]], dtype=bool)
    assert iou(predictions, truth).tolist() == [1.0, 2 / 6, 0.0]
    assert iou(predictions[None], truth).shape == (1, 3)


def test_iou_of_two_empty_masks_is_one_and_of_one_empty_mask_zero():
    empty, full = np.zeros((2, 3), dtype=bool), np.ones((2, 3), dtype=bool)
    assert iou(empty, empty) == 1.0
    assert iou(empty, full) == 0.0
    assert iou(full, empty) == 0.0


@pytest.mark.parametrize("prediction", [np.ones((2, 4), bool), np.ones((2, 3)), np.ones((2, 3), np.uint8)])
def test_iou_refuses_another_size_or_type(prediction):
    with pytest.raises(ValueError, match="bool masks over the same picture"):
        iou(prediction, np.ones((2, 3), dtype=bool))


@pytest.mark.parametrize(
    ("ious", "target", "clicks"),
    [
        ([0.95], 0.9, 1),
        ([0.2, 0.85, 0.9], 0.85, 2),
        ([0.2, 0.9, 0.1], 0.9, 2),
        ([0.1] * 20, 0.9, 20),
        ([0.1] * 19 + [0.95], 0.9, 20),
        ([0.1] * 20 + [0.95], 0.9, 20),
        ([0.1, 0.2], 0.9, 20),
    ],
)
def test_number_of_clicks(ious, target, clicks):
    assert number_of_clicks(ious, target) == clicks


def test_the_mean_is_over_masks_and_then_over_data_sets():
    many = mean_scores([{"box": 0.1}, {"box": 0.3}, {"box": 0.5}])
    few = mean_scores([{"box": 0.9}])
    datasets = {"many": DatasetScores(2, 3, 4.0, many), "few": DatasetScores(1, 1, 2.0, few)}
    method = MethodScores("some", datasets)
    assert method.mean == {"box": pytest.approx(0.6)}
    assert method.images_per_second == pytest.approx(0.5)


def test_sizes_that_occur_have_means_over_their_masks_and_bounds_belong_to_the_smaller():
    sizes = scores_by_size(
        [(1.0, {"box": 0.9}), (0.002, {"box": 0.25}), (0.0001, {"box": 0.75}), (0.0021, {"box": 0.1})]
    )
    assert [(one.up_to, one.masks, one.scores) for one in sizes] == [
        (0.002, 2, {"box": 0.5}),
        (0.008, 1, {"box": 0.1}),
        (1.0, 1, {"box": 0.9}),
    ]


@pytest.mark.parametrize("rows", [[], [{"box": 1.0}, {"oracle@1": 1.0}]])
def test_means_of_nothing_or_of_different_scores_are_refused(rows):
    with pytest.raises(ValueError, match="mean_scores expects"):
        mean_scores(rows)
