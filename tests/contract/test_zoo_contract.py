"""What every row of the zoo promises, computed from the models themselves."""

import re
from math import prod

import pytest
import torch

from opensam.models.layouts import infer_config
from opensam.models.sam import Sam
from opensam.models.zoo import ModelSpec, find, list_models
from opensam.prompts import Prompts

ROWS = list_models()
every_row = pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.name)


def build(spec: ModelSpec) -> Sam:
    """Without memory and without arithmetic: shapes only."""
    with torch.device("meta"):
        return Sam(spec.config, spec.name).eval()


@every_row
def test_the_number_of_parameters_is_the_one_in_the_table(spec: ModelSpec) -> None:
    assert sum(parameter.numel() for parameter in build(spec).parameters()) == spec.params


@every_row
def test_shapes_from_pixels_to_masks(spec: ModelSpec) -> None:
    sam = build(spec)
    side = spec.config.image_size
    pixels = sam.preprocess(torch.zeros(2, 3, side, side // 2, dtype=torch.uint8, device="meta"))
    assert pixels.shape == (2, 3, side, side)
    embeddings = sam.encode(pixels)
    assert embeddings.shape == (2, 256, side // 16, side // 16)
    # Values are looked at when prompts are made, so these are real; the model is not.
    sam.prompt_encoder.to_empty(device="cpu")
    sam.mask_decoder.to_empty(device="cpu")
    prompts = Prompts(boxes=torch.tensor([[0.0, 0, 9, 9]] * 3), image_index=torch.tensor([0, 1, 1]))
    for multimask_output, count in ((True, 3), (False, 1)):
        masks, iou = sam.decode(torch.zeros(embeddings.shape), prompts, multimask_output)
        assert masks.shape == (3, count, side // 4, side // 4)
        assert iou.shape == (3, count)


@every_row
def test_the_weights_say_which_model_they_belong_to(spec: ModelSpec) -> None:
    inferred = infer_config(build(spec).state_dict())
    if spec.config.image_encoder.kind == "tiny_vit":  # its shapes do not tell its square: MobileSAM's is assumed
        assert inferred.image_size == 1024
        inferred = inferred.with_overrides([f"image_encoder.image_size={spec.config.image_size}"])
    assert inferred == spec.config


@every_row
def test_weights_come_from_the_package_or_from_a_checked_download(spec: ModelSpec) -> None:
    if spec.file is not None:
        assert (spec.url, spec.sha256, spec.bytes) == (None, None, None)
        assert re.fullmatch(r"weights/\w+\.safetensors", spec.file)
        return
    assert re.fullmatch(r"https://\S+\.pth?", spec.url)
    assert re.fullmatch("[0-9a-f]{64}", spec.sha256)
    tensors = build(spec).state_dict().values()
    stored = sum(prod(value.shape) * value.element_size() for value in tensors)
    extra = 1.3e6 if spec.name == "mobile_sam" else 0  # the ImageNet classifier in its file
    assert stored + extra < spec.bytes < 1.001 * (stored + extra) + 2e5


@every_row
def test_a_row_is_described(spec: ModelSpec) -> None:
    assert re.fullmatch(r"[a-z0-9_]+", spec.name)
    assert spec.license.startswith("Apache-2.0")
    assert 20 < len(spec.description) < 100
    assert "\n" not in spec.description


def test_names_and_aliases_are_unique() -> None:
    names = [name for spec in ROWS for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names))
    assert all(find(name).name == spec.name for spec in ROWS for name in (spec.name, *spec.aliases))


def test_the_default_model_is_in_the_package() -> None:
    assert find("opensam_tiny").file is not None
