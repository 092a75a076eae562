"""The training loop: batches in a fixed order, one optimiser step each, checkpoints from which a run goes on exactly.

Everything random in step n of process r is drawn from (seed, n, r). So a resumed run sees what an uninterrupted one
would have seen, and a checkpoint needs no state of a data loader.
"""

import csv
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pydantic
import torch
from torch import nn

from opensam.config import Config
from opensam.data.mixture import Mixture
from opensam.data.samples import AugmentConfig, Batch, make_batch
from opensam.files import replacing
from opensam.models import checkpoints
from opensam.models.prompt_encoder import EMBEDDING_STRIDE
from opensam.models.sam import Sam
from opensam.train.optim import OptimConfig, learning_rate, make_average, make_optimizer
from opensam.train.segment import SegmentConfig, SegmentStep, plan_rounds


class TrainConfig(Config):
    """One run.

    Attributes:
        image_size: side of the model's square.
        crop_size: side of the crops that the model is trained on, a multiple of 16; None: whole squares.
        batch_size: pictures per step.
        masks_per_image: prompts per picture, on as many of its masks as it has (the paper has at most 64 per GPU).
        steps: optimiser steps.
        seed: of everything random.
        devices: processes that share the work, each with `batch_size` pictures and one device (on a CPU, one thread:
            two processes of one thread are nearly twice as fast as one process of two).
        precision: of Lightning Fabric: "bf16-mixed" or "32-true".
        mixture_power: a data set of n pictures is drawn with weight n ** power.
        loader_threads: threads that make batches ahead.
        freeze_batch_norm: keep batch-norm statistics and weights as they are, for small batches of large pictures.
        log_every: steps per line of the log.
        save_every: seconds between checkpoints.
        ordered_positions: a run from random weights begins with `start.order_positions`; the official models did not.
        segment, augment, optim: see there.
    """

    image_size: int = 1024
    crop_size: int | None = None
    batch_size: int = 8
    masks_per_image: int = 8
    steps: int = 1000
    seed: int = 0
    devices: int = 1
    precision: str = "bf16-mixed"
    mixture_power: float = 0.5
    loader_threads: int = 1
    freeze_batch_norm: bool = False
    log_every: int = 50
    save_every: float = 300.0
    ordered_positions: bool = False
    segment: SegmentConfig = SegmentConfig()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()

    @pydantic.model_validator(mode="after")
    def _crops_fit(self) -> Self:
        crop = self.crop_size
        if crop is not None and (crop % EMBEDDING_STRIDE or not 0 < crop <= self.image_size):
            raise ValueError(
                f"expected crop_size as a multiple of {EMBEDDING_STRIDE} up to image_size {self.image_size}, got {crop}"
            )
        return self


@dataclass(frozen=True)
class Progress:
    """What a run tells about itself every `log_every` steps: means since the last time."""

    step: int
    steps: int
    images_per_second: float
    facts: dict[str, float]


class Trainer:
    """A run in a folder: `last.pt` to resume from, `model.safetensors` (averaged weights), `log.csv`."""

    def __init__(self, sam: Sam, mixture: Mixture, config: TrainConfig, folder: Path) -> None:
        self.config, self.mixture, self.folder = config, mixture, folder
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy

        self.fabric = Fabric(
            devices=config.devices,
            precision=config.precision,  # type: ignore[arg-type]
            # A round without clicks or logits leaves some parameters without gradient.
            strategy=DDPStrategy(find_unused_parameters=True) if config.devices > 1 else "auto",
        )
        self.fabric.launch()
        sam = sam.train().to(self.fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sam = sam
        self.average = make_average(sam, config.optim.ema)
        self.model, self.optimizer = self.fabric.setup(
            SegmentStep(sam, config.segment), make_optimizer(sam, config.optim)
        )
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that a run resumes from."""
        return self.folder / "last.pt"

    def fit(self, on_progress: Callable[[Progress], None]) -> None:
        """Train up to the last step of the config."""
        config = self.config
        since, saved, sums = time.monotonic(), time.monotonic(), dict[str, list[float]]()
        self._set_mode()
        for batch in self._batches():
            facts = self._train_step(batch)
            for name, value in facts.items():
                sums.setdefault(name, []).append(value)
            self.step += 1
            if self.step % config.log_every == 0 or self.step == config.steps:
                if self.fabric.is_global_zero:
                    progress = self._progress(sums, time.monotonic() - since)
                    self._log(progress)
                    on_progress(progress)
                since, sums = time.monotonic(), {}
            if time.monotonic() - saved > config.save_every:
                self.save()
                saved = time.monotonic()
        self.save()
        self.fabric.barrier()  # the others may need what the first one wrote

    def _train_step(self, batch: Batch) -> dict[str, float]:
        rate = learning_rate(self.step, self.config.steps, self.config.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rounds = plan_rounds(self.config.segment, torch.Generator().manual_seed(_seed(self.config.seed, self.step)))
        generator = torch.Generator(self.fabric.device)
        generator.manual_seed(_seed(self.config.seed, self.step, self.fabric.global_rank))
        loss, facts = self.model(batch, rounds, generator)
        self.fabric.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.sam.parameters(), self.config.optim.clip)
        if torch.isfinite(norm):  # one bad batch must not end a run of hours
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update_parameters(self.sam)
        return {name: float(value) for name, value in facts.items()} | {"grad_norm": float(norm), "lr": rate}

    def _batches(self) -> Iterator[Batch]:
        """The batches from the current step on, made ahead by `loader_threads` threads."""
        config, threads = self.config, self.config.loader_threads

        def make(step: int) -> Batch:
            rng = np.random.default_rng((config.seed, step, self.fabric.global_rank))
            return make_batch(
                self.mixture,
                config.batch_size,
                config.image_size,
                config.crop_size or config.image_size,
                config.masks_per_image,
                config.augment,
                rng,
            )

        with ThreadPoolExecutor(threads) as pool:
            ahead: list[Future[Batch]] = []
            for step in range(self.step, config.steps):
                while len(ahead) <= threads and step + len(ahead) < config.steps:
                    ahead.append(pool.submit(make, step + len(ahead)))
                yield ahead.pop(0).result()

    def _set_mode(self) -> None:
        self.model.train()
        if self.config.freeze_batch_norm:
            for module in self.sam.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def save(self) -> None:
        """Write `last.pt` and `model.safetensors`, each in one piece or not at all (the first process does)."""
        if not self.fabric.is_global_zero:
            return
        state = {
            "step": self.step,
            "model": self.sam.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing(self.checkpoint) as temporary:
            torch.save(state, temporary)
        averaged = self.average.module
        if not isinstance(averaged, Sam):
            raise TypeError(f"expected the average of a Sam, got {type(averaged).__name__}")
        checkpoints.save(averaged, self.folder / "model.safetensors")

    def _resume(self) -> None:
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=self.fabric.device, weights_only=True)
        self.sam.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _progress(self, sums: dict[str, list[float]], elapsed: float) -> Progress:
        images = len(sums["loss"]) * self.config.batch_size * self.config.devices
        means = {name: float(np.mean(values)) for name, values in sums.items()}
        return Progress(self.step, self.config.steps, images / elapsed, means)

    def _log(self, progress: Progress) -> None:
        row = {"step": progress.step, "images_per_second": progress.images_per_second, **progress.facts}
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(row)
            writer.writerow(f"{value:.6g}" for value in row.values())


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
