"""One picture through the image encoder: our inference path, our plain encoder, and that of `transformers.SamModel`.

    python -m benchmarks.encode --model vit_b --threads 1
    python -m benchmarks.encode --model tiny --threads 1      # transformers has no TinyViT: fast against plain

Same architecture, same random weights, same picture; all embeddings must agree, or nothing is written. Each side runs
in processes of its own, the sides take turns, figures are medians. bfloat16 is measured where the device has it.
Memory is the peak while encoding above what is held before (weights, imports): resident on a CPU, of torch on a GPU.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.train_step import SMALL, synchronise
from torch import Tensor, nn

from benchmarks import report
from opensam.models import checkpoints, zoo
from opensam.models.inference import for_inference
from opensam.models.sam import Sam, SamConfig
from opensam.precision import has_bfloat16

TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
# Largest distance from the reference relative to its norm; bfloat16 has 8 bits, and 32 blocks add up.
TOLERANCE = {"float32": 1e-4, "bf16": 5e-2}
Encode = Callable[[Tensor], Tensor]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.side:
        print(json.dumps(run_side(options)))
        return
    sides = all_sides(options)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        options.weights = Path(folder)
        checkpoints.save(random_sam(options), options.weights / "weights.safetensors")
        for repeat in range(options.repeats):
            for side in sides if repeat % 2 == 0 else sides[::-1]:
                runs[side].append(in_own_process(side, options))
                print(f"repeat {repeat + 1}, {side}: {runs[side][-1]}", file=sys.stderr, flush=True)
        errors = differences({side: torch.load(options.weights / f"{side}.pt") for side in sides})
    check_same_embeddings(errors)
    content, text = summary(runs, errors, options)
    name = f"encode_{options.model}_{torch.device(options.device).type}_{options.threads}"
    report.write(options.out, name, content, text)
    print(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_b", help="a name of the zoo, or small, which is for trying this out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", nargs="+", choices=TYPES, help="default: those which the device computes with")
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--encodes", type=int, default=3, help="timed encodings per process, after one to warm up")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/encode"))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.encodes < 1 or options.repeats < 1:
        parser.error("expected at least one encoding and one repeat")
    if options.precision is None:
        options.precision = ["float32", "bf16"] if has_bfloat16(torch.device(options.device)) else ["float32"]
    return options


def all_sides(options: argparse.Namespace) -> list[str]:
    """Who is measured; the first is what the others are compared with."""
    peers = ["transformers"] if architecture(options).image_encoder.kind == "vit" else []
    given = {"float32": (*peers, "plain", "fast"), "bf16": (*peers, "fast")}
    return [f"{who}-{precision}" for precision in options.precision for who in given[precision]]


def architecture(options: argparse.Namespace) -> SamConfig:
    config = SMALL if options.model == "small" else zoo.find(options.model).config
    encoder = config.image_encoder.model_copy(update={"image_size": options.image_size})
    return config.model_copy(update={"image_encoder": encoder})


def random_sam(options: argparse.Namespace) -> Sam:
    """Random weights in which everything matters: what starts at zero (positions, biases) is drawn too."""
    torch.manual_seed(options.seed)
    sam = Sam(architecture(options)).eval()
    for parameter in sam.image_encoder.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return sam


def in_own_process(side: str, options: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "device", "image_size", "threads", "encodes", "seed", "weights")
    given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
    command = [sys.executable, "-m", "benchmarks.encode", f"--side={side}", *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@torch.inference_mode()
def run_side(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each encoding and the most memory; the embeddings go to a file beside the weights."""
    torch.set_num_threads(options.threads)
    encode = encoder_of(options)
    size, rng = options.image_size, torch.Generator().manual_seed(options.seed)
    pixels = torch.randn(1, 3, size, size, generator=rng).to(options.device)
    held = held_mib(options.device)
    torch.save(encode(pixels).float().cpu(), options.weights / f"{options.side}.pt")
    seconds, processor = [], []
    for _ in range(options.encodes):
        synchronise(options.device)
        start, used = time.perf_counter(), time.process_time()
        encode(pixels)
        synchronise(options.device)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    # A kernel that takes back idle pages meanwhile can leave less than was held.
    peak = max(0.0, peak_mib(options.device) - held)
    return {"seconds": seconds, "processor_seconds": processor, "peak_mib": peak}


def encoder_of(options: argparse.Namespace) -> Encode:
    who, precision = options.side.split("-")
    dtype = TYPES[precision]
    state = checkpoints.read_state_dict(options.weights / "weights.safetensors")
    if who == "transformers":
        from benchmarks import transformers_step

        model = transformers_step.build(architecture(options), state).eval().vision_encoder.to(options.device, dtype)
        return lambda pixels: model(pixels.to(dtype)).last_hidden_state
    sam = Sam(architecture(options)).eval()
    checkpoints.load_into(sam, state, "weights.safetensors")
    return (sam if who == "plain" else for_inference(sam, dtype)).image_encoder.to(options.device)


def held_mib(device: str) -> float:
    """Memory in use now; from here on a new peak counts."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to VmRSS
    return resident_mib("VmRSS")


def peak_mib(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if device.startswith("cuda") else resident_mib("VmHWM")


def resident_mib(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise ValueError(f"expected {name} in /proc/self/status, got none; run this on Linux")
    return int(found[1]) / 1024


def differences(embeddings: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """How far each side is from the first one: of everything relative to its norm, and of the worst value."""
    first = next(iter(embeddings.values()))
    return {
        side: {
            "relative": float((given - first).norm() / first.norm()),
            "largest": float((given - first).abs().max()),
        }
        for side, given in embeddings.items()
    }


def check_same_embeddings(errors: dict[str, dict[str, float]]) -> None:
    """Raises ValueError unless all sides compute the same thing."""
    for side, error in errors.items():
        allowed = TOLERANCE[side.split("-")[1]]
        if not error["relative"] <= allowed:
            raise ValueError(f"expected embeddings within {allowed} of the first side, got {error} of {side}")


def summary(
    runs: dict[str, list[dict[str, Any]]], errors: dict[str, dict[str, float]], options: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """What is written, and the table: medians over all encodings, and how many times faster than the first side."""
    figures = {side: medians(of_side) for side, of_side in runs.items()}
    first = next(iter(figures.values()))
    speedup = {side: first["seconds"] / of_side["seconds"] for side, of_side in figures.items()}
    chosen = {name: str(value) for name, value in vars(options).items() if name not in ("side", "weights", "out")}
    packages = ["transformers"] if any("transformers" in side for side in runs) else []
    facts = report.conditions(options.device, options.seed, *packages)
    facts["machine"]["threads"] = options.threads
    results = {"medians": figures, "speedup": speedup, "errors": errors, "runs": runs}
    content = {"settings": chosen, **facts, **results}
    heads = ["", "seconds", "processor seconds", "peak MiB above the weights", "relative error", "times as fast"]
    rows = [
        [
            side.replace("-", " "),
            *(f"{value:.4g}" for value in figures[side].values()),
            f"{errors[side]['relative']:.1g}",
            f"{speedup[side]:.2f}",
        ]
        for side in runs
    ]
    head = (
        f"One picture through the image encoder: {options.model} at {options.image_size} px, {facts['device']}, "
        f"{options.threads} thread(s), {options.repeats} processes a side, load average {facts['load_average'][0]}, "
        f"commit {facts['commit']}.\n\n"
    )
    return content, head + report.table(heads, rows)


def medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    seconds = statistics.median(one for run in runs for one in run["seconds"])
    processor = statistics.median(one for run in runs for one in run["processor_seconds"])
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_mib": statistics.median(run["peak_mib"] for run in runs),
    }


if __name__ == "__main__":
    main()
