"""What a promptable run may start from, and what it says about it."""

from pathlib import Path

import pytest
import torch
from tests.test_checkpoints import TINY, VIT, mae, make

from opensam.config import Config, write_run_json
from opensam.models.checkpoints import CheckpointError, save, save_encoder
from opensam.models.sam import Sam, SamConfig
from opensam.recipes.promptable import start_from


def split(sam: Sam) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Copies of the weights of the image encoder, and of the rest."""
    weights = {key: value.clone() for key, value in sam.state_dict().items()}
    encoder = {key for key in weights if key.startswith("image_encoder.")}
    return {k: weights[k] for k in weights if k in encoder}, {k: weights[k] for k in weights if k not in encoder}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_whole_model_is_loaded_whole(tmp_path: Path) -> None:
    trained, sam = make(TINY), Sam(TINY)
    save(trained, tmp_path / "a.safetensors")
    assert start_from(sam, tmp_path / "a.safetensors") == f"starts from the whole model in {tmp_path}/a.safetensors"
    assert same(sam.state_dict(), trained.state_dict())


@pytest.mark.parametrize("config", [TINY, VIT], ids=["tiny", "vit"])
@pytest.mark.parametrize("folder", [False, True], ids=["file", "run"])
def test_a_pre_trained_encoder_is_loaded_and_the_rest_stays_random(
    config: SamConfig, folder: bool, tmp_path: Path
) -> None:
    trained, sam = make(config), Sam(config)
    _, random = split(sam)
    save_encoder(trained, tmp_path / "model.safetensors")
    write_run_json(tmp_path, Config())
    sentence = start_from(sam, tmp_path if folder else tmp_path / "model.safetensors")
    assert sentence == (
        f"starts from the image encoder in {tmp_path}/model.safetensors; prompt encoder and mask decoder start from "
        "random weights"
    )
    encoder, rest = split(sam)
    assert same(encoder, split(trained)[0])
    assert same(rest, random)


def test_of_a_public_masked_autoencoder_the_neck_is_said_to_be_random(tmp_path: Path) -> None:
    torch.save({"model": mae()}, tmp_path / "mae_pretrain_vit_base.pth")
    sam = Sam(VIT)
    sentence = start_from(sam, tmp_path / "mae_pretrain_vit_base.pth")
    assert sentence.endswith("; its neck, prompt encoder and mask decoder start from random weights")
    assert torch.equal(sam.state_dict()["image_encoder.blocks.2.norm1.bias"], mae()["blocks.2.norm1.bias"])


def test_a_model_with_another_encoder_is_refused_as_before(tmp_path: Path) -> None:
    save(make(VIT), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="expected the weights of this model in"):
        start_from(Sam(TINY), tmp_path / "a.safetensors")
