"""Outlines: polygons that are filled to the mask they came from."""

import numpy as np
import pytest
from tests.records.examples import awkward, box

from opensam.data.polygons import encode_polygons
from opensam.masks import decode_rle, fill_polygons
from opensam.records.outlines import island_outlines, outline

CASES = awkward()


@pytest.mark.parametrize("name", CASES)
def test_outline_is_filled_to_the_mask(name):
    mask = CASES[name]
    rle = encode_polygons([outline(mask).ravel()], mask.shape)
    np.testing.assert_array_equal(decode_rle(rle), mask)


def test_outline_has_the_corners_of_pixels():
    assert sorted(outline(box(3, 4, 6, 9)).tolist()) == [[3, 4], [3, 9], [6, 4], [6, 9]]
    assert len(outline(box(35, 23, 36, 24))) == 4
    assert outline(box(0, 0, 0, 0)).shape == (0, 2)


@pytest.mark.parametrize("name", [name for name in CASES if name != "noise"])
def test_island_outlines_are_filled_to_the_mask(name):
    mask = CASES[name]
    filled = [fill_polygons([island], mask.shape) for island in island_outlines(mask)]
    np.testing.assert_array_equal(np.any(filled, axis=0), mask)


def test_each_island_has_an_outline_of_at_least_three_points():
    islands = island_outlines(box(1, 1, 2, 2) | box(4, 4, 6, 5) | box(10, 10, 20, 20))
    assert [island.tolist() for island in islands] == [
        [[1, 1], [1, 1], [1, 1]],
        [[4, 4], [5, 4], [5, 4]],
        [[10, 10], [10, 19], [19, 19], [19, 10]],
    ]
    assert island_outlines(box(0, 0, 0, 0)) == []
    assert len(island_outlines(CASES["an island in a hole"])) == 2


def test_outlines_leave_the_mask_as_it_is():
    mask = CASES["a hole"].copy()
    mask.flags.writeable = False
    outline(mask)
    island_outlines(mask)
