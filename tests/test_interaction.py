"""The simulated user of training."""

import torch

from opensam.interaction import jitter_boxes, sample_cells, sample_corrections, sample_points


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(side: int, x: int, y: int, radius: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_points_lie_in_their_region_and_reach_all_of_it() -> None:
    regions = disc(16, 5, 9, 1.0).expand(400, -1, -1)
    cells = sample_cells(regions, seeded())
    assert regions[torch.arange(400), cells[:, 1], cells[:, 0]].all()
    assert {tuple(cell) for cell in cells.tolist()} == {(5, 9), (4, 9), (6, 9), (5, 8), (5, 10)}


def test_points_are_pixels_of_the_chosen_cells() -> None:
    region = torch.zeros(300, 8, 8, dtype=torch.bool)
    region[:, 2, 3] = True
    points = sample_points(region, 4, seeded())
    assert points[:, 0].unique().tolist() == [12, 13, 14, 15]
    assert points[:, 1].unique().tolist() == [8, 9, 10, 11]


def test_corrections_say_what_is_missing_and_what_is_too_much() -> None:
    masks = torch.stack([disc(16, 4, 4, 3), disc(16, 4, 4, 3), disc(16, 4, 4, 3)])
    nothing = torch.zeros(16, 16, dtype=torch.bool)
    predictions = torch.stack([nothing, disc(16, 4, 4, 3) | disc(16, 12, 12, 2), masks[2]])
    points, labels = sample_corrections(masks, predictions, 1, seeded())
    assert labels.tolist() == [1, 0, 1], "missed; wrongly added; nothing wrong: a click inside"
    assert (points[1] - 12).norm() <= 2
    assert (points[2] - 4).norm() <= 3


def test_jittered_boxes_stay_in_the_square_with_corners_in_order() -> None:
    boxes = torch.tensor([[0.0, 0.0, 255.0, 255.0], [10.0, 20.0, 12.0, 21.0]]).repeat(200, 1)
    moved = jitter_boxes(boxes, 256, seeded())
    assert moved.min() >= 0
    assert moved.max() <= 255
    assert (moved[:, :2] <= moved[:, 2:]).all()


def test_box_noise_is_a_tenth_of_the_side_but_at_most_20_pixels_at_1024() -> None:
    boxes = torch.tensor([[400.0, 400.0, 500.0, 500.0]]).repeat(4000, 1)
    noise = jitter_boxes(boxes, 1024, seeded()) - boxes
    assert abs(noise.std().item() - 9.4) < 0.4, "sigma 10, clamped at 20"
    assert noise.abs().max().item() == 20


def test_careful_users_draw_exact_boxes() -> None:
    boxes = torch.tensor([[400.0, 400.0, 500.0, 500.0]])
    assert torch.equal(jitter_boxes(boxes, 1024, seeded(), box_noise=0.0), boxes)
