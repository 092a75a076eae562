"""What a kit shows: which masks, and how."""

import numpy as np
import pytest
from tests.eval.synthetic_eval import disk, rectangle

from opensam.data.dataset import InMemory, Source
from opensam.masks import encode_rle
from opensam.recipes.evaluation.rating_kit import draw_masks
from opensam.recipes.evaluation.rating_views import VIEWS, draw_views, zoom_window

SIZE = (120, 160)
LARGE = [rectangle(SIZE, n, n, n + 23, n + 23) for n in range(4)]  # 24^2 pixels each
SMALL = rectangle(SIZE, 0, 0, 22, 23)


def dataset(*pictures):
    sources = [Source("d", str(n), b"", tuple(encode_rle(mask) for mask in masks)) for n, masks in enumerate(pictures)]
    return InMemory("d", sources)


def test_small_masks_are_never_shown():
    found = draw_masks(dataset([SMALL, LARGE[0]], [SMALL], [LARGE[1], SMALL]), 9, np.random.default_rng(0))
    assert found == [(0, 1), (2, 0)]
    with pytest.raises(ValueError, match="at least 576 pixels in d, got none"):
        draw_masks(dataset([SMALL]), 9, np.random.default_rng(0))


def test_every_picture_comes_before_a_second_mask_of_one():
    pictures = dataset(LARGE, LARGE[:1], LARGE[:1], LARGE[:2])
    for seed in range(5):
        rows = [row for row, _ in draw_masks(pictures, 4, np.random.default_rng(seed))]
        assert rows == [0, 1, 2, 3]
        rows = [row for row, _ in draw_masks(pictures, 6, np.random.default_rng(seed))]
        assert rows == [0, 0, 1, 2, 3, 3]
    assert len(draw_masks(pictures, 100, np.random.default_rng(0))) == 8
    assert len({tuple(draw_masks(pictures, 2, np.random.default_rng(seed))) for seed in range(9)}) > 3


def test_the_zoom_holds_mask_and_point_and_stays_in_the_picture():
    mask = disk(SIZE, (30, 40), 12)
    x0, y0, x1, y1 = zoom_window(mask, (100, 41))
    assert (x0, y0) == (0, 0)
    assert x0 <= 18 < 100 < x1 <= SIZE[1]
    assert y1 <= SIZE[0]
    assert zoom_window(mask, (30, 40)) == (6, 16, 55, 65)  # 48 pixels at least
    assert zoom_window(disk(SIZE, (80, 60), 30), (80, 60)) == (28, 8, 133, 113)  # 61 and 0.35 of that on each side
    x0, y0, x1, y1 = zoom_window(np.zeros(SIZE, dtype=bool), (100, 60))
    assert (x1 - x0, y1 - y0) == (49, 49)


def test_five_views_show_the_mask_in_red_or_alone():
    image = np.full((*SIZE, 3), 90, dtype=np.uint8)
    mask = disk(SIZE, (80, 60), 30)
    views = draw_views(image, mask, (80, 60))
    assert tuple(views) == VIEWS
    assert views["picture"].shape == views["overlay"].shape == views["mask"].shape == (*SIZE, 3)
    assert max(views["zoom"].shape) == max(views["zoom_overlay"].shape) == 900
    away = mask & ~disk(SIZE, (80, 60), 12) & disk(SIZE, (80, 60), 26)
    assert (views["picture"][away] == 90).all()
    assert (views["overlay"][away] == [153, 68, 76]).all()  # 0.55 of the picture, 0.45 of the red
    assert (views["overlay"][~disk(SIZE, (80, 60), 34)] == 90).all()
    assert (views["mask"][away] == [245, 215, 66]).all()
    assert views["picture"][60, 80].tolist() == [20, 110, 245]
    assert (image == 90).all()


def test_a_large_picture_is_shown_at_the_size_of_a_screen():
    mask = disk((1200, 2100), (80, 60), 30)
    views = draw_views(np.zeros((1200, 2100, 3), dtype=np.uint8), mask, (80, 60))
    assert views["overlay"].shape == (800, 1400, 3)
