"""The data set that needs no files."""

import numpy as np
import pytest

from opensam.data.mixture import checked, open_mixture
from opensam.data.specs import open_datasets, open_pictures
from opensam.data.synthetic import PATTERNS, Synthetic, make_texture
from opensam.masks import area, decode_rle


def test_a_picture_depends_on_seed_and_number_alone() -> None:
    first, other_seed = Synthetic(10), Synthetic(10, seed=1)
    first.read(7)
    assert first.read(3) == Synthetic(1000).read(3)
    assert first.picture(3) == first.read(3).picture
    assert first.masks(3) == first.read(3).masks
    assert len({first.picture(3), first.picture(4), other_seed.picture(3)}) == 3


def test_every_picture_can_be_trained_on_and_its_masks_share_no_pixel() -> None:
    dataset = Synthetic(20)
    for i in range(len(dataset)):
        source = checked(dataset.read(i))
        masks = np.stack([decode_rle(mask) for mask in source.masks])
        assert masks.sum(axis=0).max() == 1
        assert masks.any(axis=(1, 2)).all()


def test_a_mask_lies_where_the_picture_changes() -> None:
    source = Synthetic(1).read(0)
    largest = decode_rle(max(source.masks, key=area))
    grey = source.rgb.mean(axis=2)
    steps, crossings = np.abs(np.diff(grey, axis=1)), np.diff(largest, axis=1)
    assert steps[crossings].mean() > 2 * steps[~crossings].mean()


@pytest.mark.parametrize("kind", range(len(PATTERNS)))
def test_patterns_mix_in_shares(kind: int) -> None:
    for seed in range(5):
        share = PATTERNS[kind](40, np.random.default_rng(seed))
        assert share.shape == (40, 40)
        assert share.min() >= 0
        assert share.max() <= 1
        assert share.std() > 0.01


def test_textures_have_the_size_that_was_asked_for() -> None:
    assert make_texture(33, np.random.default_rng(0)).shape == (33, 33, 3)


def test_the_spec_says_how_many_and_from_which_seed() -> None:
    opened = open_datasets(["synthetic", "synthetic:50@2", "synthetic:7:3"])
    assert [(len(dataset), weight) for dataset, weight in opened] == [(1000, 1.0), (50, 2.0), (7, 1.0)]
    assert opened[2][0].name == "synthetic-3"
    assert open_mixture(["synthetic:5"], 0.5).draw(np.random.default_rng(0)).dataset == "synthetic"
    assert len(open_pictures(["synthetic:5"])) == 5


def test_no_pictures_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one synthetic picture, got synthetic:0"):
        open_datasets(["synthetic:0"])


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch) -> None:
    (tmp_path / "synthetic").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="expected a tar or a folder of tars"):
        open_datasets(["synthetic"])
