"""Random colours, and the marks of cameras and files."""

import numpy as np
import pytest

from opensam.data.colours import add_noise, degrade, turn_hues

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_degraded_pictures_depend_on_the_generator_alone_and_leave_the_picture() -> None:
    picture = PICTURE.copy()
    results = [degrade(picture, 0.5, np.random.default_rng(seed)) for seed in range(20)]
    assert all(result.shape == PICTURE.shape and result.dtype == np.uint8 for result in results)
    assert (picture == PICTURE).all()
    assert (degrade(PICTURE, 0.5, np.random.default_rng(7)) == results[7]).all()
    assert all((result != PICTURE).any() for result in results)


def test_more_strength_changes_more() -> None:
    smooth = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    change = [
        np.mean([np.abs(degrade(smooth, s, np.random.default_rng(i)).astype(int) - smooth).mean() for i in range(30)])
        for s in (0.1, 0.4, 1.0)
    ]
    assert change[0] < change[1] < change[2]


def test_turned_hues_leave_greys_and_a_third_of_a_turn_moves_red_to_green() -> None:
    grey = np.full((2, 2, 3), 77, np.uint8)
    assert (turn_hues(grey, 1.0) == grey).all()
    assert turn_hues(np.array([[[200, 0, 0]]], np.uint8), 2 * np.pi / 3).tolist() == [[[0, 200, 0]]]


def test_noise_has_the_spread_asked_for_and_no_bias() -> None:
    grey = np.full((100, 100, 3), 128, np.uint8)
    noise = add_noise(grey, 10.0, np.random.default_rng(0)).astype(float) - 128
    assert noise.std() == pytest.approx(10, rel=0.03)
    assert abs(noise.mean()) < 0.3
