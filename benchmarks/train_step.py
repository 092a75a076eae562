"""One promptable training step of the paper (11 rounds): ours against a plain loop over `transformers.SamModel`.

    python -m benchmarks.train_step --out docs/results/train_step

Same architecture, weights, pictures, masks and prompts; the losses of the first step must agree, or it stops.
Each side runs in a process of its own, the sides take turns, figures are medians. Loading pictures is not timed.
Peak memory is what is resident on a CPU (imports included) and what torch allocated on a GPU.
"""

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import report
from opensam.data.mixture import open_mixture
from opensam.data.samples import AugmentConfig, Batch, make_batch
from opensam.models import checkpoints, zoo
from opensam.models.sam import Sam, SamConfig
from opensam.models.vit import ViTConfig
from opensam.train.optim import OptimConfig, make_optimizer
from opensam.train.segment import SegmentConfig, SegmentStep

SIDES = ("opensam", "transformers")
SMALL = SamConfig(image_encoder=ViTConfig(embed_dim=192, depth=4, num_heads=3, global_attn_indexes=(1, 3)))
TOLERANCE = {"32-true": 1e-3, "bf16-mixed": 3e-2}  # relative, of the loss of the first step: 8 bits of bfloat16
CLIP, RATE = 1.0, 1e-5


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.side:
        print(json.dumps(run_side(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.weights = Path(folder) / "weights.safetensors"
        torch.manual_seed(options.seed)
        checkpoints.save(Sam(architecture(options)), options.weights)
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for repeat in range(options.repeats):
            for side in SIDES if repeat % 2 == 0 else SIDES[::-1]:
                runs[side].append(in_own_process(side, options))
                print(f"repeat {repeat + 1}, {side}: {runs[side][-1]}", file=sys.stderr, flush=True)
    check_same_loss(runs, options.precision)
    content, text = summary(runs, options)
    report.write(options.out, f"train_step_{torch.device(options.device).type}", content, text)
    print(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sam_vit_b", help="sam_vit_b, sam_vit_l, sam_vit_h, or small for a trial")
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument("--image-size", type=int, default=1024 if gpu else 256)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--masks", type=int, default=64 if gpu else 8, help="per picture")
    parser.add_argument("--precision", choices=TOLERANCE, default="bf16-mixed" if gpu else "32-true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--warm-up", type=int, default=3 if gpu else 1, help="steps that are not counted")
    parser.add_argument("--steps", type=int, default=10 if gpu else 2, help="timed steps per process")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/train_step"))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.steps < 1 or options.repeats < 1:
        parser.error("expected at least one step and one repeat")
    return options


def architecture(options: argparse.Namespace) -> SamConfig:
    config = SMALL if options.model == "small" else zoo.find(options.model).config
    encoder = config.image_encoder.model_copy(update={"image_size": options.image_size})
    return config.model_copy(update={"image_encoder": encoder})


def in_own_process(side: str, options: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "device", "image_size", "batch_size", "masks", "precision", "threads", "data", "warm_up", "steps")
    given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in (*names, "seed", "weights")]
    command = [sys.executable, "-m", "benchmarks.train_step", f"--side={side}", *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_side(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    mixture, size, count = open_mixture([options.data], 0.5), options.image_size, options.warm_up + options.steps
    batches = [
        make_batch(
            mixture,
            options.batch_size,
            size,
            size,
            options.masks,
            AugmentConfig(),
            np.random.default_rng((options.seed, n)),
        )
        for n in range(count)
    ]
    step = (our_step if options.side == "opensam" else their_step)(options)
    seconds, processor, losses = [], [], []
    for number, batch in enumerate(batches):
        shared = torch.Generator().manual_seed(number)
        generator = torch.Generator(options.device).manual_seed(number)
        synchronise(options.device)
        start, used = time.perf_counter(), time.process_time()
        loss = step(batch, shared, generator)
        synchronise(options.device)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
        losses.append(float(loss))
    timed = slice(options.warm_up, None)
    facts = {"first_loss": losses[0], "seconds": seconds[timed], "processor_seconds": processor[timed]}
    return facts | {"peak_mib": peak_mib(options.device)}


Step = Callable[[Batch, torch.Generator, torch.Generator], Tensor]


def our_step(options: argparse.Namespace) -> Step:
    sam = Sam(architecture(options))
    checkpoints.load_into(sam, checkpoints.read_state_dict(options.weights), options.weights)
    module = SegmentStep(sam, SegmentConfig()).train().to(options.device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(sam, OptimConfig(lr=RATE))
    return optimised(lambda *given: module(*given)[0], sam, optimizer, options)


def their_step(options: argparse.Namespace) -> Step:
    from benchmarks import transformers_step

    model = transformers_step.build(architecture(options), checkpoints.read_state_dict(options.weights))
    model = model.to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1)
    return optimised(lambda *given: transformers_step.step_loss(model, *given), model, optimizer, options)


def optimised(loss_of: Step, model: nn.Module, optimizer: torch.optim.Optimizer, options: argparse.Namespace) -> Step:
    def step(batch: Batch, shared: torch.Generator, generator: torch.Generator) -> Tensor:
        with torch.autocast(
            torch.device(options.device).type, torch.bfloat16, enabled=options.precision == "bf16-mixed"
        ):
            loss = loss_of(batch, shared, generator)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak_mib(device: str) -> float:
    """Most memory of this process so far: of torch on a GPU, else resident (Linux)."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    # Not ru_maxrss, which a process takes over from the one that started it.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise ValueError("expected VmHWM in /proc/self/status, got none; run this on Linux")
    return int(found[1]) / 1024


def check_same_loss(runs: dict[str, list[dict[str, Any]]], precision: str) -> None:
    """Raises ValueError unless both sides have one first loss: otherwise they do not do the same."""
    losses = [run["first_loss"] for side in SIDES for run in runs[side]]
    apart = max(losses) - min(losses) > TOLERANCE[precision] * max(losses)
    if apart or not all(map(math.isfinite, losses)):
        raise ValueError(f"expected the same loss of the first step on both sides, got {losses}; one has changed")


def summary(runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """What is written, and the table: medians over all steps, and ours over theirs."""
    figures = {side: medians(runs[side], options.batch_size) for side in SIDES}
    ours, theirs = (figures[side] for side in SIDES)
    ratio = {name: ours[name] / theirs[name] for name in ours}
    chosen = {name: str(value) for name, value in vars(options).items() if name not in ("side", "weights", "out")}
    facts = report.conditions(options.device, options.seed, "transformers")
    facts["machine"]["threads"] = options.threads
    content = {"settings": chosen, **facts, "medians": figures, "opensam_over_transformers": ratio, "runs": runs}
    heads = ["", "images/s", "seconds/step", "processor seconds/step", "peak MiB"]
    rows = [[side, *(f"{value:.4g}" for value in figures[side].values())] for side in SIDES]
    rows.append(["opensam / transformers", *(f"{value:.2f}" for value in ratio.values())])
    head = (
        f"One training step of 11 rounds: {options.model} at {options.image_size} px, {options.batch_size} picture(s) "
        f"with {options.masks} masks, {options.precision}, {facts['device']}, {options.threads} thread(s), "
        f"{options.repeats} processes a side, load average {facts['load_average'][0]}, commit {facts['commit']}.\n\n"
    )
    return content, head + report.table(heads, rows)


def medians(runs: list[dict[str, Any]], images: int) -> dict[str, float]:
    seconds = statistics.median(one for run in runs for one in run["seconds"])
    processor = statistics.median(one for run in runs for one in run["processor_seconds"])
    peak = statistics.median(run["peak_mib"] for run in runs)
    return {"images_per_second": images / seconds, "seconds": seconds, "processor_seconds": processor, "peak_mib": peak}


if __name__ == "__main__":
    main()
