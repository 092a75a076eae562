"""Eight pictures by heart: the measure and the choice of pictures; the benchmark itself takes minutes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import overfit
from opensam.data.samples import AugmentConfig, Batch, make_batch
from opensam.models.sam import Sam
from opensam.prompts import Prompts


class Answers(Sam):
    """Gives every box the true mask, and every point three masks, of which the second is true."""

    def __init__(self, truth: Tensor, ranked: int) -> None:
        torch.nn.Module.__init__(self)
        self.truth, self.ranked = 2 * truth.float() - 1, ranked
        self.register_buffer("pixel_mean", torch.zeros(3, 1, 1))

    def preprocess(self, images: Tensor) -> Tensor:
        return images[None].float()

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode(
        self, image_embeddings: Tensor, prompts: Prompts, multimask_output: bool, origin: tuple[int, int] = (0, 0)
    ) -> tuple[Tensor, Tensor]:
        if not multimask_output:
            return self.truth[:, None], torch.ones(len(self.truth), 1)
        scores = torch.nn.functional.one_hot(torch.tensor(self.ranked), 3).float().expand(len(self.truth), -1)
        return torch.stack([-self.truth, self.truth, -self.truth], dim=1), scores


@pytest.fixture
def batch() -> Batch:
    return make_batch(
        overfit.eight("synthetic:30", overfit.config([])), 1, 64, 64, 3, AugmentConfig(), np.random.default_rng(0)
    )


@pytest.mark.parametrize(("ranked", "point_iou"), [(1, 1.0), (0, 0.0)])
def test_true_masks_score_1_where_the_model_ranks_them_first(batch: Batch, ranked: int, point_iou: float) -> None:
    facts = overfit.measure(Answers(batch.masks > 0.5, ranked), [batch])
    assert facts == {"box_iou": 1.0, "point_iou": point_iou}
    assert overfit.passed(facts) == (ranked == 1)


def test_eight_pictures_are_eight_different_ones() -> None:
    mixture = overfit.eight("synthetic:30", overfit.config([]))
    assert len({source.name for dataset in mixture.datasets for source in map(dataset.read, range(len(dataset)))}) == 8
    with pytest.raises(ValueError, match="8 pictures with large masks in synthetic:5"):
        overfit.eight("synthetic:5", overfit.config([]))


def test_the_curve_has_a_row_per_validation(tmp_path: Path) -> None:
    encoder = 'encoder={"kind":"tiny_vit","embed_dims":[8,8,16,16],"depths":[1,1,1,1],"num_heads":[1,1,1,1]}'
    config = overfit.config([encoder, "steps=2", "validate_every=1", "batch_size=2"])
    curve = overfit.learn(overfit.eight("synthetic:30", config), config, tmp_path)
    assert [row["step"] for row in curve] == [1, 2]
    assert all(0 <= row["box_iou"] <= 1 and row["processor_minutes"] > 0 for row in curve)


def test_what_does_not_learn_ends_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"step": 1, "box_iou": 0.99, "point_iou": 0.9, "minutes": 1.0, "processor_minutes": 1.0}
    monkeypatch.setattr(overfit, "learn", lambda *_: [row])
    with pytest.raises(SystemExit, match="eight pictures were not learnt"):
        overfit.main(["--out", str(tmp_path), "--threads", str(torch.get_num_threads())])
    assert "0.990" in (tmp_path / "overfit.md").read_text()
