"""The training loop: batches in a fixed order, one optimiser step each, checkpoints from which a run goes on exactly.

A step is made of micro-batches, numbered over all processes. Everything random in micro-batch m of step n is drawn from
(seed, n, m). So a resumed run sees what an uninterrupted one would have seen, a checkpoint needs no state of a data
loader, and two processes see what one process sees that accumulates two micro-batches.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict

from opensam.config import Config, check_same_config
from opensam.files import replacing, sweep
from opensam.train.log import RunLog, Validation
from opensam.train.optim import Average, OptimConfig, learning_rate, make_optimizer, same_rate
from opensam.train.parallel import (
    GATHERED,
    Precision,
    Strategy,
    gathered_state,
    load_gathered_state,
    make_fabric,
    usable,
)


class TrainingError(ValueError):
    """A run that cannot go on; the message says why, and where its last good checkpoint stands."""


class RunConfig(Config):
    """What all kinds of training have in common.

    Attributes:
        batch_size: pictures per micro-batch.
        accumulate: micro-batches per step and process; their gradients are averaged.
        steps: optimiser steps.
        seed: of everything random.
        loader_threads: threads per process that make batches ahead.
        log_every: steps per line of the log.
        save_every: seconds between checkpoints.
        validate_every: steps between validations; 0: only at the end.
        patience: validations in a row without a better score, after which the run ends; 0: never.
        devices, nodes, strategy, precision: see `parallel.make_fabric`. On a CPU a device is one thread: two
            processes of one thread are nearly twice as fast as one process of two.
        optim: see there.
    """

    # How a run shows and stores itself and reads its data, not what it learns.
    may_differ = ("log_every", "save_every", "validate_every", "loader_threads")

    batch_size: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1)
    steps: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)
    loader_threads: int = Field(default=1, ge=1)
    log_every: int = Field(default=50, ge=1)
    save_every: float = Field(default=300.0, ge=0)
    validate_every: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    devices: int = Field(default=1, ge=1)
    nodes: int = Field(default=1, ge=1)
    strategy: Strategy = "ddp"
    precision: Precision = "auto"
    optim: OptimConfig = OptimConfig()


@dataclass(frozen=True)
class Task:
    """What a run trains.

    Attributes:
        step: a module called as `step(batch, shared, generator)`, which returns the loss and facts for the log, all
            scalars. `shared` is a generator in the same state in all processes of a step, `generator` is not.
        model: the part of `step` that is optimised, averaged and released.
        draw: makes a batch from a generator; called by several threads at once.
        save: writes weights (the state dict of `model`, averaged) to a path.
        validate: measures the model that it is given.
        rate_factor: of the name of a parameter of `model`, on its learning rate.
    """

    step: nn.Module
    model: nn.Module
    draw: Callable[[np.random.Generator], Any]
    save: Callable[[dict[str, Tensor], Path], None]
    validate: Callable[[nn.Module], Validation] | None = None
    rate_factor: Callable[[str], float] = same_rate


@dataclass(frozen=True)
class Progress:
    """What a run tells about itself every `log_every` steps: means since the last time."""

    step: int
    steps: int
    images_per_second: float
    facts: dict[str, float]


class Trainer:
    """A run in a folder.

    It leaves `last.pt` to resume from, `model.safetensors` (averaged weights), `best.safetensors` (those with the best
    score, if there is a validation), `log.csv`, `validation.csv` and `tensorboard/`. In a folder that has a `last.pt`
    the run goes on.

    Raises:
        TrainingError: the folder holds a run of another config, or a checkpoint that cannot be read.
    """

    def __init__(self, task: Task, config: RunConfig, folder: Path) -> None:
        self.task, self.config, self.folder = task, config, folder
        self.fabric = make_fabric(config.devices, config.nodes, config.strategy, config.precision)
        task.step.train().to(self.fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module = self.fabric.setup_module(task.step)
        self.optimizer = make_optimizer(task.model, config.optim, task.rate_factor)
        self.average = Average(task.model, config.optim.ema)
        self.step = 0
        self.best, self.since_best = float("-inf"), 0
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that a run resumes from."""
        return self.folder / "last.pt"

    def fit(self, on_progress: Callable[[Progress], None]) -> None:
        """Train up to the last step of the config.

        Raises:
            TrainingError: the loss is not finite, or a checkpoint cannot be written.
        """
        log = None
        if self.fabric.is_global_zero:
            sweep(self.folder)
            log = RunLog(self.folder, self.step)
        try:
            self._fit(on_progress, log)
        finally:
            if log is not None:
                log.close()
        self.fabric.barrier()  # the others may need what the first one wrote

    def _fit(self, on_progress: Callable[[Progress], None], log: RunLog | None) -> None:
        config = self.config
        since, saved, history = time.monotonic(), time.monotonic(), list[dict[str, Tensor]]()
        if self._is_stale():
            return
        self.module.train()
        for micro_batches in self._batches():
            history.append(self._train_step(micro_batches))
            self.step += 1
            last = self.step == config.steps
            if self.step % config.log_every == 0 or last:
                progress = self._progress(history, time.monotonic() - since)
                if log is not None:
                    speed = {"images_per_second": progress.images_per_second}
                    log.write("log", self.step, speed | progress.facts)
                    on_progress(progress)
                since, history = time.monotonic(), []
            if last or (config.validate_every and self.step % config.validate_every == 0):
                self._validate(log)
                last = last or self._is_stale()
            if last or self._is_due(saved):
                self.save()
                saved = time.monotonic()
            if last:
                return

    def _is_stale(self) -> bool:
        """Whether the score has not become better for so long that the run ends."""
        return 0 < self.config.patience <= self.since_best

    def _is_due(self, saved: float) -> bool:
        """Whether to save; the clock of the first process decides for all, because all take part."""
        due = time.monotonic() - saved > self.config.save_every
        return due if self.fabric.world_size == 1 else bool(self.fabric.broadcast(due))

    def _train_step(self, micro_batches: list[Any]) -> dict[str, Tensor]:
        rate = learning_rate(self.step, self.config.steps, self.config.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        facts = [self._backward(number, batch) for number, batch in enumerate(micro_batches)]
        norm = nn.utils.clip_grad_norm_(self.task.model.parameters(), self.config.optim.clip)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        finite = bool(torch.isfinite(norm))
        if finite:
            self.optimizer.step()
        else:  # an overflow in one gradient must not end a run of hours, a loss that is no number must
            self._stop_at_bad_loss([float(one["loss"]) for one in facts], micro_batches)
        self.optimizer.zero_grad()
        self.average.update(self.task.model)
        means = {name: torch.stack([one[name].detach().float() for one in facts]).mean() for name in facts[0]}
        extra = {"grad_norm": norm.detach(), "skipped": torch.tensor(float(not finite)), "lr": torch.tensor(rate)}
        return means | extra

    def _backward(self, number: int, batch: Any) -> dict[str, Tensor]:
        """Add the gradient of one micro-batch."""
        config, fabric = self.config, self.fabric
        shared = torch.Generator().manual_seed(_seed(config.seed, self.step))
        seed = _seed(config.seed, self.step, self._micro(number))
        generator = torch.Generator(fabric.device).manual_seed(seed)
        waits = number < config.accumulate - 1
        # Dropout knows the global generator only: it is set for the step, and put back.
        with torch.random.fork_rng(), fabric.no_backward_sync(self.module, enabled=waits):
            torch.manual_seed(seed)
            loss, facts = self.module(batch, shared, generator)
            fabric.backward(loss / config.accumulate)
        return facts | {"loss": loss.detach()}

    def _micro(self, number: int) -> int:
        """The number of this process's micro-batch among all of the step."""
        return self.fabric.global_rank * self.config.accumulate + number

    def _stop_at_bad_loss(self, losses: list[float], micro_batches: list[Any]) -> None:
        """All processes come here together, because all have the same gradient."""
        bad = [batch for loss, batch in zip(losses, micro_batches, strict=True) if not np.isfinite(loss)]
        names = [name for batch in bad for name in getattr(batch, "names", [])]
        counted: Any = self.fabric.all_reduce(torch.tensor(float(len(bad))), reduce_op="sum")
        if not float(counted):
            return
        kept = f"{self.checkpoint} is from before" if self.checkpoint.exists() else "nothing was saved yet"
        where = f"; its pictures were {', '.join(names)}" if names else ""
        raise TrainingError(
            f"expected a finite loss, got {losses} in step {self.step + 1}{where}; {kept}: "
            "look at these pictures, or lower optim.lr"
        )

    def _batches(self) -> Iterator[list[Any]]:
        """The micro-batches of each step from the current one on, made ahead by `loader_threads` threads."""
        config, threads = self.config, self.config.loader_threads
        wanted = ((step, n) for step in range(self.step, config.steps) for n in range(config.accumulate))

        def make(step: int, number: int) -> Any:
            return self.task.draw(np.random.default_rng((config.seed, step, self._micro(number))))

        with ThreadPoolExecutor(threads) as pool:
            ahead: list[Future[Any]] = []
            batches: list[Any] = []
            try:
                for _ in range((config.steps - self.step) * config.accumulate):
                    while len(ahead) <= threads and (next_one := next(wanted, None)):
                        ahead.append(pool.submit(make, *next_one))
                    batches.append(ahead.pop(0).result())
                    if len(batches) == config.accumulate:
                        yield batches
                        batches = []
            finally:
                for future in ahead:
                    future.cancel()

    def _validate(self, log: RunLog | None) -> None:
        """Measure the averaged weights; every process does, since each may hold a part of them."""
        if self.task.validate is None:
            return
        with self.average.applied(self.task.model), torch.no_grad():
            with usable(self.task.step):
                result = self.task.validate(self.task.model.eval())
            # The first process decides for all: batch-norm statistics are not quite the same everywhere.
            score = result.score if self.fabric.world_size == 1 else float(self.fabric.broadcast(result.score))
            better = score > self.best
            weights: dict[str, Any] = get_model_state_dict(self.task.model, options=GATHERED) if better else {}
        self.module.train()
        self.best, self.since_best = (score, 0) if better else (self.best, self.since_best + 1)
        if better and self.fabric.is_global_zero:
            self._write(lambda: self.task.save(weights, self.folder / "best.safetensors"))
        if log is not None:
            log.write("validation", self.step, result.facts)
            log.show(self.step, result.pictures)

    def save(self) -> None:
        """Write `last.pt` and `model.safetensors`, each in one piece or not at all; every process takes part.

        Raises:
            TrainingError: they cannot be written; what stood there before still does.
        """
        state = gathered_state(self.task.model, self.optimizer, self.average)
        if not self.fabric.is_global_zero:
            return
        state |= {"step": self.step, "best": self.best, "since_best": self.since_best}
        state |= {"config": self.config.model_dump(mode="json")}

        def write() -> None:
            with replacing(self.checkpoint) as temporary:
                torch.save(state, temporary)
            self.task.save(state["average"], self.folder / "model.safetensors")

        self._write(write)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, RuntimeError) as error:  # torch says a full disk with a RuntimeError
            raise TrainingError(
                f"expected to write a checkpoint of step {self.step} to {self.folder}, got: {error}; "
                "make room on the disk and repeat the command, which goes on from the checkpoint before"
            ) from error

    def _resume(self) -> None:
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            check_same_config(self.folder, state["config"], self.config)
            load_gathered_state(self.task.model, self.optimizer, self.average, state)
            self.step, self.best, self.since_best = state["step"], state["best"], state["since_best"]
        except (RuntimeError, KeyError, EOFError, OSError) as error:
            raise TrainingError(
                f"expected the checkpoint of a run in {self.checkpoint}, got one that cannot be read: {error}; "
                "delete it to begin again, or choose another folder"
            ) from error

    def _progress(self, history: list[dict[str, Tensor]], elapsed: float) -> Progress:
        images = len(history) * self.config.batch_size * self.config.accumulate * self.fabric.world_size
        names = dict.fromkeys(name for facts in history for name in facts)
        means = {name: float(np.mean([float(facts[name]) for facts in history if name in facts])) for name in names}
        return Progress(self.step, self.config.steps, images / elapsed, means)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
