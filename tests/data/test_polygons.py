"""Polygons, runs and label maps as masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.layouts import MASK

from opensam.data.polygons import MAX_REGIONS, encode_labels, encode_polygons, encode_runs
from opensam.masks import decode_rle, encode_rle

SQUARE = [10, 5, 20, 5, 20, 15, 10, 15]  # the outline of MASK


def test_a_polygon_covers_the_pixels_that_coco_counts() -> None:
    assert (decode_rle(encode_polygons([SQUARE], MASK.shape)) == MASK).all()


def test_polygons_of_one_mask_are_united() -> None:
    left, right = [10, 5, 16, 5, 16, 15, 10, 15], [14, 5, 20, 5, 20, 15, 14, 15]
    assert (decode_rle(encode_polygons([left, right], MASK.shape)) == MASK).all()


def test_two_points_cover_nothing() -> None:
    assert encode_polygons([[1, 1, 5, 5]], MASK.shape) is None
    assert encode_polygons([[1, 1, 5, 5], SQUARE], MASK.shape) == encode_polygons([SQUARE], MASK.shape)


@pytest.mark.parametrize(
    "polygon", [[1, 2, 3], ["a", "b"], [1, 2, None, 4], 5, [0, 0, float("nan"), 1, 1, 1], [1e9, 0]]
)
def test_what_is_no_polygon_is_said_so(polygon: object) -> None:
    with pytest.raises(ValueError, match="expected a polygon"):
        encode_polygons([polygon], MASK.shape)


def test_runs_give_the_mask_back() -> None:
    outside = 10 * 20 + 5
    assert encode_runs([outside, *[10, 10] * 9, 10, outside], MASK.shape) == encode_rle(MASK)


@pytest.mark.parametrize("runs", [[1, 2], [-5, 605], "text", [None], [[600]]])
def test_runs_that_do_not_fill_the_picture_are_refused(runs: object) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        encode_runs(runs, MASK.shape)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_every_value_of_a_label_map_but_0_is_a_mask(height: int, width: int, seed: int) -> None:
    labels = np.random.default_rng(seed).choice(np.array([0, 0, 1, 7, 70000]), (height, width))
    masks = encode_labels(labels)
    assert masks == [encode_rle(labels == value) for value in np.unique(labels) if value]


def test_a_photograph_is_no_label_map() -> None:
    with pytest.raises(ValueError, match="expected a label map"):
        encode_labels(np.arange(MAX_REGIONS + 1)[None])
