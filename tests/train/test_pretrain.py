"""Crops of pictures without labels, and the step that learns from them."""

from pathlib import Path

import numpy as np
import pydantic
import pytest
import torch
from tests.data.layouts import write

from opensam import image
from opensam.data.pictures import PictureSource
from opensam.data.specs import open_pictures
from opensam.models.mae import MaeConfig
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.train.pretrain import (
    CropConfig,
    PictureBatch,
    PretrainConfig,
    PretrainStep,
    draw_crops,
    draw_window,
)

TINY = SamConfig(image_encoder=TinyViTConfig(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4)))
WHOLE = CropConfig(area=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)


def slope(height: int = 40, width: int = 40) -> image.Rgb:
    """Dark on the left, light on the right."""
    levels = np.linspace(0, 255, width, dtype=np.uint8)
    return np.repeat(np.tile(levels, (height, 1))[..., None], 3, axis=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "set", {f"{n}.png": slope(40 + n, 40) for n in range(4)})
    return tmp_path / "set"


def source(folder: Path) -> PictureSource:
    return PictureSource(open_pictures([str(folder)]))


def test_crops_depend_on_the_generator_alone(folder: Path) -> None:
    first, again = (draw_crops(source(folder), 3, 32, CropConfig(), np.random.default_rng(5)) for _ in range(2))
    assert first.images.shape == (3, 3, 32, 32)
    assert first.images.dtype == torch.uint8
    assert torch.equal(first.images, again.images)
    assert first.names == again.names
    other = draw_crops(source(folder), 3, 32, CropConfig(), np.random.default_rng(6))
    assert not torch.equal(first.images, other.images)


def test_every_picture_comes_equally_often_and_is_named(folder: Path) -> None:
    batch = draw_crops(source(folder), 400, 8, WHOLE, np.random.default_rng(0))
    counts = [batch.names.count(f"set/{n}") for n in range(4)]
    assert sum(counts) == 400
    assert min(counts) > 70


def test_half_of_the_crops_are_mirrored(folder: Path) -> None:
    config = WHOLE.model_copy(update={"flip": 0.5})
    images = draw_crops(source(folder), 200, 8, config, np.random.default_rng(0)).images.float()
    mirrored = images[..., 0].mean((1, 2)) > images[..., -1].mean((1, 2))
    assert 70 < int(mirrored.sum()) < 130
    assert not (draw_crops(source(folder), 20, 8, WHOLE, np.random.default_rng(0)).images[..., 0] > 127).any()


def test_colours_change_only_where_that_is_wanted(folder: Path) -> None:
    plain = draw_crops(source(folder), 8, 40, WHOLE, np.random.default_rng(0)).images.float()
    assert (plain.mean((1, 2, 3)) - 127.5).abs().max() < 2
    config = WHOLE.model_copy(update={"color": 0.4})
    changed = draw_crops(source(folder), 8, 40, config, np.random.default_rng(0)).images.float()
    assert (changed.mean((1, 2, 3)) - 127.5).abs().max() > 10


def test_windows_have_the_area_and_ratio_that_were_asked_for() -> None:
    rng, config = np.random.default_rng(0), CropConfig(area=(0.2, 0.5), ratio=(0.5, 2.0))
    shares, ratios = [], []
    for _ in range(500):
        rows, columns = draw_window((1000, 1000), config, rng)
        assert 0 <= rows.start < rows.stop <= 1000
        assert 0 <= columns.start < columns.stop <= 1000
        height, width = rows.stop - rows.start, columns.stop - columns.start
        shares.append(height * width / 1e6)
        ratios.append(width / height)
    assert 0.195 < min(shares) < 0.22
    assert 0.48 < max(shares) < 0.505
    assert 0.49 < min(ratios) < 0.55
    assert 1.8 < max(ratios) < 2.05
    assert 0.4 < np.mean(np.array(ratios) < 1) < 0.6


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3)])
def test_windows_of_odd_pictures_lie_inside_them(size: tuple[int, int]) -> None:
    for seed in range(50):
        window = draw_window(size, CropConfig(area=(0.01, 1.0)), np.random.default_rng(seed))
        for part, side in zip(window, size, strict=True):
            assert 0 <= part.start < part.stop <= side


def test_broken_pictures_are_passed_over_and_listed(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    pictures = source(folder)
    batch = draw_crops(pictures, 100, 8, WHOLE, np.random.default_rng(0))
    assert {*batch.names} == {f"set/{n}" for n in range(4)}
    assert pictures.skipped.keys() == {("set", "broken"), ("set", "cut")}
    assert "no image format" in pictures.skipped["set", "broken"]


def test_only_broken_pictures_are_one_sentence(tmp_path: Path) -> None:
    tmp_path.joinpath("a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"expected pictures that can be read, got 100 in a row.*the last was a of"):
        source(tmp_path).draw(np.random.default_rng(0))


def test_the_step_normalises_as_the_model_does() -> None:
    sam = Sam(TINY)
    step = PretrainStep(sam, MaeConfig(method="simmim"))
    images = torch.randint(256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    assert torch.equal(step.preprocess(images), sam.preprocess(images)[..., :64, :64])


def test_the_step_trains_the_encoder_of_the_model_in_place() -> None:
    torch.manual_seed(0)
    sam = Sam(TINY)
    step = PretrainStep(sam, MaeConfig(method="spark", decoder_width=16, decoder_depth=1, decoder_heads=2))
    images = torch.randint(256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    batch = PictureBatch(images, ("a", "b"))
    loss, facts = step(batch, torch.Generator(), torch.Generator().manual_seed(3))
    again, _ = step(batch, torch.Generator().manual_seed(9), torch.Generator().manual_seed(3))
    assert torch.equal(loss, again), "the second generator decides, which every process has for itself"
    assert facts == {}
    loss.backward()
    assert sam.get_parameter("image_encoder.patch_embed.seq.0.c.weight").grad is not None


@pytest.mark.parametrize(
    "values", [{"area": (0.0, 1.0)}, {"area": (0.5, 0.2)}, {"area": (0.5, 1.5)}, {"ratio": (0.0, 1.0)}, {"flip": 2.0}]
)
def test_crops_that_no_picture_has_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError, match=next(iter(values))):
        CropConfig.model_validate(values)


def test_the_defaults_are_those_of_mae() -> None:
    config = PretrainConfig()
    assert (config.crop_size, config.crop.area, config.crop.flip) == (224, (0.2, 1.0), 0.5)
    assert (config.mae.mask_ratio, config.mae.decoder_width, config.mae.decoder_depth) == (0.75, 512, 8)
