import math

import numpy as np
import pytest
import torch

from opensam.geometry import Resize
from opensam.masks import fill_polygons, mask_iou
from opensam.prompts import MASK_LOGIT, MASK_LOGIT_SLOPE, Prompts, join, mask_prompts, scribble_points


def disc(size: tuple[int, int], x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


POINTS = torch.zeros(2, 3, 2)
LABELS = torch.ones(2, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "at least one of points, boxes or mask_input"),
        ({"image_index": torch.tensor([0])}, "at least one of points, boxes or mask_input"),
        ({"point_coords": POINTS}, "point_coords and point_labels together"),
        ({"point_coords": POINTS[0], "point_labels": LABELS}, r"point_coords of shape \(\*, \*, 2\), got \(3, 2\)"),
        ({"point_coords": POINTS, "point_labels": LABELS[:, :2]}, "one label per point"),
        ({"point_coords": POINTS, "point_labels": LABELS + 1}, "got 2"),
        ({"point_coords": POINTS, "point_labels": LABELS - 3}, "got -2"),
        ({"boxes": torch.zeros(4)}, r"boxes of shape \(\*, 4\), got \(4,\)"),
        ({"mask_input": torch.zeros(1, 64, 64)}, r"mask_input of shape \(\*, 1, \*, \*\)"),
        ({"boxes": torch.zeros(3, 4), "point_coords": POINTS, "point_labels": LABELS}, "same number of prompts"),
        ({"boxes": torch.zeros(3, 4), "image_index": torch.zeros(2)}, "same number of prompts"),
    ],
)
def test_prompts_refuse_what_does_not_fit_together(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Prompts(**fields)


def test_prompts_split_and_join_are_each_others_inverse():
    given = {
        "point_coords": np.arange(30.0).reshape(5, 3, 2),
        "point_labels": np.tile([1, 0, -1], (5, 1)),
        "image_index": np.arange(5),
    }
    parts = Prompts(**{name: torch.from_numpy(value) for name, value in given.items()}).split(2)
    assert [part.count for part in parts] == [2, 2, 1]
    joined = join([{name: getattr(part, name).numpy() for name in given} for part in parts])
    assert joined.keys() == given.keys()
    assert all((joined[name] == value).all() for name, value in given.items())


# ---- masks as prompts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(480, 640), (1200, 900), (64, 64), (37, 300)])
def test_the_logits_of_a_mask_give_the_mask_back(size):
    radius = 0.3 * min(size)
    mask = disc(size, 0.4 * size[1], 0.5 * size[0], radius)
    logits = mask_prompts(mask[None], 1024)["mask_input"]
    assert logits.shape == (1, 1, 256, 256)
    restored = Resize(size, 1024).restore_masks(logits)[0] > 0
    # one cell of the grid, in pixels of the picture, is what an outline may move
    cell = 4 * max(size) / 1024
    assert mask_iou(restored, mask[None])[0, 0] > 1 - max(0.05, 2 * cell / radius)


def test_the_logits_of_a_mask_rise_smoothly_and_are_bounded():
    logits = mask_prompts(disc((500, 700), 350, 250, 200)[None], 1024)["mask_input"][0, 0]
    assert logits.max() == MASK_LOGIT
    assert logits.min() == -MASK_LOGIT
    for axis in (0, 1):
        assert np.abs(np.diff(logits, axis=axis)).max() <= MASK_LOGIT_SLOPE + 1e-4


def test_the_padding_of_the_square_is_background():
    logits = mask_prompts(np.ones((1, 100, 200), dtype=bool), 256)["mask_input"][0, 0]
    assert (logits[:32] > 0).all()
    assert (logits[32:] < 0).all()


def test_a_thin_line_is_not_lost_and_not_broken():
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[:, 503] = True  # a quarter of a cell wide
    inside = mask_prompts(mask[None], 1024)["mask_input"][0, 0] > 0
    assert inside.any(axis=1).all()
    assert inside.sum(axis=1).max() <= 2


def test_a_single_pixel_of_a_large_picture_is_not_lost():
    mask = np.zeros((1500, 2000), dtype=bool)
    mask[617, 1172] = True
    prompts = mask_prompts(mask[None], 1024)
    inside = np.argwhere(prompts["mask_input"][0, 0] > 0)
    assert 1 <= len(inside) <= 4
    assert abs(inside.mean(axis=0) - np.array([617.5, 1172.5]) * 1024 / 2000 / 4).max() < 1


def test_a_mask_brings_its_box_and_its_deepest_point_in_the_input_frame():
    mask = np.zeros((100, 200), dtype=bool)
    mask[20:61, 50:151] = True
    prompts = mask_prompts(mask[None], 400)
    assert prompts["boxes"].tolist() == [[100, 40, 300, 120]]
    assert prompts["point_labels"].tolist() == [[1]]
    (x, y), *_ = (prompts["point_coords"][0] / 2).tolist()
    assert y == 40
    assert 70 <= x <= 130  # as deep as 20 rows


def test_the_same_mask_at_another_resolution_is_nearly_the_same_prompt():
    polygon = [np.array([(0.2, 0.1), (0.9, 0.4), (0.5, 0.8)])]
    large, small = (
        mask_prompts(fill_polygons([p * (size[1], size[0]) for p in polygon], size)[None], 1024)
        for size in ((1800, 2400), (450, 600))
    )
    assert np.abs(large["boxes"] - small["boxes"]).max() < 4
    assert np.abs(large["point_coords"] - small["point_coords"]).max() < 8
    assert ((large["mask_input"] > 0) != (small["mask_input"] > 0)).mean() < 0.01


def test_several_masks_are_several_prompts():
    masks = np.stack([disc((60, 80), 20, 20, 10), disc((60, 80), 50, 40, 15)])
    together = mask_prompts(masks, 256)
    for number, mask in enumerate(masks):
        alone = mask_prompts(mask[None], 256)
        for name, value in together.items():
            assert (value[number] == alone[name][0]).all()


# ---- scribbles ---------------------------------------------------------------------------------------------


def test_a_scribble_is_clicks_evenly_spread_along_it():
    stroke = [(100, 100), (400, 100), (400, 400)]
    clicks = scribble_points(stroke, (600, 800))
    assert clicks.shape == (8, 2)
    # on the stroke, and equally far along it
    along = np.where(clicks[:, 1] == 100, clicks[:, 0] - 100, 200 + clicks[:, 1])
    assert np.allclose(np.diff(along), 600 / 8)
    assert along[0] == pytest.approx(600 / 16)
    assert ((clicks[:, 1] == 100) | (clicks[:, 0] == 400)).all()


@pytest.mark.parametrize(
    ("stroke", "expected"),
    [
        ([(30, 40)], [(30, 40)]),
        ([(30, 40), (30, 40), (30, 40)], [(30, 40)]),
        ([(30, 40), (50, 40)], [(40, 40)]),
        ([(0, 0), (100, 0)], [(25, 0), (75, 0)]),
    ],
)
def test_a_short_scribble_is_few_clicks(stroke, expected):
    assert scribble_points(stroke, (600, 800)).tolist() == [list(point) for point in expected]


@pytest.mark.parametrize("stroke", [[], [(1, 2, 3)], [[(1, 2)]], [(1, math.nan)]])
def test_a_scribble_that_is_none_is_refused(stroke):
    with pytest.raises(ValueError, match="scribble"):
        scribble_points(stroke, (10, 10))
