"""An image encoder that does not change sees each picture once."""

import pytest
import torch
from tests.conftest import MakeSam
from torch import Tensor

from opensam.data.samples import Batch
from opensam.train.frozen import EmbeddingMemory, FrozenEncoderStep
from opensam.train.segment import SegmentConfig, SegmentStep


def pictures(*numbers: int) -> list[Tensor]:
    return [torch.full((3, 8, 8), number, dtype=torch.uint8) for number in numbers]


def test_each_picture_is_encoded_once_and_comes_back_in_order() -> None:
    asked: list[int] = []

    def encode(missing: list[Tensor]) -> Tensor:
        asked.append(len(missing))
        return torch.stack([picture.float().mean((1, 2))[:, None, None] for picture in missing])

    cache = EmbeddingMemory(limit=1e6)
    assert cache.embed(pictures(1, 2, 1), encode)[:, 0, 0, 0].tolist() == [1, 2, 1]
    assert cache.embed(pictures(2, 3, 1), encode)[:, 0, 0, 0].tolist() == [2, 3, 1]
    assert asked == [2, 1]
    assert cache.embed([torch.full((3, 4, 16), 1, dtype=torch.uint8)], encode).shape == (1, 3, 1, 1)
    assert asked == [2, 1, 1], "the same bytes in another shape are another picture"


def test_what_does_not_fit_is_not_kept() -> None:
    cache = EmbeddingMemory(limit=100)
    for _ in range(2):
        assert cache.embed(pictures(1, 2), lambda missing: torch.ones(len(missing), 20)).shape == (2, 20)
    assert (len(cache.kept), cache.size) == (1, 80)


def test_loss_and_gradients_are_those_without_a_cache(make_sam: MakeSam) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (3, 192, 256), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(2, 64, 64)
    masks[:, 8:30, 10:40] = 1
    batch = Batch([image], masks, torch.tensor([[40.0, 32, 159, 119]] * 2), torch.zeros(2, dtype=torch.int64))
    config = SegmentConfig(clicks=1, mask_rounds=0)
    results, cache = [], EmbeddingMemory(1e9)
    for frozen in (False, True, True):
        sam = make_sam(1).float()
        sam.image_encoder.requires_grad_(False).eval()
        step = FrozenEncoderStep(sam, config, cache) if frozen else SegmentStep(sam, config)
        step.train()
        sam.image_encoder.eval()
        loss, _ = step(batch, torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
        loss.backward()
        norm = sum(float(one.grad.norm()) for one in sam.mask_decoder.parameters() if one.grad is not None)
        results.append((float(loss.detach()), norm))
    assert results[1] == results[2]
    assert results[1] == pytest.approx(results[0], rel=1e-5)


def test_the_encoder_stays_in_eval_mode(make_sam: MakeSam) -> None:
    sam = make_sam(1)
    step = FrozenEncoderStep(sam, SegmentConfig(), EmbeddingMemory(0)).train()
    assert step.training
    assert sam.mask_decoder.training
    assert not any(module.training for module in sam.image_encoder.modules())
