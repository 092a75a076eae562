"""Resize and boxes: the official arithmetic, both directions, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from opensam import geometry
from opensam.geometry import Resize, box_area, box_iou


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("original_size", "input_size"),
    [
        ((1200, 1800), (683, 1024)),  # 682.67 rounds up: truncating gives 682
        ((480, 640), (768, 1024)),
        ((640, 480), (1024, 768)),
        ((1024, 1024), (1024, 1024)),
        ((1, 1), (1024, 1024)),
        ((375, 500), (768, 1024)),
        ((2000, 3001), (682, 1024)),  # 682.44 rounds down
        ((3, 4096), (1, 1024)),
        ((1, 10000), (1, 1024)),  # 0.1 would round to a picture without rows
    ],
)
def test_input_size_is_rounded_like_the_official_code(original_size, input_size):
    assert Resize(original_size, 1024).input_size == input_size


def test_scale_is_that_of_the_longest_side():
    assert Resize((480, 640), 1024).scale == 1.6
    assert Resize((640, 480), 1024).scale == 1.6


@pytest.mark.parametrize(
    ("original_size", "image_size"),
    [((0, 5), 1024), ((5, -1), 1024), ((5, 5), 0), ((5.5, 5), 1024), ((5, 5, 3), 1024), ((5,), 1024)],
)
def test_impossible_sizes_are_refused(original_size, image_size):
    with pytest.raises(ValueError, match=r"expects original_size=\(height, width\)"):
        Resize(original_size, image_size)


def test_sizes_from_numpy_and_torch_become_plain_integers():
    resize = Resize(torch.Size([np.int64(6), 8]), np.int32(16))
    assert resize == Resize((6, 8), 16)
    assert hash(resize) == hash(Resize((6, 8), 16))
    assert [type(size) for size in (*resize.original_size, resize.image_size)] == [int, int, int]


def test_each_axis_scales_by_its_own_rounded_ratio():
    resize = Resize((1200, 1800), 1024)
    corner = resize.apply_coords(np.array([[1800.0, 1200.0]]))
    # The square's rounded picture is met exactly: with one scale for both axes y would be 682.67.
    np.testing.assert_allclose(corner, [[1024, 683]], rtol=1e-12)
    box = resize.apply_boxes(np.array([0, 0, 1800, 1200]))
    np.testing.assert_allclose(box, [0, 0, 1024, 683], rtol=1e-12)


def test_boxes_move_like_their_corners():
    resize = Resize((333, 500), 256)
    boxes = np.array([[[10.0, 20.0, 110.5, 220.25]]])
    corners = resize.apply_coords(boxes.reshape(1, 1, 2, 2)).reshape(1, 1, 4)
    np.testing.assert_array_equal(resize.apply_boxes(boxes), corners)
    np.testing.assert_allclose(resize.restore_boxes(corners), boxes, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8])
def test_numpy_comes_back_as_float64(dtype):
    moved = Resize((10, 20), 40).apply_coords(np.array([[3, 5]], dtype=dtype))
    assert moved.dtype == np.float64
    np.testing.assert_array_equal(moved, [[6, 10]])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int64, torch.float32),
    ],
)
def test_torch_keeps_its_precision_and_gets_at_least_float32(dtype, expected):
    resize = Resize((2000, 3000), 1024)
    moved = resize.apply_coords(torch.tensor([[3, 5]], dtype=dtype))
    assert moved.dtype == expected
    torch.testing.assert_close(moved.double(), torch.from_numpy(resize.apply_coords(np.array([[3, 5]]))))


@pytest.mark.parametrize("shape", [(2, 3), (), (0,)])
def test_points_need_a_last_axis_of_two(shape):
    with pytest.raises(ValueError, match=r"expected points \(x, y\) .* of shape \(\.\.\., 2\), got shape"):
        Resize((10, 10), 10).apply_coords(np.zeros(shape))


def test_points_given_as_boxes_are_refused():
    with pytest.raises(ValueError, match="expected boxes"):
        Resize((10, 10), 10).restore_boxes(torch.zeros(2, 2))


def test_no_points_are_moved_to_no_points():
    assert Resize((10, 10), 20).apply_coords(torch.zeros(3, 0, 2)).shape == (3, 0, 2)


def test_image_is_scaled_with_pillows_antialiased_filter(rng):
    image = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((32, 21), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(Resize((60, 90), 32).apply_image(image), expected)


def test_image_of_the_right_size_is_copied(rng):
    image = rng.integers(0, 256, (20, 32, 3), dtype=np.uint8)
    scaled = Resize((20, 32), 32).apply_image(image)
    np.testing.assert_array_equal(scaled, image)
    assert not np.shares_memory(scaled, image)
    assert scaled.flags.writeable


@pytest.mark.parametrize("image", [np.zeros((5, 6, 3), np.uint8), np.zeros((6, 5, 3)), np.zeros((6, 5), np.uint8)])
def test_image_of_another_size_or_type_is_refused(image):
    with pytest.raises(ValueError, match=r"uint8 picture of shape \(6, 5, 3\), got"):
        Resize((6, 5), 10).apply_image(image)


def test_masks_return_through_the_square_without_the_padding():
    resize = Resize((48, 64), 32)  # 24 x 32 in a square of 32: rows 6, 7 of the 8 x 8 grid are padding
    low_res_masks = torch.full((2, 3, 8, 8), -4.0)
    low_res_masks[:, :, 6:] = 100.0
    restored = resize.restore_masks(low_res_masks)
    assert restored.shape == (2, 3, 48, 64)
    assert (restored[:, :, :40] == -4.0).all()


def test_masks_are_scaled_in_two_steps_like_the_official_code(rng):
    resize = Resize((37, 50), 64)
    low_res_masks = torch.from_numpy(rng.standard_normal((1, 2, 16, 16)))
    square = torch.nn.functional.interpolate(low_res_masks, (64, 64), mode="bilinear", align_corners=False)
    expected = torch.nn.functional.interpolate(square[..., :47, :64], (37, 50), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize.restore_masks(low_res_masks), expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (30, 40), (1, 1), (1, 500)])
def test_mask_prompt_returns_to_the_same_mask(size):
    height, width = size
    logits = np.full((1, 1, height, width), -8.0, dtype=np.float32)
    logits[..., : max(1, height // 2), : max(1, width // 3)] = 8.0
    resize = Resize(size, 256)
    low_res = resize.apply_mask(logits, padding=-8.0)
    assert low_res.shape == (1, 1, 64, 64)
    back, mask = resize.restore_masks(low_res) > 0, logits > 0
    assert (back & mask).sum() / (back | mask).sum() > 0.95


def test_mask_prompt_is_padded_right_and_below():
    low_res = Resize((20, 40), 16).apply_mask(np.full((1, 1, 20, 40), 3.0, dtype=np.float32), padding=-5.0)
    assert np.allclose(low_res[0, 0], np.array([3.0, 3.0, -5.0, -5.0])[:, None])


def test_thin_line_in_a_large_mask_prompt_stays_a_line():
    for column in range(500, 516):
        logits = np.full((1, 1, 40, 1000), -1.0, dtype=np.float32)
        logits[..., column] = 1.0
        low_res = Resize((40, 1000), 256).apply_mask(logits, padding=-1.0)[0, 0, 0]
        # Sampling without averaging would see some of these lines well, and others not at all.
        assert (low_res + 1).sum() == pytest.approx(2 / 1000 * 64, rel=0.1)


def test_mask_prompt_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(H, W\) = \(20, 40\), got \(1, 1, 40, 20\)"):
        Resize((20, 40), 16).apply_mask(np.zeros((1, 1, 40, 20), dtype=np.float32), padding=0.0)


def test_box_area_of_an_inverted_box_is_zero():
    boxes = np.array([[0.0, 0.0, 2.0, 3.0], [5.0, 5.0, 4.0, 4.0], [1.0, 1.0, 1.0, 9.0]])
    assert box_area(boxes).tolist() == [6.0, 0.0, 0.0]


def test_box_iou_of_each_pair():
    boxes = np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [9.0, 9.0, 9.0, 9.0]])
    expected = np.array([[1.0, 1 / 7, 0.0], [1 / 7, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert np.allclose(box_iou(boxes, boxes), expected)
    assert box_iou(boxes[:1], boxes).shape == (1, 3)


def test_masks_of_numpy_are_those_of_torch_up_to_rounding():
    low_res_masks = np.random.default_rng(0).normal(0, 5, (2, 3, 64, 64)).astype(np.float32)
    for size in ((190, 256), (37, 50), (300, 1), (600, 451)):
        resize = Resize(size, 256)
        expected = resize.restore_masks(torch.from_numpy(low_res_masks)).numpy()
        found = resize.restore_masks(low_res_masks)
        assert np.allclose(found, expected, atol=1e-4)
        box = (0, size[0] // 3, size[1], size[0])
        parts = np.concatenate([part for _, part in resize.restore_strips(low_res_masks[0, 0], box)], axis=1)
        assert np.allclose(parts, expected[0, 0, box[1] :], atol=1e-4)


# ---- parts of masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(150, 230), (300, 170), (700, 131), (129, 1100), (100, 400)])
@pytest.mark.parametrize("strip", [1, 2**22])
def test_strips_are_the_bits_of_whole_masks(size, strip, monkeypatch):
    monkeypatch.setattr(geometry, "STRIP_PIXELS", strip * size[0] * 9)
    resize = Resize(size, 256)
    low_res_mask = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) * 5
    whole = resize.restore_masks(low_res_mask[None, None])[0, 0]
    height, width = size
    for box in ((0, 0, width, height), (5, 0, 9, 30), (width - 40, height - 3, width, height), (60, 70, 61, 71)):
        x0, y0, x1, y1 = box
        xs, parts = zip(*resize.restore_strips(low_res_mask, box), strict=True)
        assert torch.equal(torch.cat(parts, dim=1), whole[y0:y1, x0:x1])
        assert list(xs) == [x0, *(x0 + np.cumsum([part.shape[1] for part in parts])[:-1]).tolist()]


@pytest.mark.parametrize("size", [(150, 230), (500, 170), (64, 256), (20, 31)])
def test_nothing_of_a_cell_lies_beyond_its_reach(size):
    resize = Resize(size, 256)
    for cell in ((0, 0), (3, 7), (20, 30), (39, 63), (63, 21), (63, 63)):
        low_res_mask = torch.zeros(64, 64)
        low_res_mask[cell] = 1.0
        changed = resize.restore_masks(low_res_mask[None, None])[0, 0] > 0
        x0, y0, x1, y1 = resize.reach((cell[1], cell[0], cell[1] + 1, cell[0] + 1))
        changed[y0:y1, x0:x1] = False
        assert not changed.any()
        assert 0 <= x0 <= x1 <= size[1]
        assert 0 <= y0 <= y1 <= size[0]


# ---- grids, crops, suppression -----------------------------------------------------------------------------


def test_points_are_spread_evenly_row_by_row():
    assert geometry.point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert geometry.point_grid(1).tolist() == [[0.5, 0.5]]


def test_crops_overlap_and_cover_the_picture_as_in_the_official_code():
    crops = geometry.crop_boxes((1500, 2250), 2, 512 / 1500)
    assert [layer for _, layer in crops] == [0] + [1] * 4 + [2] * 16
    assert crops[0][0] == (0, 0, 2250, 1500)
    # overlap 512: (512 + 2250) / 2 = 1381 wide, (512 + 1500) / 2 = 1006 high
    assert [box for box, _ in crops[1:5]] == [
        (0, 0, 1381, 1006), (0, 494, 1381, 1500), (869, 0, 2250, 1006), (869, 494, 2250, 1500),
    ]  # fmt: skip
    covered = np.zeros((1500, 2250), dtype=int)
    for (x0, y0, x1, y1), _ in crops[5:]:
        covered[y0:y1, x0:x1] += 1
    assert covered.min() >= 1
    assert len(geometry.crop_boxes((1, 1), 2, 0.3)) == 3  # no crop is empty


def test_suppression_keeps_the_best_of_each_heap_and_the_earlier_of_equals():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [0, 0, 10, 10], [5, 5, 5, 5], [5, 5, 5, 5]])
    scores = np.array([0.5, 0.9, 0.7, 0.9, 0.1, 0.1])
    assert geometry.box_nms(boxes, scores, 0.7).tolist() == [1, 2, 4, 5]  # boxes without an area overlap nothing
    assert geometry.box_nms(boxes, scores, 0.9).tolist() == [1, 3, 2, 4, 5]  # an IoU of just 0.9 is not larger
    assert geometry.box_nms(boxes[:0], scores[:0], 0.7).tolist() == []


def test_a_box_at_a_side_of_a_crop_is_seen_except_where_the_picture_ends_too():
    crop, size = (0, 100, 500, 600), (600, 1000)
    assert not geometry.touches_crop_edge((0, 200, 300, 599), crop, size)
    assert geometry.touches_crop_edge((0, 120, 300, 599), crop, size)
    assert not geometry.touches_crop_edge((0, 121, 300, 599), crop, size)
    assert geometry.touches_crop_edge((100, 200, 480, 300), crop, size)
    assert not geometry.touches_crop_edge((100, 200, 479, 300), crop, size)
