"""The copy for inference predicts what the model predicts, and the model stays as it is."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from opensam.models.fast_tiny_vit import FastTinyViT
from opensam.models.inference import for_inference
from opensam.prompts import Prompts

PROMPTS = Prompts(point_coords=torch.tensor([[[40.0, 60.0]], [[200.0, 100.0]]]), point_labels=torch.ones(2, 1))
MASKED = dataclasses.replace(PROMPTS, mask_input=torch.linspace(-9, 9, 2 * 64 * 64).sin().view(2, 1, 64, 64))


@pytest.mark.parametrize("prompts", [PROMPTS, MASKED], ids=["points", "points and masks"])
@torch.no_grad()
def test_masks_are_those_of_the_model(sam, prompts):
    pixels = torch.randn(1, 3, 256, 256, dtype=torch.float64)
    fast = for_inference(sam, torch.float64)
    assert isinstance(fast.image_encoder, FastTinyViT)
    for found, expected in zip(fast(pixels, prompts, True), sam(pixels, prompts, True), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_the_model_stays_as_it_is_and_the_copy_shares_nothing_with_it(make_sam, dtype):
    sam = make_sam(0).train()
    encoder, before = sam.image_encoder, copy.deepcopy(sam.state_dict())
    fast = for_inference(sam, dtype)
    assert sam.training
    assert sam.image_encoder is encoder
    assert all(one.requires_grad for one in sam.parameters())
    for value in [*fast.parameters(), *fast.buffers()]:
        value.data.zero_()
    for name, value in sam.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not fast.training
    assert not any(one.requires_grad for one in fast.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_pixels_embeddings_and_masks_are_float32_in_every_smaller_type(sam, dtype):
    fast = for_inference(sam, dtype)
    pixels = fast.preprocess(torch.zeros(3, 256, 256, dtype=torch.uint8))
    embeddings = fast.encode(pixels)
    masks, iou = fast.decode(embeddings, PROMPTS, True)
    assert {pixels.dtype, embeddings.dtype, masks.dtype, iou.dtype, fast.dtype} == {torch.float32}


def test_a_copy_of_a_copy_is_refused(sam):
    with pytest.raises(ValueError, match="give the model it was made from"):
        for_inference(for_inference(sam))


def test_a_part_without_a_fast_path_is_copied(make_sam):
    sam = make_sam(0)
    sam.image_encoder = nn.Conv2d(3, 256, 16, 16)
    fast = for_inference(sam)
    assert isinstance(fast.image_encoder, nn.Conv2d)
    assert fast.image_encoder is not sam.image_encoder
