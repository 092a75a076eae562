import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from opensam.amg.edges import find_edges, paint_edges
from opensam.masks import decode_rle, encode_rle
from opensam.rle import encode_edges, join_edges, read_runs

masks = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def place(mask, x0, y0, size):
    whole = np.zeros(size, dtype=bool)
    whole[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]] = mask
    return whole


@settings(deadline=None, derandomize=True)
@given(masks, *[st.integers(0, 3)] * 4)
def test_a_placed_mask_has_the_encoding_of_the_whole_one(mask, left, top, right, bottom):
    size = (mask.shape[0] + top + bottom, mask.shape[1] + left + right)
    whole, edges = place(mask, left, top, size), find_edges(mask, left, top, size[0])
    assert encode_edges(edges, size) == encode_rle(whole)
    assert sum(read_runs(encode_edges(edges, size))) == size[0] * size[1]
    assert (np.diff(edges) > 0).all()
    box = (left, top, left + mask.shape[1], top + mask.shape[0])
    np.testing.assert_array_equal(paint_edges(edges, box, size[0]), mask)
    np.testing.assert_array_equal(paint_edges(edges, (0, 0, size[1], size[0]), size[0]), whole)


@settings(deadline=None, derandomize=True)
@given(masks, st.integers(0, 9))
def test_the_strips_of_a_mask_make_the_mask(mask, cut):
    parts = [find_edges(mask[:, :cut], 0, 0, len(mask)), find_edges(mask[:, cut:], cut, 0, len(mask))]
    assert encode_edges(join_edges(parts), mask.shape) == encode_rle(mask)


@pytest.mark.parametrize("mask", [np.zeros((2, 3), dtype=bool), np.ones((2, 3), dtype=bool)])
def test_empty_and_full_masks_are_encoded(mask):
    rle = encode_edges(find_edges(mask, 0, 0, 2), (2, 3))
    assert rle == encode_rle(mask)
    np.testing.assert_array_equal(decode_rle(rle), mask)
    assert join_edges([]).tolist() == []
