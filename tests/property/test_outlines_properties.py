"""Properties of outlines that hold for every mask."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from opensam.data.polygons import encode_polygons
from opensam.masks import decode_rle
from opensam.records import MaskRecord
from opensam.records.outlines import outline


@given(array_shapes(min_dims=2, max_dims=2, max_side=14).flatmap(lambda shape: arrays(bool, shape)))
def test_outline_is_filled_to_every_mask(mask):
    rle = encode_polygons([outline(mask).ravel()], mask.shape)
    np.testing.assert_array_equal(decode_rle(rle) if rle else np.zeros_like(mask), mask)


@given(array_shapes(min_dims=2, max_dims=2, max_side=14).flatmap(lambda shape: arrays(bool, shape)), st.booleans())
def test_cutout_is_the_mask_and_nothing_around_it(mask, sparse):
    mask = mask & (np.arange(mask.shape[1]) % 5 == 0) if sparse else mask
    x, y, inside = MaskRecord.from_mask(mask, 1, predicted_iou=1, stability_score=1).cutout()
    canvas = np.zeros_like(mask)
    canvas[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    np.testing.assert_array_equal(canvas, mask)
    assert not inside.size or all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
