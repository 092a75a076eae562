"""One training step: rounds, prompts, and what the loss sees."""

import numpy as np
import pytest
import torch
from torch import Tensor

from opensam.data.samples import Batch
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.prompts import Prompts
from opensam.train.segment import SegmentConfig, SegmentStep, plan_rounds


class Oracle(Sam):
    """Answers every prompt with the true mask, and remembers what it was asked."""

    def __init__(self, masks: Tensor, image_index: Tensor, image_size: int = 64) -> None:
        super().__init__(SamConfig(image_encoder=TinyViTConfig(image_size=image_size)))
        self.truth, self.truth_index, self.asked = masks, image_index, list[tuple[Prompts, bool]]()
        self.origins: list[tuple[int, int]] = []

    def decode(
        self, image_embeddings: Tensor, prompts: Prompts, multimask_output: bool, origin: tuple[int, int] = (0, 0)
    ) -> tuple[Tensor, Tensor]:
        """The mask of the prompt's picture: these tests have one mask per picture."""
        self.asked.append((prompts, multimask_output))
        self.origins.append(origin)
        assert prompts.image_index is not None
        logits = 40 * (2 * self.truth[prompts.image_index][:, None] - 1)
        count = 3 if multimask_output else 1
        return logits.expand(-1, count, -1, -1), torch.ones(prompts.count, count)


@pytest.fixture
def batch() -> Batch:
    masks = torch.zeros(4, 16, 16)
    for i in range(4):
        masks[i, 2 : 8 + i, 3:12] = 1
    boxes = torch.tensor([[12.0, 8.0, 47.0, 31.0 + 4 * i] for i in range(4)])
    images = [torch.full((3, 48, 64), 40 * i, dtype=torch.uint8) for i in range(4)]
    return Batch(images, masks, boxes, torch.arange(4))


def test_the_papers_rounds() -> None:
    rounds = plan_rounds(SegmentConfig(), torch.Generator().manual_seed(0))
    assert len(rounds) == 11
    assert sum(rounds) == 8
    assert (rounds[0], rounds[-1]) == (False, False)
    places = {tuple(plan_rounds(SegmentConfig(), torch.Generator().manual_seed(s))).index(False, 1) for s in range(200)}
    assert len(places) == 9, "the other round without a click comes at a random place"


def test_an_oracle_costs_nothing_in_any_round(batch: Batch) -> None:
    oracle = Oracle(batch.masks, batch.image_index)
    rounds = plan_rounds(SegmentConfig(), torch.Generator().manual_seed(0))
    loss, facts = SegmentStep(oracle, SegmentConfig()).run_rounds(batch, rounds, torch.Generator().manual_seed(1))
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert facts["last_iou"] == 1


def test_points_add_up_logits_come_back_and_only_the_first_round_is_ambiguous(batch: Batch) -> None:
    oracle = Oracle(batch.masks, batch.image_index)
    config = SegmentConfig(box_probability=0.0)
    SegmentStep(oracle, config).run_rounds(batch, [False, True, False, True, False], torch.Generator().manual_seed(1))
    assert [multimask for _, multimask in oracle.asked] == [True, False, False, False, False]
    assert [p.point_coords.shape[1] for p, _ in oracle.asked if p.point_coords is not None] == [1, 2, 2, 3, 3]
    assert [p.mask_input is None for p, _ in oracle.asked] == [True, False, False, False, False]
    first = oracle.asked[0][0].point_coords
    assert first is not None
    x, y = (first[:, 0] / 4).long().T
    assert (batch.masks[torch.arange(4), y, x] == 1).all(), "the first click lies in the mask"


def test_crops_lie_anywhere_in_the_square_and_prompts_with_them(batch: Batch) -> None:
    oracle = Oracle(batch.masks, batch.image_index, image_size=256)
    step = SegmentStep(oracle, SegmentConfig(box_noise=0.0))
    for seed in range(40):
        step.run_rounds(batch, [False, True], torch.Generator().manual_seed(seed))
    for (prompts, _), (row, column) in zip(oracle.asked, oracle.origins, strict=True):
        corner, index = torch.tensor([column * 16, row * 16]), prompts.image_index
        assert index is not None
        if prompts.boxes is not None:
            assert torch.equal(prompts.boxes - corner.repeat(2), batch.boxes[index])
        if prompts.point_coords is not None:
            x, y = ((prompts.point_coords - corner) / 4).long().unbind(dim=-1)
            assert (batch.masks[index[:, None], y, x] == 1).all(), "an oracle leaves nothing to correct"
    rows, columns = (set(places) for places in zip(*oracle.origins, strict=True))
    assert rows == columns == set(range(13)), "256 - 64 pixels are 12 cells"


def test_boxes_and_points_share_a_batch(batch: Batch) -> None:
    oracle = Oracle(batch.masks, batch.image_index)
    SegmentStep(oracle, SegmentConfig()).run_rounds(batch, [False], torch.Generator().manual_seed(3))
    kinds = [(p.boxes is not None, p.count) for p, _ in oracle.asked]
    assert kinds == [(True, 2), (False, 2)]


def test_only_the_best_of_three_masks_is_taught(batch: Batch) -> None:
    step = SegmentStep(Oracle(batch.masks, batch.image_index), SegmentConfig())
    logits = torch.zeros(4, 3, 16, 16)
    logits[:, 1] = 2 * batch.masks - 1
    logits.requires_grad_()
    loss, _ = step._loss(logits, torch.zeros(4, 3), batch.masks)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[:, 1].abs().sum() > 0
    assert logits.grad[:, [0, 2]].abs().sum() == 0


def test_every_parameter_of_the_model_learns(batch: Batch) -> None:
    torch.manual_seed(0)
    sam = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=64)))
    config = SegmentConfig(mask_loss="cross_entropy")
    loss, _ = SegmentStep(sam, config).run_rounds(
        batch, [False, True, False], torch.Generator().manual_seed(int(np.pi))
    )
    loss.backward()
    without = [name for name, p in sam.named_parameters() if p.grad is None]
    assert without == []
