"""The training loop, tested by its numbers."""

import csv
from pathlib import Path

import pytest
import torch
from tests.data.test_samples import rectangle, source

from opensam.data.mixture import Mixture
from opensam.data.samples import AugmentConfig
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.train.loop import Progress, TrainConfig, Trainer
from opensam.train.optim import OptimConfig
from opensam.train.segment import SegmentConfig

CONFIG = TrainConfig(
    image_size=64,
    batch_size=2,
    masks_per_image=2,
    steps=12,
    precision="32-true",
    log_every=1,
    segment=SegmentConfig(clicks=1, mask_rounds=0, mask_loss="cross_entropy", mask_weight=2.0, dice_weight=2.0),
    augment=AugmentConfig(scale=(0.8, 1.5), flip=0.5),
    optim=OptimConfig(lr=1e-3, warmup=2, ema=0.9),
)


@pytest.fixture
def mixture() -> Mixture:
    return Mixture(
        [source(rectangle((64, 64), slice(8, 24 + 4 * n), slice(8, 40 + 2 * n))) for n in range(8)], power=0.5
    )


def train(mixture: Mixture, config: TrainConfig, folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    sam = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=64)))
    losses: list[float] = []
    Trainer(sam, mixture, config, folder).fit(lambda progress: losses.append(progress.facts["loss"]))
    return losses, sam.state_dict()


def test_it_learns_a_white_rectangle(mixture: Mixture, tmp_path: Path) -> None:
    losses, _ = train(mixture, CONFIG.with_overrides(["steps=30"]), tmp_path)
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])


def test_the_same_seed_gives_the_same_losses(mixture: Mixture, tmp_path: Path) -> None:
    first, again = (train(mixture, CONFIG, tmp_path / name)[0] for name in "ab")
    assert first == again
    other, _ = train(mixture, CONFIG.with_overrides(["seed=1"]), tmp_path / "c")
    assert first != other


def test_a_killed_run_goes_on_as_if_nothing_had_happened(mixture: Mixture, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    whole, weights = train(mixture, CONFIG, tmp_path / "whole")

    def kill_at_seven(progress: Progress) -> None:
        if progress.step == 7:
            raise KilledError

    torch.manual_seed(0)
    config = CONFIG.with_overrides(["save_every=0"])  # a checkpoint after every step
    interrupted = Trainer(Sam(SamConfig(image_encoder=TinyViTConfig(image_size=64))), mixture, config, tmp_path / "cut")
    with pytest.raises(KilledError):
        interrupted.fit(kill_at_seven)
    rest, resumed = train(mixture, config, tmp_path / "cut")
    assert rest == whole[6:], "step 7 was lost with its checkpoint and is done again"
    assert all(torch.equal(weights[key], resumed[key]) for key in weights)


def test_a_run_leaves_weights_to_load_and_a_log(mixture: Mixture, tmp_path: Path) -> None:
    train(mixture, CONFIG, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", "model.safetensors", "log.csv"}
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 13)]
    assert {"loss", "box_iou", "point_iou", "images_per_second", "lr"} <= set(rows[0])


def test_frozen_batch_norm_keeps_its_statistics(mixture: Mixture, tmp_path: Path) -> None:
    key = "image_encoder.patch_embed.seq.0.bn.running_mean"
    _, free = train(mixture, CONFIG.with_overrides(["steps=1"]), tmp_path / "free")
    _, frozen = train(mixture, CONFIG.with_overrides(["steps=1", "freeze_batch_norm=true"]), tmp_path / "frozen")
    assert free[key].abs().sum() > 0
    assert frozen[key].abs().sum() == 0
