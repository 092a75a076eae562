"""Composites of random shapes."""

import numpy as np
import pytest
import torch
from tests.data.test_samples import rectangle, source

from opensam.data.samples import AugmentConfig, make_sample
from opensam.data.synthetic import SHAPES, composite

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def test_a_composite_depends_on_the_generator_alone_and_leaves_its_pictures() -> None:
    picture, cutout = NOISE.copy(), rectangle((90, 120), slice(20, 70), slice(30, 80))
    scenes = [composite(128, [picture], [cutout], np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert (picture == NOISE).all()
    first, again, other = (scene.rgb for scene in scenes)
    assert first.shape == (128, 128, 3)
    assert (first == again).all()
    assert (first != other).any()
    assert all((a.coverage == b.coverage).all() for a, b in zip(scenes[0].targets, scenes[1].targets, strict=True))


@pytest.mark.parametrize("kind", range(len(SHAPES)))
def test_every_kind_of_shape_fits_its_canvas_and_is_no_speck(kind: int) -> None:
    for seed in range(20):
        canvas = np.zeros((80, 80), np.uint8)
        SHAPES[kind](canvas, np.random.default_rng(seed))
        assert set(np.unique(canvas)) == {0, 255}
        assert canvas.any(axis=0).sum() > 20 or canvas.any(axis=1).sum() > 20


def test_composites_of_any_seed_have_masks_that_share_no_cell_beyond_its_area() -> None:
    picture, augment = source(rectangle((64, 64), slice(16, 48), slice(16, 48))), AugmentConfig(synthetic=1.0)
    counts = []
    for seed in range(30):
        sample = make_sample(picture, 256, 128, 32, augment, np.random.default_rng(seed))
        assert sample.image.shape == (3, 128, 128)
        assert torch.isfinite(sample.boxes).all()
        assert (sample.boxes[:, 2:] >= sample.boxes[:, :2]).all()
        if len(sample.masks):
            assert sample.masks.sum(dim=0).max() < 1 + 1e-4
            assert sample.masks.flatten(1).sum(dim=1).min() >= augment.min_cells
        counts.append(len(sample.masks))
    assert np.mean(counts) > 3
