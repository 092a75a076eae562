"""Losses on cases whose value is known."""

import math

import pytest
import torch

from opensam.train.losses import coverage_iou, cross_entropy_loss, dice_loss, focal_loss, grouping_loss


def halves(side: int = 8) -> torch.Tensor:
    """(1, 1, side, side): left half 1, right half 0."""
    target = torch.zeros(1, 1, side, side)
    target[..., : side // 2] = 1
    return target


def test_a_right_answer_costs_nothing_and_a_wrong_one_much() -> None:
    target = halves()
    right, wrong = 50 * (2 * target - 1), -50 * (2 * target - 1)
    for loss in (focal_loss, cross_entropy_loss, dice_loss):
        assert loss(right, target).item() == pytest.approx(0, abs=1e-5)
        assert loss(wrong, target).item() > 0.9


def test_undecided_logits_cost_what_theory_says() -> None:
    target, logits = halves(), torch.zeros(1, 1, 8, 8)
    assert cross_entropy_loss(logits, target).item() == pytest.approx(math.log(2))
    # alpha 0.25 on the foreground half, 0.75 on the other: 0.5 in the mean; (1 - p)^2 = 0.25
    assert focal_loss(logits, target).item() == pytest.approx(0.5 * 0.25 * math.log(2))
    assert dice_loss(logits, target).item() == pytest.approx(1 - (32 + 1) / (32 + 32 + 1))


def test_coverage_iou_counts_fractions_of_cells() -> None:
    target = halves()
    target[0, 0, :, 4] = 0.5
    filled = halves().bool()
    assert coverage_iou(filled, target).item() == pytest.approx(32 / 36)
    assert coverage_iou(torch.zeros_like(filled), target).item() == 0


def test_grouping_falls_when_embeddings_agree_with_the_masks() -> None:
    target = halves()[:, 0]
    grouped = torch.cat([halves(4), 1 - halves(4)], dim=1)  # two channels: inside, outside
    same = torch.ones(1, 2, 4, 4)
    index = torch.zeros(1, dtype=torch.long)
    assert grouping_loss(grouped, target, index) < 0.02
    assert grouping_loss(same, target, index) > 1
