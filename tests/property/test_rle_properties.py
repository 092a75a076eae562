"""Arithmetic on run lengths is that on pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from opensam import masks, rle


@st.composite
def drawings(draw, size=None):
    """A mask of any small size, from empty to full."""
    height, width = size or (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    density = draw(st.sampled_from([0, 0.1, 0.5, 0.9, 1]))
    return np.random.default_rng(draw(st.integers(0, 2**32))).random((height, width)) < density


@st.composite
def windows(draw):
    """A mask, and a window (x, y, w, h) of it."""
    mask = draw(drawings())
    y, x = (draw(st.integers(0, side - 1)) for side in mask.shape)
    h, w = (draw(st.integers(1, side - start)) for side, start in zip(mask.shape, (y, x), strict=True))
    return mask, (x, y, w, h)


@given(drawings(), *[st.integers(0, 5)] * 4)
def test_a_placed_crop_is_the_mask_of_the_picture(mask, left, top, right, bottom):
    expected = np.pad(mask, ((top, bottom), (left, right)))
    assert masks.encode_rle(mask, (left, top), expected.shape) == masks.encode_rle(expected)


@given(windows())
def test_a_window_of_the_runs_is_that_of_the_pixels(case):
    mask, (x, y, w, h) = case
    assert rle.crop_rle(masks.encode_rle(mask), (x, y), (h, w)) == masks.encode_rle(mask[y : y + h, x : x + w])


@given(drawings(), st.integers(1, 30), st.integers(1, 30))
def test_a_scaled_mask_shows_what_lies_under_each_pixel_centre(mask, height, width):
    ys, xs = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip((height, width), mask.shape, strict=True))
    assert rle.resize_rle(masks.encode_rle(mask), (height, width)) == masks.encode_rle(mask[ys][:, xs])


@given(drawings())
def test_the_box_is_that_of_the_pixels(mask):
    np.testing.assert_array_equal(rle.rle_to_box(masks.encode_rle(mask)), masks.mask_to_box(mask))


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: st.lists(drawings(size), min_size=1)))
def test_union_intersection_and_iou_are_those_of_the_pixels(drawn):
    rles = [masks.encode_rle(mask) for mask in drawn]
    np.testing.assert_array_equal(masks.decode_rle(rle.rle_union(rles)), np.any(drawn, axis=0))
    np.testing.assert_array_equal(masks.decode_rle(rle.rle_intersection(rles)), np.all(drawn, axis=0))
    stack = np.stack(drawn)
    np.testing.assert_allclose(rle.rle_iou(rles, rles[:2]), masks.mask_iou(stack, stack[:2]), rtol=1e-6)


def test_runs_of_length_zero_inside_are_read():
    # 3 outside, 0 inside, 2 outside, 1 inside: not as pycocotools writes it, but as others may.
    odd = {"size": [2, 3], "counts": "3021"}
    runs = rle.read_runs(odd)
    assert runs.tolist() == [3, 0, 2, 1]
    np.testing.assert_array_equal(rle.rle_to_box(odd), [2, 1, 2, 1])
    assert masks.decode_rle(rle.place_rle(odd, (0, 0), (3, 3))).sum() == 1
