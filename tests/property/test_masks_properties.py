"""Properties of masks that hold for every drawing."""

import warnings

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from opensam import masks

any_mask = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))
blobs = st.builds(
    lambda mask, height, width: np.repeat(np.repeat(mask, height, axis=0), width, axis=1),
    any_mask, st.integers(1, 12), st.integers(1, 12),
)  # fmt: skip
drawings = any_mask | blobs


@given(drawings)
def test_rle_round_trip_equals_pycocotools(mask):
    given = mask.copy()
    rle = masks.encode_rle(mask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools with NumPy 2
        theirs = coco.decode(rle)
    decoded = masks.decode_rle(rle)
    np.testing.assert_array_equal(decoded, theirs)
    np.testing.assert_array_equal(decoded, mask)
    assert masks.area(rle) == coco.area(rle) == mask.sum()
    assert masks.encode_rle(decoded) == rle
    np.testing.assert_array_equal(mask, given)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=130), max_size=12), st.integers(1, 9))
def test_any_text_as_rle_is_a_mask_or_one_clear_error(counts, side):
    try:
        mask = masks.decode_rle({"size": [side, side], "counts": counts})
    except ValueError as error:
        assert "record is damaged" in str(error)  # noqa: PT017
    else:
        assert mask.shape == (side, side)


@given(drawings)
def test_box_of_a_mask_equals_pycocotools(mask):
    x0, y0, x1, y1 = masks.mask_to_box(mask).tolist()
    if mask.any():
        assert [x0, y0, x1 - x0 + 1, y1 - y0 + 1] == coco.toBbox(masks.encode_rle(mask)).tolist()
    else:
        assert (x0, y0, x1, y1) == (0, 0, 0, 0)


@given(drawings)
def test_polygons_together_are_the_mask(mask):
    given = mask.copy()
    np.testing.assert_array_equal(masks.fill_polygons(masks.polygons(mask), mask.shape), mask)
    np.testing.assert_array_equal(mask, given)


@given(drawings)
def test_deepest_point_is_inside_and_no_pixel_is_deeper(mask):
    if not mask.any():
        return
    given = mask.copy()
    framed = np.pad(mask, 1)
    outside, inside = np.argwhere(~framed), np.argwhere(mask) + 1
    depths = np.array([((outside - pixel) ** 2).sum(axis=1).min() for pixel in inside])
    y, x = inside[depths.argmax()] - 1  # argwhere goes by rows: the first is the topmost, then leftmost
    assert masks.deepest_point(mask) == (x, y)
    np.testing.assert_array_equal(mask, given)


@given(drawings, st.integers(0, 200))
def test_removing_small_regions_leaves_the_caller_his_mask(mask, area):
    given = mask.copy()
    assert not (masks.remove_small_regions(mask, area, "islands") & ~mask).any()
    assert not (mask & ~masks.remove_small_regions(mask, area, "holes")).any()
    np.testing.assert_array_equal(mask, given)


@given(st.data())
def test_iou_of_many_equals_pycocotools(data):
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=20))
    stacks = [data.draw(arrays(bool, (data.draw(st.integers(1, 4)), *shape))) for _ in range(2)]
    rles = [[masks.encode_rle(mask) for mask in stack] for stack in stacks]
    ours = masks.mask_iou(*stacks)
    np.testing.assert_allclose(ours, coco.iou(*rles, [0] * len(rles[1])), rtol=1e-6)
    torch.testing.assert_close(masks.mask_iou(*map(torch.from_numpy, stacks)), torch.from_numpy(ours))
