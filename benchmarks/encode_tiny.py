"""One picture through the TinyViT encoder: the plain network against the one for inference.

    python -m benchmarks.encode_tiny --out docs/results/encode_tiny

Same weights (`opensam_tiny`) and pixels in one process; the sides take turns, figures are medians. Beside seconds stand
processor seconds, which hold on a busy machine, and the relative error of the embeddings against the plain network in
float32. In bf16 the plain network runs under autocast.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import opensam
from benchmarks import report
from opensam.models.inference import for_inference
from opensam.precision import has_bfloat16

WORST_ERROR = {"float32": 1e-4, "bf16": 0.05}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    sam = opensam.load(device=options.device)
    generator = torch.Generator().manual_seed(options.seed)
    # Noise of several scales: flat noise alone would be a picture that the network never saw.
    layers = [torch.rand(1, 3, n, n, generator=generator) for n in (4, 32, options.image_size)]
    picture = sum(torch.nn.functional.interpolate(one, options.image_size, mode="bilinear") for one in layers) * 85
    pixels = sam.preprocess(picture.to(options.device), options.image_size)
    sides = make_sides(sam, pixels, options.precision)
    seconds: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    outputs = {side: run() for side, run in sides.items()}
    for repeat in range(options.repeats):
        for side in list(sides) if repeat % 2 == 0 else list(sides)[::-1]:
            seconds[side].append(timed(sides[side], options.device))
    content, text = summary(outputs, seconds, options)
    report.write(options.out, f"encode_tiny_{torch.device(options.device).type}", content, text)
    print(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device)
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    precisions = ["float32", "bf16"] if has_bfloat16(torch.device(device)) else ["float32"]
    parser.add_argument("--precision", nargs="+", choices=["float32", "bf16"], default=precisions)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/encode_tiny"))
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("expected at least one repeat")
    return options


def make_sides(sam: opensam.Sam, pixels: Tensor, precisions: list[str]) -> dict[str, Callable[[], Tensor]]:
    """What is compared; the plain network in float32 is always among it, and first."""

    def plain(mixed: bool) -> Tensor:
        with torch.no_grad(), torch.autocast(pixels.device.type, torch.bfloat16) if mixed else nullcontext():
            return sam.encode(pixels)

    sides: dict[str, Callable[[], Tensor]] = {"plain float32": lambda: plain(False)}
    if "bf16" in precisions:
        sides["plain bf16"] = lambda: plain(True)
    for name in precisions:
        fast = for_inference(sam, {"float32": torch.float32, "bf16": torch.bfloat16}[name])
        sides[f"inference {name}"] = lambda fast=fast: fast.encode(pixels)
    return sides


def timed(run: Callable[[], Tensor], device: str) -> tuple[float, float]:
    """Seconds and processor seconds."""
    start, used = time.perf_counter(), time.process_time()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - used


def summary(
    outputs: dict[str, Tensor], seconds: dict[str, list[tuple[float, float]]], options: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """What is written, and the table; raises ValueError if the sides do not compute the same."""
    expected = outputs["plain float32"]
    figures = {}
    for side, runs in seconds.items():
        error = float((outputs[side].float() - expected).norm() / expected.norm())
        if error > WORST_ERROR[side.split()[1]]:
            raise ValueError(f"expected the embeddings of the plain network, got a relative error of {error} ({side})")
        wall, processor = (statistics.median(one) for one in zip(*runs, strict=True))
        figures[side] = {"seconds": wall, "processor_seconds": processor, "relative_error": error}
    for one in figures.values():
        one["times_faster"] = figures["plain float32"]["seconds"] / one["seconds"]
    facts = report.conditions(options.device, options.seed)
    facts["machine"]["threads"] = options.threads
    content = {"settings": {k: str(v) for k, v in vars(options).items() if k != "out"}, **facts, "medians": figures}
    heads = ["", "seconds", "processor seconds", "relative error", "times faster"]
    rows = [[side, *(f"{value:.2g}" for value in one.values())] for side, one in figures.items()]
    head = (
        f"TinyViT over {options.image_size} px, {facts['device']}, {options.threads} thread(s), {options.repeats} "
        f"runs a side, load average {facts['load_average'][0]}, commit {facts['commit']}.\n\n"
    )
    return content, head + report.table(heads, rows)


if __name__ == "__main__":
    main()
