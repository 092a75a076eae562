"""Edges of masks."""

import cv2
import numpy as np
import pytest
import torch
from tests.amg.oracle import SIDE, Blobs, Oracle, draw

from opensam.eval.boundaries import count_matches, summarise
from opensam.eval.edge_baselines import canny, sobel_edges
from opensam.eval.edges import EdgesConfig, _distinct, _join, find_edges, keep_ridges, mask_edges, thin_edges
from opensam.geometry import Resize
from opensam.predictor import Predictor

BOXES = [(20, 25, 70, 80), (90, 30, 130, 110)]


class Model(Oracle):
    """The oracle, decoding in one step."""

    def decode(self, image_embeddings, prompts, multimask_output, origin=(0, 0)):
        attended = self.attend(image_embeddings, prompts, multimask_output)
        return self.masks(attended, torch.arange(prompts.count)), attended.iou_predictions


def outlines(size, boxes):
    drawn = np.zeros(size, dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        cv2.rectangle(drawn, (x0, y0), (x1, y1), 1)
    return drawn.astype(bool)


def test_the_edges_of_a_perfect_model_are_the_outlines_of_things():
    picture = draw((140, 160), BOXES)
    edges = find_edges(Predictor(Model()), picture, EdgesConfig())
    assert edges.shape == (140, 160)
    assert edges.dtype == np.float32
    assert edges.min() == 0
    assert 0.5 < edges.max() <= 1
    # A cell of the grid of masks is 2.5 pixels here.
    scores = summarise([count_matches(edges, outlines((140, 160), BOXES)[None], 9, max_distance=2.5 / 212)])
    assert scores.ods > 0.97


def test_each_click_of_the_grid_is_asked_once():
    model = Model()
    find_edges(Predictor(model), draw((140, 160), BOXES), EdgesConfig(points_per_side=5))
    assert model.counts["asked"] == model.counts["drawn"] == 25


def test_a_step_of_probability_along_a_straight_side_is_one_just_outside_of_the_mask():
    logits = torch.full((12, 12), -50.0)
    logits[4:, :] = 50
    expected = np.zeros((12, 12))
    expected[3] = 1  # and nothing at the border of the picture, where the mask ends too
    np.testing.assert_allclose(mask_edges(logits), expected, atol=1e-6)


def test_what_changes_inside_of_a_mask_or_far_outside_is_no_edge():
    logits = torch.full((20, 20), -50.0)
    logits[5:15, 5:15] = 50
    logits[8:12, 8:12] = 0.1  # still inside
    logits[0, 0] = -0.1  # still outside
    edges = mask_edges(logits)
    ring = np.zeros((20, 20), dtype=bool)
    ring[4:16, 4:16] = True
    ring[5:15, 5:15] = False
    assert (edges > 0)[ring].all()
    assert not edges[~ring].any()


def test_a_doubtful_outline_is_a_weaker_edge_than_a_sure_one():
    sure, doubtful = (mask_edges(torch.tensor([-value, -value, value, value]).repeat(6, 1)) for value in (9.0, 0.5))
    assert 0 < doubtful.max() < sure.max() / 2


@pytest.mark.parametrize("size", [(150, 200), (401, 333), (30, 90), (256, 256)])
def test_the_part_of_the_picture_around_a_mask_gives_what_the_whole_picture_gives(size):
    blobs, resize = Blobs(), Resize(size, SIDE)
    points = torch.rand(8, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(resize.input_size[::-1])
    attended = blobs.attend(torch.zeros(1), type("P", (), {"point_coords": points[:, None]}), multimask_output=True)
    low_res_masks = blobs.masks(attended, torch.arange(8)).flatten(0, 1)
    low_res_masks = low_res_masks[(low_res_masks > 0).flatten(1).any(dim=1)]
    whole = np.max([mask_edges(mask) for mask in resize.restore_masks(low_res_masks[None])[0]], axis=0)
    low, high = whole.min(), whole.max()
    assert high > 0
    np.testing.assert_allclose(_join(low_res_masks, resize, 0.0), (whole - low) / (high - low), atol=1e-6)


def test_of_masks_that_are_nearly_the_same_the_one_of_the_best_score_stays_and_empty_ones_go():
    masks = torch.full((4, 64, 64), -1.0)
    masks[0, 10:30, 10:30] = 1
    masks[1, 10:30, 10:29] = 1
    masks[2, 10:30, 10:30] = 1
    masks[2, 12:28, 12:28] = -1  # the same box, another shape
    assert _distinct(masks, [0.5, 0.9, 0.1, 1.0], Resize((100, 100), 256), 0.0, 0.7) == [1, 2]
    assert _distinct(masks, [0.5, 0.9, 0.1, 1.0], Resize((100, 100), 256), 0.0, 1.0) == [1, 0, 2]


def test_padding_does_not_tell_masks_apart_nor_make_one():
    masks = torch.full((3, 64, 64), -1.0)
    masks[:2, :10, :10] = 1
    masks[1:, 32:] = 1  # below a picture twice as wide as high
    assert _distinct(masks, [0.5, 0.9, 1.0], Resize((50, 100), 256), 0.0, 0.7) == [1]


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120, 135])
def test_a_broad_edge_becomes_a_thin_one_in_its_middle(degrees):
    rows, columns = np.indices((61, 61)) - 30
    normal = np.deg2rad(degrees)
    across = columns * np.cos(normal) + rows * np.sin(normal)
    thin = thin_edges(np.exp(-(across**2) / 8).astype(np.float32))
    inner = np.hypot(rows, columns) < 20
    assert np.abs(across[inner & (thin > 0.5)]).max() <= 1
    assert 28 <= np.count_nonzero(thin[inner] > 0.5) <= 62  # a diagonal has fewer pixels


def test_two_outlines_side_by_side_become_one_edge():
    edges = np.zeros((40, 40), dtype=np.float32)
    edges[:, 20:22] = 1
    edges[:, 21] = 0.97
    assert {*np.nonzero(thin_edges(edges)[10:30] > 0.3)[1]} == {20}


def test_only_the_strongest_across_an_edge_is_kept():
    edges = np.tile(np.float32([0, 0.2, 0.9, 0.3, 0]), (5, 1))
    expected = np.tile(np.float32([0, 0, 0.9, 0, 0]), (5, 1))
    np.testing.assert_array_equal(keep_ridges(edges, np.zeros((5, 5))), expected)
    np.testing.assert_array_equal(keep_ridges(edges.T, np.full((5, 5), np.pi / 2)), expected.T)


def grey(values):
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=2)


def test_sobel_finds_a_step_at_its_height():
    levels = np.full((20, 30), 50)
    levels[:, 12:] = 152  # a step of 0.4
    edges = sobel_edges(grey(levels))
    assert {*np.nonzero(edges)[1]} == {11, 12}
    assert edges.max() == pytest.approx(0.4 * 4 / 20**0.5, abs=1e-5)


def test_canny_gives_a_step_the_probability_of_its_gradient():
    levels = np.zeros((40, 60))
    levels[:, 30:] = 51  # a step of 0.2, whose gradient is 0.1 of the largest
    edges = canny(grey(levels))
    strong = edges > 0.25
    assert {*np.nonzero(strong)[1]} <= {29, 30}
    assert strong.any(axis=1).all()
    assert edges.max() == pytest.approx(1 / (1 + np.exp(2.9906 - 22.4549 * 0.0975)), abs=0.03)


def test_canny_follows_an_edge_that_has_begun_to_where_it_is_weak():
    levels = np.zeros((80, 120))
    levels[:, 60:] = np.linspace(20, 150, 80)[:, None]  # ever stronger from top to bottom
    alone = levels.copy()
    alone[10:] = alone[10]
    fade, weak = (canny(grey(values))[10, 55:65].max() for values in (levels, alone))
    assert fade > 2 * weak > 0
