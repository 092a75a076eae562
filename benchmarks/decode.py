"""Decoding 64 points on one picture, and clicks: our fast decoder, our plain one, and `transformers.SamModel`.

    python -m benchmarks.decode --out docs/results/decode

Same weights, image embeddings and points; the answers must agree, or nothing is written. Each side runs in a process of
its own, the sides take turns, figures are medians. The 64 points always fall on a picture that the decoder has not
seen; the clicks fall on one that it has, and the first click is given too. A refining click is a point with a mask as
prompt, on the same picture. Peak memory is what decoding adds to what is
resident before it on a CPU, and to what torch has allocated on a GPU. transformers computes with all it has in float32,
and in bfloat16 under autocast, as our plain decoder does.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import report, train_step
from opensam.models import checkpoints
from opensam.models.inference import for_inference
from opensam.models.sam import Sam
from opensam.precision import has_bfloat16
from opensam.prompts import Prompts

CONFIG = train_step.SMALL  # the decoder of every official model, and an encoder that is not used
SIDES = ("fast", "plain", "transformers")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE = {"float32": 1e-4, "bf16": 0.1}  # of the largest logit and the largest score
FIGURES = (
    "seconds_per_prompt",
    "processor_seconds_per_prompt",
    "first_click_seconds",
    "click_seconds",
    "refining_click_seconds",
    "peak_mib",
)
HEADS = ["", "ms/prompt", "processor ms/prompt", "first click ms", "click ms", "refining click ms", "peak MiB"]

Decode = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.side:
        print(json.dumps(run_side(options)))
        return
    names = [f"{side} {precision}" for precision in options.precision for side in SIDES]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        torch.manual_seed(options.seed)
        checkpoints.save(Sam(CONFIG), options.folder / "weights.safetensors")
        for repeat in range(options.repeats):
            for name in names if repeat % 2 == 0 else names[::-1]:
                runs[name].append(in_own_process(name, options))
                print(f"repeat {repeat + 1}, {name}: {runs[name][-1]}", file=sys.stderr, flush=True)
        errors = check_same_answer(options.folder, names)
    content, text = summary(runs, errors, options)
    name = f"decode_{torch.device(options.device).type}_{options.threads}"
    report.write(options.out, name, content, text)
    print(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", nargs="+", choices=DTYPES, help="default: those which the device computes with")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--grid", type=int, default=64, help="side of the image embedding")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, default=3, help="timed batches of prompts per process")
    parser.add_argument("--clicks", type=int, default=20, help="timed clicks per process")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/decode"))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if min(options.prompts, options.grid, options.batches, options.clicks, options.repeats) < 1:
        parser.error("expected at least one prompt, cell, batch, click and repeat")
    if options.precision is None:
        options.precision = ["float32", "bf16"] if has_bfloat16(torch.device(options.device)) else ["float32"]
    return options


def in_own_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    names = ("device", "prompts", "grid", "threads", "batches", "clicks", "seed", "folder")
    given = [f"--{one}={getattr(options, one)}" for one in names]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.decode", f"--side={name}", *given],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@torch.no_grad()
def run_side(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one process; its answer to the first batch is left in the folder."""
    torch.set_num_threads(options.threads)
    side, precision = options.side.split()
    decode = build(side, DTYPES[precision], options)
    generator = torch.Generator().manual_seed(options.seed)

    def picture() -> Tensor:
        return torch.randn(1, 256, options.grid, options.grid, generator=generator).to(options.device)

    def points(count: int) -> Tensor:
        return (torch.rand(count, 1, 2, generator=generator) * options.grid * 16).to(options.device)

    def mask() -> Tensor:
        return (5 * torch.randn(1, 1, 4 * options.grid, 4 * options.grid, generator=generator)).to(options.device)

    def timed(embeddings: Tensor, coords: Tensor, mask_input: Tensor | None = None) -> tuple[float, float]:
        train_step.synchronise(options.device)
        start, used = time.perf_counter(), time.process_time()
        decode(embeddings, coords, mask_input)
        train_step.synchronise(options.device)
        return (time.perf_counter() - start) / len(coords), (time.process_time() - used) / len(coords)

    before = forget_peak(options.device)
    answer = decode(picture(), points(options.prompts), None)
    peak = train_step.peak_mib(options.device) - before
    refined = decode(picture(), points(1), mask())
    torch.save([one.float().cpu() for one in (*answer, *refined)], options.folder / f"{options.side}.pt")
    del answer, refined
    batches = [timed(picture(), points(options.prompts)) for _ in range(options.batches)]
    held = picture()
    decode(picture(), points(1), None)
    first = timed(held, points(1))[0]
    clicks = [timed(held, points(1))[0] for _ in range(options.clicks)]
    refining = [timed(held, points(1), mask())[0] for _ in range(options.clicks)]
    per_prompt = map(statistics.median, zip(*batches, strict=True))
    figures = *per_prompt, first, statistics.median(clicks), statistics.median(refining), peak
    return dict(zip(FIGURES, figures, strict=True))


def build(side: str, dtype: torch.dtype, options: argparse.Namespace) -> Decode:
    """Image embeddings (1, 256, h, w), points (P, 1, 2) and masks to low_res_masks (P, 3, 4h, 4w) and scores (P, 3)."""
    weights = options.folder / "weights.safetensors"
    state = checkpoints.read_state_dict(weights)

    def mixed() -> AbstractContextManager[Any]:
        return nullcontext() if dtype == torch.float32 else torch.autocast(torch.device(options.device).type, dtype)

    if side == "transformers":
        from benchmarks import transformers_step

        model = transformers_step.build(CONFIG, state).eval().to(options.device)

        def theirs(embeddings: Tensor, coords: Tensor, mask_input: Tensor | None) -> tuple[Tensor, Tensor]:
            labels = torch.ones(1, len(coords), 1, dtype=torch.int64, device=coords.device)
            with mixed():
                answer = model(
                    image_embeddings=embeddings, input_points=coords[None], input_labels=labels, input_masks=mask_input
                )
            return answer.pred_masks[0], answer.iou_scores[0]

        return theirs
    sam = Sam(CONFIG).eval()
    checkpoints.load_into(sam, state, weights)
    if side == "fast":
        sam = for_inference(sam, dtype)
    sam.to(options.device)

    def ours(embeddings: Tensor, coords: Tensor, mask_input: Tensor | None) -> tuple[Tensor, Tensor]:
        labels = torch.ones(coords.shape[:2], device=coords.device)
        prompts = Prompts(point_coords=coords, point_labels=labels, mask_input=mask_input)
        with nullcontext() if side == "fast" else mixed():
            return sam.decode(embeddings, prompts, multimask_output=True)

    return ours


def forget_peak(device: str) -> float:
    """MiB that are taken now; from here on `peak_mib` starts anew."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of what is resident
    return train_step.peak_mib(device)


def check_same_answer(folder: Path, names: list[str]) -> dict[str, float]:
    """Largest error of each side against transformers in float32 (or the first that there is), of the largest value.

    Raises:
        ValueError: it is above the tolerance.
    """
    expected = torch.load(folder / f"{next(name for name in names if name.startswith('transformers'))}.pt")
    errors = {}
    for name in names:
        got = torch.load(folder / f"{name}.pt")
        errors[name] = max(
            ((one - other).abs().max() / other.abs().max()).item() for one, other in zip(got, expected, strict=True)
        )
        if not errors[name] <= TOLERANCE[name.split()[1]]:
            raise ValueError(f"expected the answer of transformers within {TOLERANCE}, got {errors}; one has changed")
    return errors


def summary(
    runs: dict[str, list[dict[str, Any]]], errors: dict[str, float], options: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """What is written, and the table: medians over the processes, and every side over transformers in float32."""
    figures = {
        name: {figure: statistics.median(run[figure] for run in of_name) for figure in FIGURES}
        for name, of_name in runs.items()
    }
    peer = next(name for name in runs if name.startswith("transformers"))
    ratios = {
        name: {figure: figures[peer][figure] / value for figure, value in of_name.items() if value > 0}
        for name, of_name in figures.items()
    }
    chosen = {name: str(value) for name, value in vars(options).items() if name not in ("side", "folder", "out")}
    facts = report.conditions(options.device, options.seed, "transformers")
    facts["machine"]["threads"] = options.threads
    content = {
        "settings": chosen,
        **facts,
        "largest_error": errors,
        "medians": figures,
        f"{peer}_over_each": ratios,
        "runs": runs,
    }
    rows = []
    for name, of_name in figures.items():
        *seconds, peak = of_name.values()
        times = f"{ratios[name][FIGURES[0]]:.2f}"
        rows.append([name, *(f"{1000 * value:.3g}" for value in seconds), f"{peak:.0f}", times])
    head = (
        f"{options.prompts} points on a new picture, and clicks on one: {16 * options.grid} px, {facts['device']}, "
        f"{options.threads} thread(s), {options.repeats} processes a side, load average {facts['load_average'][0]}, "
        f"commit {facts['commit']}.\n\n"
    )
    return content, head + report.table([*HEADS, f"times {peer}"], rows)


if __name__ == "__main__":
    main()
