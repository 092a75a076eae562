"""Crops, scales and masks of training samples."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from opensam.data.mixture import Mixture, Source
from opensam.data.samples import AugmentConfig, make_batch, make_sample
from opensam.masks import encode_rle


def source(mask: np.ndarray, dataset: str = "one") -> Source:
    """A picture that shows its mask: white inside, black outside."""
    stream = io.BytesIO()
    Image.fromarray(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255).save(stream, "PNG")
    return Source(dataset, "picture", stream.getvalue(), (encode_rle(mask),))


def rectangle(size: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[rows, columns] = True
    return mask


def test_a_picture_fills_the_square_and_its_mask_the_same_place() -> None:
    picture = source(rectangle((100, 200), slice(20, 60), slice(40, 120)))
    sample = make_sample(picture, 128, 128, 4, AugmentConfig(), np.random.default_rng(0))
    assert sample.image.shape == (3, 64, 128)
    assert sample.masks.shape == (1, 32, 32)
    assert sample.boxes[0].tolist() == pytest.approx([25.6, 12.8, 75.8, 37.4])
    assert sample.masks[0, 16:].sum() == 0, "the padding below the picture belongs to no mask"


@pytest.mark.parametrize("seed", range(6))
def test_masks_follow_the_picture_through_every_augmentation(seed: int) -> None:
    augment = AugmentConfig(scale=(0.5, 3.0), flip=0.5)
    rng = np.random.default_rng(seed)
    sample = make_sample(source(rectangle((90, 120), slice(30, 70), slice(20, 100))), 160, 128, 1, augment, rng)
    _, h, w = sample.image.shape
    shown = torch.nn.functional.avg_pool2d(sample.image[:1].float() / 255, 4)[0]
    assert (sample.masks[0, : h // 4, : w // 4] - shown).abs().mean() < 0.02
    box = sample.boxes[0].round().int()
    assert (box[2] - box[0]) / (box[3] - box[1]) == pytest.approx(2, rel=0.15), "the whole mask, in the crop or not"
    x0, x1 = box[0::2].clamp(0, w - 1).tolist()
    y0, y1 = box[1::2].clamp(0, h - 1).tolist()
    white = sample.image[0] > 127
    ys, xs = white.any(dim=1).nonzero()[:, 0], white.any(dim=0).nonzero()[:, 0]
    shown_box = torch.stack([xs[0], ys[0], xs[-1], ys[-1]])
    assert (torch.tensor([x0, y0, x1, y1]) - shown_box).abs().max() <= 2


def test_a_crop_shows_things_as_large_as_the_square_does() -> None:
    mask = rectangle((64, 64), slice(16, 48), slice(16, 48))
    sample = make_sample(source(mask), 256, 64, 1, AugmentConfig(), np.random.default_rng(0))
    assert sample.image.shape == (3, 64, 64)
    x0, y0, x1, y1 = sample.boxes[0].tolist()
    assert (x1 - x0 + 1, y1 - y0 + 1) == (128, 128), "half of the picture is half of the square, larger than the crop"


def test_masks_of_nearly_everything_and_of_nearly_nothing_are_dropped() -> None:
    whole, speck = rectangle((64, 64), slice(0, 62), slice(0, 64)), rectangle((64, 64), slice(0, 1), slice(0, 2))
    for mask in (whole, speck):
        assert len(make_sample(source(mask), 64, 64, 4, AugmentConfig(), np.random.default_rng(0)).masks) == 0


def test_a_batch_says_which_picture_each_mask_belongs_to_and_depends_on_the_seed_alone() -> None:
    mixture = Mixture([source(rectangle((64, 64), slice(8, 8 + n), slice(8, 40))) for n in range(16, 40, 4)], power=0.5)
    augment = AugmentConfig(scale=(0.8, 2.0), flip=0.5, color=0.3, grey=0.1)
    rngs = (np.random.default_rng(seed) for seed in (1, 1, 2))
    first, again, other = (make_batch(mixture, 4, 64, 64, 2, augment, rng) for rng in rngs)
    assert len(first.images) == 4
    assert first.image_index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert torch.equal(first.masks[0], first.masks[1]), "each picture has one mask here, given twice"
    assert all(torch.equal(a, b) for a, b in zip(first.images, again.images, strict=True))
    assert torch.equal(first.masks, again.masks)
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first.images, other.images, strict=True))


def test_the_mixture_weighs_data_sets_by_the_power_of_their_size() -> None:
    mask = rectangle((8, 8), slice(0, 4), slice(0, 4))
    many = [source(mask, "large") for _ in range(16)] + [source(mask, "small")]
    for power, share in ((1.0, 1 / 17), (0.5, 1 / 5), (0.0, 1 / 2)):
        mixture, rng = Mixture(many, power), np.random.default_rng(0)
        drawn = np.mean([mixture.draw(rng).dataset == "small" for _ in range(2000)])
        assert abs(drawn - share) < 0.04
    shares = [Mixture(many, power).weights[1] for power in (1.0, 0.5, 0.0)]
    assert all(a < b for a, b in pairwise(shares))


def test_no_masks_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected pictures with masks"):
        Mixture([], power=0.5)


def test_a_linear_scale_law_draws_every_scale_equally_often() -> None:
    picture = source(rectangle((64, 64), slice(16, 48), slice(16, 48)))
    sides = {}
    for law in ("log", "linear"):
        augment, rng = AugmentConfig(scale=(0.1, 1.0), scale_law=law), np.random.default_rng(0)
        sides[law] = np.mean([make_sample(picture, 256, 256, 1, augment, rng).image.shape[1] / 256 for _ in range(300)])
    assert sides["linear"] == pytest.approx(0.55, abs=0.04)
    assert sides["log"] == pytest.approx(0.9 / np.log(10), abs=0.04), "the mean of 10 ** -u"


def test_rare_sizes_are_drawn_as_often_as_common_ones_with_full_size_power() -> None:
    small = [rectangle((96, 96), slice(8 * i, 8 * i + 8), slice(0, 8)) for i in range(9)]
    masks = tuple(encode_rle(mask) for mask in (*small, rectangle((96, 96), slice(0, 64), slice(20, 90))))
    picture = Source("one", "picture", source(small[0]).picture, masks)
    for power, share in ((0.0, 0.1), (1.0, 0.5)):
        augment, rng = AugmentConfig(mask_size_power=power), np.random.default_rng(0)
        drawn = [make_sample(picture, 96, 96, 1, augment, rng).masks[0].sum() > 50 for _ in range(300)]
        assert np.mean(drawn) == pytest.approx(share, abs=0.07)


def test_with_everything_on_a_batch_still_depends_on_the_seed_alone() -> None:
    mixture = Mixture(
        [source(rectangle((64, 80), slice(8, 8 + n), slice(12, 44))) for n in range(16, 40, 4)], power=0.5
    )
    augment = AugmentConfig(scale=(0.5, 2.0), flip=0.5, color=0.3, grey=0.1, degrade=0.5, mask_size_power=0.5)
    augment = augment.model_copy(update={"copy_paste": 0.5, "synthetic": 0.5})
    first, again = (make_batch(mixture, 8, 128, 96, 4, augment, np.random.default_rng(5)) for _ in range(2))
    assert first.masks.shape == (32, 24, 24)
    assert all(torch.equal(a, b) for a, b in zip(first.images, again.images, strict=True))
    assert torch.equal(first.masks, again.masks)
    assert torch.equal(first.boxes, again.boxes)
    areas = first.masks.flatten(1).sum(dim=1)
    assert (areas >= augment.min_cells * 0.99).all()


def test_a_batch_names_its_pictures() -> None:
    mixture = Mixture([source(rectangle((64, 64), slice(8, 40), slice(8, 40)))], power=0.5)
    assert make_batch(mixture, 2, 64, 64, 1, AugmentConfig(), np.random.default_rng(0)).names == ("one/picture",) * 2


def test_masks_that_are_all_too_large_are_an_error_instead_of_a_search_without_end() -> None:
    mixture = Mixture([source(rectangle((64, 64), slice(0, 62), slice(0, 64)))], power=0.5)
    with pytest.raises(ValueError, match="at most 90% of a picture"):
        make_batch(mixture, 1, 64, 64, 1, AugmentConfig(), np.random.default_rng(0))
