"""Masks: each function against a drawing, an independent count, or the library that others use."""

import numpy as np
import pytest
import torch

from opensam import masks

EMPTY = np.zeros((4, 5), dtype=bool)


def draw(picture):
    """A mask from lines of text, # inside."""
    return np.array([[pixel == "#" for pixel in line] for line in picture.split()])


RING = draw("""
    .......
    .#####.
    .#...#.
    .#...#.
    .#####.
    .......
""")
TWO = draw("""
    ##......
    ##....#.
    ##......
    ......##
""")


def test_rle_is_the_one_of_coco():
    assert masks.encode_rle(TWO) == {"size": [4, 8], "counts": "0310a0N_O020"}


def test_rle_round_trip_gives_rows_in_own_memory():
    decoded = masks.decode_rle(masks.encode_rle(RING))
    assert decoded.dtype == np.bool_
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, RING)


@pytest.mark.parametrize("mask", [EMPTY, ~EMPTY, RING, RING.T, RING[::-1, ::2], np.ones((1, 1), bool)])
def test_rle_of_any_layout(mask):
    rle = masks.encode_rle(mask)
    np.testing.assert_array_equal(masks.decode_rle(rle), mask)
    assert masks.area(rle) == masks.area(mask) == mask.sum()


@pytest.mark.parametrize("counts", ["", "0", "abc", "é", "~~", "o", "ooo0", "5555", "PPPPPPPP", "o" * 40 + "0"])
@pytest.mark.parametrize("use", [masks.decode_rle, masks.area])
def test_damaged_rle_is_refused_and_not_filled_with_noise(counts, use):
    with pytest.raises(ValueError, match="record is damaged or belongs to another picture"):
        use({"size": [5, 7], "counts": counts})


@pytest.mark.parametrize("size", [[4, 7], [4, 8, 1], [8], [-4, -8], [0, 0]])
def test_rle_of_another_picture_is_refused(size):
    with pytest.raises(ValueError, match="whose runs fill its size, got size"):
        masks.decode_rle({"size": size, "counts": masks.encode_rle(TWO)["counts"]})


@pytest.mark.parametrize(
    "mask", [np.zeros((4, 5)), np.zeros((4, 5), np.uint8), np.zeros((1, 4, 5), bool), np.zeros((0, 5), bool)]
)
@pytest.mark.parametrize("use", [masks.encode_rle, masks.area, masks.polygons])
def test_what_is_no_mask_is_refused(mask, use):
    with pytest.raises(ValueError, match=r"expected a mask as bool array of shape \(H, W\), got"):
        use(mask)


@pytest.mark.parametrize(
    ("mask", "box"),
    [(RING, [1, 1, 5, 4]), (TWO, [0, 0, 7, 3]), (EMPTY, [0, 0, 0, 0]), (draw(".. .#"), [1, 1, 1, 1])],
)
def test_box_has_both_corners_inside_the_mask(mask, box):
    np.testing.assert_array_equal(masks.mask_to_box(mask), box)


def test_boxes_of_many_masks_at_once():
    stack = np.stack([[RING, ~RING], [RING & False, np.roll(RING, 1, axis=1)]])
    expected = [[[1, 1, 5, 4], [0, 0, 6, 5]], [[0, 0, 0, 0], [2, 1, 6, 4]]]
    boxes = masks.mask_to_box(torch.from_numpy(stack))
    assert boxes.dtype == torch.int64
    assert boxes.tolist() == expected
    assert isinstance(masks.mask_to_box(stack), np.ndarray)


def test_read_only_and_flipped_arrays_are_taken():
    locked = RING.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(masks.mask_to_box(locked[:, ::-1]), [1, 1, 5, 4])


def test_iou_of_each_pair():
    left, right = draw("##.. ##.."), draw(".##. .##.")
    nothing = np.zeros_like(left)
    iou = masks.mask_iou(np.stack([left, nothing]), np.stack([left, right, nothing]))
    assert isinstance(iou, np.ndarray)
    np.testing.assert_allclose(iou, [[1, 1 / 3, 0], [0, 0, 0]], rtol=1e-6)
    torch.testing.assert_close(
        masks.mask_iou(torch.from_numpy(left[None]), torch.from_numpy(right[None])), torch.tensor([[1 / 3]])
    )


@pytest.mark.parametrize("other", [np.zeros((1, 5, 4), bool), np.zeros((4, 5), bool)])
def test_iou_over_different_pictures_is_refused(other):
    with pytest.raises(ValueError, match=r"over the same picture, got \(1, 4, 5\) and"):
        masks.mask_iou(EMPTY[None], other)


def test_stability_counts_pixels_between_the_two_thresholds():
    logits = torch.tensor([[[-3.0, -0.5, 0.0, 0.5, 1.0, 3.0]], [[9.0] * 6], [[-9.0] * 6]])
    # above 1: one pixel (1.0 itself is not above); above -1: five
    torch.testing.assert_close(masks.stability_score(logits), torch.tensor([0.2, 1.0, 0.0]))
    torch.testing.assert_close(
        masks.stability_score(logits, mask_threshold=2.0, offset=0.5), torch.tensor([1.0, 1.0, 0.0])
    )
    assert masks.stability_score(logits[None]).shape == (1, 3)


@pytest.mark.parametrize(
    ("picture", "point"),
    [
        ("..... .###. .###. .###. .....", (2, 2)),
        ("##### ##### ##### ..... .....", (1, 1)),  # the border counts: not the topmost row
        (".... .##. .##. ....", (1, 1)),  # a tie: topmost, then leftmost
        ("#", (0, 0)),
        ("###.. ###.. ###.. ...## ...##", (1, 1)),
    ],
)
def test_deepest_point(picture, point):
    assert masks.deepest_point(draw(picture)) == point


def test_deepest_point_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one pixel inside, got an empty one"):
        masks.deepest_point(EMPTY)


def test_polygons_of_a_ring_are_its_two_outlines():
    outlines = masks.polygons(RING)
    assert len(outlines) == 2
    assert {tuple(corner) for corner in outlines[0].tolist()} == {(1, 1), (5, 1), (5, 4), (1, 4)}
    np.testing.assert_array_equal(masks.fill_polygons(outlines, RING.shape), RING)
    assert masks.polygons(EMPTY) == []


def test_polygon_may_leave_the_picture_and_is_rounded():
    filled = masks.fill_polygons([[(-9, -9), (2.4, -9), (2.4, 1.6), (-9, 1.6)]], (4, 5))
    np.testing.assert_array_equal(filled, draw("###.. ###.. ###.. ....."))
    assert not masks.fill_polygons([], (4, 5)).any()


@pytest.mark.parametrize("points", [[], [1, 2], [(1, 2, 3)], [(1, float("nan"))], [(1, float("inf"))]])
def test_what_is_no_polygon_is_refused(points):
    with pytest.raises(ValueError, match=r"expected a polygon as finite points \(x, y\) of shape \(K, 2\)"):
        masks.fill_polygons([points], (4, 5))


def test_far_away_points_do_not_overflow():
    far = 1e12
    assert masks.fill_polygons([[(-far, -far), (far, -far), (far, far), (-far, far)]], (4, 5)).all()


def test_small_islands_go_and_large_ones_stay():
    np.testing.assert_array_equal(masks.remove_small_regions(TWO, 2, "islands"), TWO & (np.arange(8) != 6) | [
        [False] * 8, [False] * 8, [False] * 8, [False] * 6 + [True] * 2
    ])  # fmt: skip


def test_of_small_islands_only_the_largest_stays():
    expected = TWO & (np.arange(8) < 2)
    np.testing.assert_array_equal(masks.remove_small_regions(TWO, 100, "islands"), expected)
    assert not masks.remove_small_regions(EMPTY, 100, "islands").any()


def test_small_holes_are_filled():
    filled = masks.remove_small_regions(RING, 7, "holes")
    np.testing.assert_array_equal(filled, draw("....... .#####. .#####. .#####. .#####. ......."))
    np.testing.assert_array_equal(masks.remove_small_regions(RING, 6, "holes"), RING)


def test_regions_touch_at_corners():
    diagonal = draw("#... .#.. ..#. ....")
    np.testing.assert_array_equal(masks.remove_small_regions(diagonal, 3, "islands"), diagonal)


def test_unknown_region_mode_is_refused():
    with pytest.raises(ValueError, match="mode 'holes' or 'islands', got 'hole'"):
        masks.remove_small_regions(RING, 3, "hole")
