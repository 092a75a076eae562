"""Run lengths in large pictures, where a mask could not be unpacked, and what is refused."""

import numpy as np
import pytest

from opensam import masks, rle

SIDE = 20_000
RING = np.pad(np.zeros((2, 3), bool), 1, constant_values=True)


def filled(x, y, width, height, size=(SIDE, SIDE)):
    """A rectangle in a large picture."""
    return masks.encode_rle(np.ones((height, width), bool), (x, y), size)


def test_a_crop_takes_its_place_in_the_picture():
    placed = masks.encode_rle(RING, (2, 1), (6, 9))
    expected = np.zeros((6, 9), bool)
    expected[1:5, 2:7] = RING
    np.testing.assert_array_equal(masks.decode_rle(placed), expected)
    assert placed == masks.encode_rle(expected) == rle.place_rle(masks.encode_rle(RING), (2, 1), (6, 9))
    assert rle.crop_rle(placed, (2, 1), (4, 5)) == masks.encode_rle(RING)


def test_a_picture_of_400_megapixels_costs_what_the_runs_cost():
    corner = filled(SIDE - 3, SIDE - 2, 3, 2)
    assert len(corner["counts"]) < 30
    assert masks.area(corner) == 6
    np.testing.assert_array_equal(rle.rle_to_box(corner), [SIDE - 3, SIDE - 2, SIDE - 1, SIDE - 1])
    everything = filled(0, 0, 1, 1, size=(1, 1))
    everything = rle.resize_rle(everything, (SIDE, SIDE))
    assert masks.area(everything) == SIDE * SIDE
    np.testing.assert_array_equal(rle.rle_to_box(everything), [0, 0, SIDE - 1, SIDE - 1])
    assert rle.rle_intersection([corner, everything]) == corner
    assert rle.rle_union([corner, everything]) == everything
    np.testing.assert_allclose(rle.rle_iou([corner], [everything, corner]), [[6 / SIDE**2, 1]])


def test_overlap_in_a_large_picture_is_exact():
    left, right = filled(9_000, 9_000, 200, 100), filled(9_100, 9_050, 200, 100)
    assert masks.area(rle.rle_intersection([left, right])) == 100 * 50
    assert masks.area(rle.rle_union([left, right])) == 2 * 200 * 100 - 100 * 50
    np.testing.assert_allclose(rle.rle_iou([left, right], [right]), [[5000 / 35000], [1]])


def test_nothing_and_nobody():
    nothing = masks.encode_rle(np.zeros((3, 4), bool), (5, 6), (40, 50))
    assert nothing == {"size": [40, 50], "counts": masks.encode_rle(np.zeros((40, 50), bool))["counts"]}
    np.testing.assert_array_equal(rle.rle_to_box(nothing), [0, 0, 0, 0])
    np.testing.assert_array_equal(rle.rle_iou([nothing], [nothing]), [[0]])
    assert rle.rle_iou([], [nothing]).shape == (0, 1)
    with pytest.raises(ValueError, match="at least one RLE to join, got none"):
        rle.rle_union([])


@pytest.mark.parametrize(("origin", "size"), [((-1, 0), (9, 9)), ((5, 0), (9, 9)), ((0, 6), (9, 9)), ((0, 0), (3, 9))])
def test_a_part_that_leaves_the_picture_is_refused(origin, size):
    with pytest.raises(ValueError, match="expected a part inside the picture"):
        masks.encode_rle(RING, origin, size)


def test_a_window_that_leaves_the_picture_is_refused():
    with pytest.raises(ValueError, match="expected a part inside the picture"):
        rle.crop_rle(masks.encode_rle(RING), (1, 0), (4, 5))
    with pytest.raises(ValueError, match="expected a part inside the picture"):
        rle.crop_rle(masks.encode_rle(RING), (0, 0), (0, 5))


@pytest.mark.parametrize("join", [rle.rle_union, rle.rle_intersection, lambda rles: rle.rle_iou(rles[:1], rles[1:])])
def test_masks_of_different_pictures_are_refused(join):
    with pytest.raises(ValueError, match="expected masks of one picture"):
        join([masks.encode_rle(RING), masks.encode_rle(RING.T)])


@pytest.mark.parametrize("join", [rle.rle_union, rle.rle_to_box, lambda one: rle.place_rle(one, (0, 0), (9, 9))])
def test_damaged_runs_are_refused(join):
    damaged = {"size": [4, 5], "counts": "5555"}
    with pytest.raises(ValueError, match="the record is damaged"):
        join([damaged] if join is rle.rle_union else damaged)


def test_runs_whose_sum_goes_round_are_refused():
    text = ""
    for value in (2**62, 2**62, 2**62, 0, 20 - 2**62):  # from the fourth on, the difference to the one two before
        going = True
        while going:
            group, value = value & 31, value >> 5
            going = value != (-1 if group & 16 else 0)
            text += chr(48 + group + 32 * going)
    with pytest.raises(ValueError, match="the record is damaged"):
        rle.read_runs({"size": [4, 5], "counts": text})


def test_a_picture_beyond_32_bits_is_refused():
    with pytest.raises(ValueError, match="at most 4294967295 pixels"):
        masks.encode_rle(RING, (0, 0), (70_000, 70_000))
