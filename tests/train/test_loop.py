"""The training loop, tested by its numbers."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.data.test_samples import rectangle, source
from torch import Tensor, nn

from opensam.data.mixture import Mixture
from opensam.data.samples import AugmentConfig
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.recipes.promptable import promptable
from opensam.train.log import Validation
from opensam.train.loop import Progress, RunConfig, Task, Trainer, TrainingError
from opensam.train.optim import OptimConfig
from opensam.train.segment import SegmentConfig, TrainConfig

CONFIG = TrainConfig(
    model="opensam_tiny",
    image_size=64,
    batch_size=2,
    masks_per_image=2,
    steps=12,
    precision="32-true",
    log_every=1,
    segment=SegmentConfig(clicks=1, mask_rounds=0, mask_loss="cross_entropy", mask_weight=2.0, dice_weight=2.0),
    augment=AugmentConfig(scale=(0.8, 1.5), flip=0.5),
    drop_path=0.1,
    optim=OptimConfig(lr=1e-3, schedule="cosine", warmup=2, layer_decay=1.0, ema=0.9),
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
    Trainer(promptable(sam, mixture, config), config, folder).fit(
        lambda progress: losses.append(progress.facts["loss"])
    )
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
    sam = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=64)))
    interrupted = Trainer(promptable(sam, mixture, config), config, tmp_path / "cut")
    with pytest.raises(KilledError):
        interrupted.fit(kill_at_seven)
    rest, resumed = train(mixture, config, tmp_path / "cut")
    assert rest == whole[6:], "step 7 was lost with its checkpoint and is done again"
    with (tmp_path / "cut" / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == [str(step) for step in range(1, 13)], "none twice"
    assert all(torch.equal(weights[key], resumed[key]) for key in weights)


def test_a_run_leaves_weights_to_load_and_a_log(mixture: Mixture, tmp_path: Path) -> None:
    train(mixture, CONFIG, tmp_path)
    names = {"last.pt", "model.safetensors", "log.csv", "tensorboard"}
    assert {path.name for path in tmp_path.iterdir()} == names
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


def test_a_run_goes_on_with_the_same_config_only(mixture: Mixture, tmp_path: Path) -> None:
    short = CONFIG.with_overrides(["steps=1"])
    train(mixture, short, tmp_path)
    train(mixture, short.with_overrides(["log_every=5"]), tmp_path)
    with pytest.raises(ValueError, match=r"with optim.lr=0.001 instead of 0.002; repeat its options"):
        train(mixture, short.with_overrides(["optim.lr=0.002"]), tmp_path)


def test_a_damaged_checkpoint_is_named(mixture: Mixture, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half a fi")
    with pytest.raises(TrainingError, match=r"last.pt, got one that cannot be read.*delete it"):
        train(mixture, CONFIG, tmp_path)


class Broken(nn.Module):
    """Loses its mind in step 3."""

    def __init__(self, facts: float = float("nan")) -> None:
        super().__init__()
        self.weight, self.calls, self.bad = nn.Parameter(torch.ones(1)), 0, facts

    def forward(
        self, batch: Any, shared: torch.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        self.calls += 1
        loss = self.weight.square().sum()
        return (loss * self.bad if self.calls == 3 else loss), {}


class Named(NamedTuple):
    names: list[str]


def broken_task(bad: float) -> Task:
    def save(weights: dict[str, Tensor], path: Path) -> None:
        save_file(weights, path)

    step = Broken(bad)
    return Task(step, step, lambda rng: Named(["coco/0001", f"coco/{rng.integers(1)}"]), save)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_pictures(tmp_path: Path) -> None:
    config = RunConfig(steps=5, save_every=0, log_every=1)
    with pytest.raises(TrainingError, match=r"got \[nan\] in step 3; its pictures were coco/0001, coco/0; .*last.pt"):
        Trainer(broken_task(float("nan")), config, tmp_path).fit(lambda progress: None)
    assert torch.load(tmp_path / "last.pt")["step"] == 2, "the last good checkpoint stands"


def test_a_gradient_that_overflows_costs_one_step(tmp_path: Path) -> None:
    skipped: list[float] = []
    trainer = Trainer(broken_task(2.0), RunConfig(steps=5, log_every=1), tmp_path)
    hook = iter([1.0, 1.0, float("inf"), 1.0, 1.0])
    trainer.task.model.get_parameter("weight").register_hook(lambda gradient: gradient * next(hook))
    trainer.fit(lambda progress: skipped.append(progress.facts["skipped"]))
    assert skipped == [0, 0, 1, 0, 0]


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(steps=2, save_every=0)
    Trainer(broken_task(1.0), config.with_overrides(["steps=1"]), tmp_path / "a").fit(lambda progress: None)
    before = (tmp_path / "a" / "last.pt").read_bytes()

    def full(*args: object) -> None:
        Path(str(args[1])).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    trainer = Trainer(broken_task(1.0), config.with_overrides(["steps=1"]), tmp_path / "a")
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="No space left on device; make room"):
        trainer.save()
    assert (tmp_path / "a" / "last.pt").read_bytes() == before
    assert not list((tmp_path / "a").glob(".*"))


def scored_task(scores: list[float]) -> Task:
    left = iter(scores)
    return replace(broken_task(1.0), validate=lambda model: Validation({"score": 0.0}, next(left)))


def test_a_run_ends_when_its_score_no_longer_gets_better_and_keeps_the_best(tmp_path: Path) -> None:
    config = RunConfig(steps=50, validate_every=2, patience=2)
    seen: list[int] = []
    trainer = Trainer(scored_task([0.1, 0.3, 0.2, 0.3]), config, tmp_path)
    trainer.fit(lambda progress: seen.append(progress.step))
    assert trainer.step == 8
    best = load_file(tmp_path / "best.safetensors")["weight"]
    assert best > load_file(tmp_path / "model.safetensors")["weight"], "the weights of step 4; they shrink"
    again = Trainer(scored_task([]), config, tmp_path)
    again.fit(lambda progress: None)
    assert again.step == 8, "a run that ended is not gone on with"
