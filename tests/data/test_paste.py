"""Things laid over a picture: exact masks, who covers whom, and which masks are taken for things."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.test_samples import rectangle, source

from opensam.data import samples
from opensam.data.mixture import Source
from opensam.data.paste import Layer, Scene, Target, cut_out, find_things, overlap, soften, tight_box
from opensam.data.samples import AugmentConfig, make_sample
from opensam.masks import encode_rle

BLACK = np.zeros((64, 96, 3), np.uint8)


def square(side: int, colour: tuple[int, int, int] = (255, 0, 0)) -> Layer:
    alpha = soften(np.ones((side, side), np.float32), 0.8)
    return Layer(np.full((*alpha.shape, 3), colour, np.uint8), (alpha,))


def png(rgb: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def disc(side: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.hypot(x, y) < radius


def in_cells(plane: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(plane[None].float() / 255, 4)[0]


@pytest.mark.parametrize("seed", range(8))
def test_a_pasted_thing_and_what_it_covers_are_where_the_picture_shows_them(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "draw_shadow", lambda side, rng: None)
    below = source(rectangle((120, 160), slice(10, 110), slice(20, 140)))
    mask = disc(100, 20)
    red = Source("other", "red", png(np.where(mask[..., None], (255, 0, 0), (0, 0, 255))), (encode_rle(mask),))
    augment = AugmentConfig(copy_paste=1.0, flip=0.5, max_area=1.0)
    sample = make_sample(below, 256, 256, 8, augment, np.random.default_rng(seed), lambda rng: red)
    h, w = (side // 4 for side in sample.image.shape[1:])
    assert len(sample.masks) == 2
    # The picture has white of the mask below, black, and red of the thing.
    white, thing = in_cells(sample.image[1]), in_cells(sample.image[0]) - in_cells(sample.image[1])
    wrong = [[float((mask[:h, :w] - shown).abs().max()) for shown in (white, thing)] for mask in sample.masks]
    assert min(wrong[0][0] + wrong[1][1], wrong[0][1] + wrong[1][0]) < 0.15
    assert thing.sum() > 10


def test_whatever_lies_in_a_scene_every_pixel_is_shared_out_exactly() -> None:
    scene, rng = Scene(BLACK.copy()), np.random.default_rng(0)
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 255, 255)):
        assert scene.add(square(24, colour), *rng.integers(-8, 50, 2), shadow=(0.5, 3, 3, 5))
    total = scene.clear.copy()
    for target in scene.targets:
        here, there = overlap(total.shape, target.coverage.shape, target.x, target.y)
        total[here] += target.coverage[there]
    assert np.abs(total - 1).max() < 1e-5


def test_what_is_mostly_covered_is_no_target_any_more() -> None:
    scene = Scene(BLACK.copy())
    scene.add(square(20), 30, 20)
    assert scene.visible(scene.targets[0], 4) is not None
    scene.add(square(24, (0, 255, 0)), 30, 20)
    assert scene.visible(scene.targets[0], 4) is None
    seen = scene.visible(scene.targets[1], 4)
    assert seen is not None
    assert seen.shape == (16, 24)
    assert seen.sum() * 16 == pytest.approx(24 * 24, rel=0.02)


def test_nothing_is_laid_down_that_nobody_could_tell_from_what_lies_beneath() -> None:
    scene = Scene(np.full_like(BLACK, 90))
    before = scene.rgb.copy()
    assert not scene.add(square(20, (95, 88, 90)), 30, 20, shadow=(0.5, 0, 0, 5))
    assert (scene.rgb == before).all()
    assert not scene.targets
    assert not scene.add(square(20), 200, 20), "outside of the picture"


def test_the_box_of_a_thing_reaches_out_of_the_picture_with_it() -> None:
    scene = Scene(BLACK.copy())
    scene.add(square(20), -12, 50)
    target = scene.targets[0]
    assert tight_box(target.coverage, target.x, target.y) == (-10, 52, 9, 71)


def test_things_are_compact_whole_and_neither_tiny_nor_large() -> None:
    size = (100, 100)
    frame = rectangle(size, slice(20, 80), slice(20, 80)) & ~rectangle(size, slice(23, 77), slice(23, 77))
    thing, part = rectangle(size, slice(30, 60), slice(35, 70)), rectangle(size, slice(40, 50), slice(40, 60))
    part_elsewhere = rectangle(size, slice(30, 33), slice(35, 45)) | rectangle(size, slice(55, 58), slice(60, 63))
    masks = {
        "speck": rectangle(size, slice(50, 55), slice(50, 55)),
        "large": rectangle(size, slice(10, 90), slice(10, 90)),
        "border": rectangle(size, slice(0, 30), slice(40, 70)),
        "frame": frame,
        "apart": rectangle(size, slice(5, 15), slice(5, 15)) | rectangle(size, slice(80, 90), slice(15, 25)),
        "thing": thing,
    }
    rng = np.random.default_rng(0)
    for name, mask in masks.items():
        assert len(find_things([encode_rle(mask)], 1, rng)) == (name == "thing"), name
    found = [find_things([encode_rle(m) for m in (thing, part, part_elsewhere)], 3, rng) for _ in range(3)]
    parts = [inside for things in found for whole, inside in things if (whole == thing).all()]
    assert len(parts) == 3
    assert all(any((each == part).all() for each in inside) for inside in parts)


def test_pictures_may_have_more_masks_than_a_byte_counts() -> None:
    masks = [encode_rle(rectangle((64, 64), slice(8, 30), slice(8, 30 + i % 7))) for i in range(300)]
    assert len(find_things(masks, 2, np.random.default_rng(0))) == 2


def test_a_thing_is_cut_out_at_the_size_asked_for_with_its_parts() -> None:
    size = (100, 100)
    thing, part = disc(100, 40), disc(100, 40) & rectangle(size, slice(10, 50), slice(10, 90))
    rgb = np.where(thing[..., None], (255, 0, 0), (0, 0, 255)).astype(np.uint8)
    layer = cut_out(rgb, thing, [part], 40, np.random.default_rng(1))
    whole, inside = layer.masks
    assert layer.rgb.shape == (*whole.shape, 3) == (44, 44, 3), "40 x 40 and two more pixels on each side"
    assert 0.85 < whole.sum() / (np.pi * 20**2) < 1
    assert inside.sum() == pytest.approx(whole.sum() / 2, rel=0.1)
    assert (inside <= whole).all()
    assert layer.rgb[whole > 0.5][:, 2].mean() < 3, "hardly anything of what was behind it"


@pytest.mark.parametrize(("columns", "x0"), [(slice(0, 52), 52), (slice(60, 80), 20)])
def test_the_box_of_a_covered_mask_fits_what_is_left(columns: slice, x0: int, monkeypatch: pytest.MonkeyPatch) -> None:
    below = source(rectangle((100, 100), slice(20, 90), slice(20, 90)))
    cover_columns(columns, monkeypatch)
    sample = make_sample(below, 100, 100, 8, AugmentConfig(copy_paste=1.0), np.random.default_rng(0))
    assert sample.boxes[0].tolist() == pytest.approx([x0, 20, 89, 89], abs=0.5)
    assert sample.masks[0, 8, columns.start // 4 : columns.stop // 4].max() == 0


def test_the_box_of_a_covered_mask_still_reaches_out_of_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    below = source(rectangle((100, 100), slice(5, 95), slice(5, 95)))
    boxes = []
    for columns in (slice(0, 0), slice(0, 40)):
        cover_columns(columns, monkeypatch)
        sample = make_sample(below, 400, 100, 8, AugmentConfig(copy_paste=1.0, max_area=1), np.random.default_rng(3))
        boxes.append(sample.boxes[0].tolist())
    assert boxes[0] == pytest.approx(boxes[1])
    assert boxes[0][2] - boxes[0][0] == pytest.approx(90 * 4 - 1)


def cover_columns(columns: slice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Things over all of these columns, themselves no masks."""

    def cover(scene: Scene, draw: object, count: int, rng: np.random.Generator) -> None:
        scene.clear[:, columns] = 0
        scene.targets.append(Target(np.zeros((4, 4), np.float32), 0, 0, whole=1.0))

    monkeypatch.setattr(samples, "_paste_things", cover)
