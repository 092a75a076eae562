import numpy as np
import pytest
from synthetic_eval import disk, picture, rectangle

from opensam.eval.metrics import iou
from opensam.eval.seeded import Seeded, random_walker, watershed
from opensam.eval.segmenters import ClickSegmenter
from opensam.masks import mask_to_box

SIZE = (60, 80)
METHODS = pytest.mark.parametrize("method", [watershed(), random_walker()], ids=["watershed", "random_walker"])


def click(method, image, *points, labels=None):
    labels = np.array([labels or [1] * len(points)])
    answer = method.segment_clicks(method.embed(image), np.array([points], dtype=np.float64), labels, None, True)
    assert answer.masks.shape == (1, 1, *image.shape[:2])
    return answer.masks[0, 0]


def box(method, image, *boxes):
    return method.segment_boxes(method.embed(image), np.array(boxes, dtype=np.float64))


@METHODS
def test_a_disk_of_another_colour_is_found_from_a_click_and_from_its_box(method):
    assert isinstance(method, ClickSegmenter)
    mask = disk(SIZE, (40, 30), 18)
    image = picture([mask])
    assert iou(click(method, image, (40, 30)), mask) > 0.9
    assert iou(box(method, image, mask_to_box(mask))[0], mask) > 0.9


@METHODS
def test_a_negative_click_takes_a_neighbour_away(method):
    left, right = rectangle(SIZE, 10, 15, 38, 45), rectangle(SIZE, 42, 15, 70, 45)
    image = picture([left | right])
    image[:, 39:42] = 140  # a weak border between the two
    both, one = (click(method, image, *points, labels=labels) for points, labels in (
        ([(25, 30), (56, 30)], [1, 1]), ([(25, 30), (56, 30)], [1, 0])
    ))  # fmt: skip
    assert both[30, 56]
    assert not one[30, 56]
    assert iou(one, left) > 0.5
    assert (one & right).sum() < (both & right).sum()


@METHODS
def test_the_answer_depends_on_nothing_else(method):
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    image.flags.writeable = False
    masks = box(method, image, (5, 5, 40, 40), (30, 20, 70, 50))
    assert np.array_equal(masks[1], box(method, image, (30, 20, 70, 50))[0])
    assert np.array_equal(click(method, image, (20, 20)), click(method, image, (20, 20)))


@METHODS
@pytest.mark.parametrize("point", [(0, 0), (79, 59), (0, 30), (79, 0)])
def test_a_click_on_the_border_is_part_of_the_answer(method, point):
    mask = click(method, picture([disk(SIZE, (40, 30), 18)]), point)
    assert mask[point[1], point[0]]


@METHODS
@pytest.mark.parametrize(
    ("size", "corners"), [(SIZE, (7, 7, 7, 7)), (SIZE, (79, 59, 79, 59)), ((3, 90), (4, 0, 20, 2))]
)
def test_tiny_boxes_and_pictures_have_answers_of_the_right_size(method, size, corners):
    (mask,) = box(method, np.full((*size, 3), 90, dtype=np.uint8), corners)
    assert mask.shape == size
    assert mask.any()


@METHODS
def test_a_box_over_the_whole_picture_is_its_own_answer(method):
    assert box(method, picture([disk(SIZE, (40, 30), 18)]), (0, 0, 79, 59)).all()


def test_large_pictures_are_scaled_and_masks_scaled_back():
    mask = disk((300, 900), (450, 150), 90)
    seen = []

    def grow(image, seeds):
        seen.append((image.shape, seeds.shape))
        return seeds == 1

    method = Seeded(grow, 256)
    (found,) = box(method, picture([mask]), mask_to_box(mask))
    assert seen == [((85, 256, 3), (85, 256))]
    ys, xs = np.nonzero(found)
    assert found.shape == mask.shape
    assert [xs.mean(), ys.mean()] == pytest.approx([450, 150], abs=3)
    assert np.ptp(xs) == pytest.approx(60, abs=8), "the middle third of the box"
