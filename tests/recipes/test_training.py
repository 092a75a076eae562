"""The recipes: the paper's numbers, and configs that fit their models."""

import pytest
import torch

from opensam.models import zoo
from opensam.models.vit import ViTConfig
from opensam.recipes.training import RECIPES, sam_vit_b, sam_vit_h, sam_vit_l
from opensam.train.segment import plan_rounds


def test_vit_h_is_trained_as_in_the_paper() -> None:
    (config,) = sam_vit_h()
    assert config.steps == 90_000
    assert config.batch_size * config.accumulate * config.devices * config.nodes == 256
    assert config.masks_per_image == 64
    optim = config.optim
    assert (optim.lr, optim.warmup, optim.weight_decay, optim.betas) == (8e-4, 250, 0.1, (0.9, 0.999))
    assert [round(share * config.steps) for share in optim.milestones] == [60_000, 86_666]
    assert (optim.layer_decay, config.drop_path, config.decoder_dropout) == (0.8, 0.4, 0.1)
    segment = config.segment
    assert (segment.mask_loss, segment.mask_weight, segment.dice_weight, segment.iou_weight) == ("focal", 20, 1, 1)
    assert (segment.box_probability, segment.box_noise, segment.clicks, segment.mask_rounds) == (0.5, 0.1, 8, 2)
    assert not segment.random_clicks
    assert segment.single_mask_boxes == 0
    augment = config.augment
    assert (augment.scale, augment.flip, augment.max_area) == ((1.0, 1.0), 0.0, 0.9), "SA-1B is not augmented"


@pytest.mark.parametrize(
    ("recipe", "lr", "layer_decay", "drop_path"), [(sam_vit_l, 4e-4, 0.8, 0.4), (sam_vit_b, 8e-4, 0.6, 0.6)]
)
def test_the_smaller_models_differ_as_in_the_paper(recipe, lr, layer_decay, drop_path) -> None:
    (config,) = recipe()
    assert config.steps == 180_000
    assert config.batch_size * config.devices * config.nodes == 128
    assert (config.optim.lr, config.optim.layer_decay, config.drop_path) == (lr, layer_decay, drop_path)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_its_model(name: str) -> None:
    for config in RECIPES[name]():
        encoder = zoo.find(config.model).config.image_encoder
        crop = config.crop_size or config.image_size
        assert isinstance(encoder, ViTConfig) == name.startswith("sam")
        assert not isinstance(encoder, ViTConfig) or crop == encoder.image_size, "its positions are for whole squares"
        assert plan_rounds(config.segment, torch.Generator())
