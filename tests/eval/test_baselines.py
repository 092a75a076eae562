import cv2
import numpy as np
import pytest
from synthetic_eval import disk, picture, rectangle

from opensam.eval.baselines import GrabCut
from opensam.eval.metrics import iou
from opensam.masks import mask_to_box

SIZE = (60, 80)


def ask(image, *boxes):
    return GrabCut().segment_boxes(GrabCut().embed(image), np.array(boxes, dtype=np.float64))


def test_a_disk_of_another_colour_is_found_inside_its_box():
    mask = disk(SIZE, (40, 30), 18)
    (found,) = ask(picture([mask]), mask_to_box(mask))
    assert found.dtype == np.bool_
    assert iou(found, mask) > 0.99
    assert iou(rectangle(SIZE, *mask_to_box(mask)), mask) < 0.85


def test_nothing_is_found_outside_the_box():
    mask = disk(SIZE, (40, 30), 25)
    (found,) = ask(picture([mask]), (30, 20, 45, 38))
    assert not (found & ~rectangle(SIZE, 30, 20, 45, 38)).any()


def test_five_iterations_as_opencv_runs_them_on_a_rectangle():
    mask = disk(SIZE, (40, 30), 18)
    image = cv2.GaussianBlur(picture([mask], seed=3), (0, 0), 4)
    x0, y0, x1, y1 = mask_to_box(mask).tolist()
    labels = np.zeros(SIZE, dtype=np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, (x0, y0, x1 - x0 + 1, y1 - y0 + 1), None, None, 5, cv2.GC_INIT_WITH_RECT)
    assert np.array_equal(ask(image, (x0, y0, x1, y1))[0], labels % 2 == 1)


def test_answers_do_not_depend_on_what_was_asked_before():
    masks = [disk(SIZE, (25, 30), 15), disk(SIZE, (60, 20), 12)]
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    boxes = [mask_to_box(mask) for mask in masks]
    both = ask(image, *boxes)
    assert np.array_equal(both, ask(image, *boxes))
    assert np.array_equal(both[1], ask(image, boxes[1])[0])


def test_the_picture_is_not_changed():
    mask = disk(SIZE, (40, 30), 18)
    image = picture([mask])
    before = image.copy()
    image.flags.writeable = False
    ask(image, mask_to_box(mask))
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        (SIZE, (0, 0, 79, 59)),  # nothing is left outside to learn from
        (SIZE, (-5, -5, 90, 70)),
        (SIZE, (7, 7, 7, 7)),
        (SIZE, (7, 7, 8, 8)),
        ((1, 1), (0, 0, 0, 0)),
        ((1, 50), (3, 0, 9, 0)),
    ],
)
def test_where_grabcut_has_nothing_to_say_the_box_is_the_answer(size, box):
    (found,) = ask(np.full((*size, 3), 90, dtype=np.uint8), box)
    x0, y0, x1, y1 = box
    assert np.array_equal(found, rectangle(size, max(x0, 0), max(y0, 0), x1, y1))


def test_an_error_of_opencv_is_no_reason_to_stop(monkeypatch):
    def broken(*_):
        raise cv2.error("out of memory")

    monkeypatch.setattr(cv2, "grabCut", broken)
    assert np.array_equal(ask(np.zeros((*SIZE, 3), np.uint8), (3, 4, 5, 6))[0], rectangle(SIZE, 3, 4, 5, 6))
