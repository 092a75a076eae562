"""Everything in one picture: ours against the mask-generation pipeline of transformers, with the same weights.

    python -m benchmarks.everything --out docs/results/everything

The whole job is timed, from the picture to the list of masks, encoding included. Each side runs in a process of its
own, the sides take turns, figures are medians. Peak memory is what is resident above what was there with the model
loaded. The lists must agree (99 % of theirs with a partner of IoU >= 0.99 in ours), or nothing is written: ours in
float32. In bfloat16, which is measured where the device has it, candidates close to a threshold fall to its other side.
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

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco

import opensam
from benchmarks import report
from opensam.amg import PRESETS
from opensam.masks import encode_rle
from opensam.precision import has_bfloat16

SIDES = ("opensam", "opensam bf16", "object-aware", "transformers")
PARTNER = {"opensam": 0.99, "opensam bf16": 0.9, "object-aware": 0.9}  # the IoU from which two masks count as one
AGREE = 0.99


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.side:
        print(json.dumps(run_side(options)))
        return
    without = () if has_bfloat16(torch.device(options.device)) else ("opensam bf16",)
    sides = [side for side in SIDES if side not in without]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            for side in sides if repeat % 2 == 0 else sides[::-1]:
                runs[side].append(in_own_process(side, options, Path(folder) / f"{side}.json"))
                print(f"repeat {repeat + 1}, {side}: {runs[side][-1]}", file=sys.stderr, flush=True)
        masks = {side: json.loads((Path(folder) / f"{side}.json").read_text()) for side in sides}
    content, text = summary(runs, compare(masks), options)
    report.write(options.out, f"everything_{torch.device(options.device).type}", content, text)
    print(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--picture", default="coffee", help="a file, or the name of a picture of skimage.data")
    parser.add_argument("--size", type=int, nargs=2, default=(1500, 2250), help="height and width it is scaled to")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--points-per-batch", type=int, default=64)
    # opensam_tiny predicts lower IoU than the official models; with these, part of its masks pass, as with theirs.
    parser.add_argument("--pred-iou-thresh", type=float, default=0.4)
    parser.add_argument("--stability-score-thresh", type=float, default=0.6)
    parser.add_argument("--box-nms-thresh", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3, help="processes per side")
    parser.add_argument("--out", type=Path, default=Path("docs/results/everything"))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--masks", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("expected at least one repeat")
    return options


SETTINGS = ("points_per_side", "points_per_batch", "pred_iou_thresh", "stability_score_thresh", "box_nms_thresh")


def in_own_process(side: str, options: argparse.Namespace, masks: Path) -> dict[str, Any]:
    names = ("device", "picture", "threads", *SETTINGS)
    given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
    size = ["--size", *map(str, options.size)]
    command = [sys.executable, "-m", "benchmarks.everything", f"--side={side}", f"--masks={masks}", *size, *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_side(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    picture = read_picture(options)
    settings = {name: getattr(options, name) for name in SETTINGS}
    make_job = their_job if options.side == "transformers" else our_job
    job = make_job(options, settings)
    job(picture.resize((96, 64)), {"points_per_side": 1})  # warm-up
    forget_peak(options.device)
    before = memory_mib("VmRSS", options.device)
    start, used = time.perf_counter(), time.process_time()
    masks = job(picture, {})
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    peak = memory_mib("VmHWM", options.device) - before
    options.masks.write_text(json.dumps(masks))
    return {"seconds": seconds, "processor_seconds": processor, "peak_mib": peak, "masks": len(masks)}


Job = Callable[[Image.Image, dict[str, Any]], list[Any]]


def our_job(options: argparse.Namespace, settings: dict[str, Any]) -> Job:
    precision = "bf16" if options.side == "opensam bf16" else "float32"
    predictor = opensam.Predictor(opensam.load(device=options.device), precision)
    aware = options.side == "object-aware"

    def job(picture: Image.Image, changes: dict[str, Any]) -> list[Any]:
        generator = opensam.MaskGenerator(predictor, PRESETS["official"], object_aware=aware, **settings | changes)
        return [record.segmentation for record in generator.generate(picture)]

    return job


def their_job(options: argparse.Namespace, settings: dict[str, Any]) -> Job:
    from benchmarks import transformers_everything as theirs

    sam = opensam.load()
    pipeline = theirs.make_pipeline(theirs.with_encoder_of(sam).to(options.device), sam.image_size)

    def job(picture: Image.Image, changes: dict[str, Any]) -> list[Any]:
        answer = theirs.generate(pipeline, picture, settings | changes)
        return [encode_rle(np.asarray(mask, dtype=bool)) for mask in answer["masks"]]

    return job


def read_picture(options: argparse.Namespace) -> Image.Image:
    if Path(options.picture).is_file():
        picture = Image.open(options.picture).convert("RGB")
    else:
        from skimage import data

        picture = Image.fromarray(getattr(data, options.picture)())
    return picture.resize(tuple(options.size[::-1]), Image.Resampling.BICUBIC)


def forget_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts again from VmRSS


def memory_mib(name: str, device: str) -> float:
    """Resident memory of this process (Linux), now or at most; on a GPU what torch allocated."""
    if device.startswith("cuda"):
        return (torch.cuda.memory_allocated() if name == "VmRSS" else torch.cuda.max_memory_allocated()) / 2**20
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise ValueError(f"expected {name} in /proc/self/status, got none; run this on Linux")
    return int(found[1]) / 1024


def compare(masks: dict[str, list[Any]]) -> dict[str, dict[str, float]]:
    """How many of their masks have a partner in ours.

    Raises:
        ValueError: too few: the two do not do the same.
    """
    found = {}
    for side, ours in masks.items():
        if side == "transformers":
            continue
        theirs, partner = masks["transformers"], PARTNER[side]
        if not theirs or not ours:
            raise ValueError(f"expected masks on both sides, got {len(theirs)} and {len(ours)}; lower the thresholds")
        best = np.asarray(coco.iou(theirs, ours, [0] * len(ours))).max(axis=1)
        found[side] = {
            "iou": partner,
            "share_with_partner": float((best >= partner).mean()),
            "mean": float(best.mean()),
        }
    counts = {side: len(listed) for side, listed in masks.items()}
    apart = abs(counts["opensam"] - counts["transformers"]) > (1 - AGREE) * counts["transformers"]
    if apart or found["opensam"]["share_with_partner"] < AGREE:
        raise ValueError(f"expected the same masks on both sides, got {counts} and {found}; one has changed")
    return found


def summary(
    runs: dict[str, list[dict[str, Any]]], agreement: dict[str, dict[str, float]], options: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """What is written, and the table: medians, and theirs over ours."""
    names = ("seconds", "processor_seconds", "peak_mib", "masks")
    medians = {side: {name: statistics.median(run[name] for run in runs[side]) for name in names} for side in runs}
    faster = {side: medians["transformers"]["seconds"] / medians[side]["seconds"] for side in runs}
    chosen = {name: str(value) for name, value in vars(options).items() if name not in ("side", "masks", "out")}
    facts = report.conditions(options.device, 0, "transformers", "scikit-image")
    facts["machine"]["threads"] = options.threads
    content = {
        "settings": chosen,
        **facts,
        "medians": medians,
        "times_faster": faster,
        "agreement": agreement,
        "runs": runs,
    }
    heads = [
        "",
        "seconds",
        "processor seconds",
        "peak MiB above the model",
        "masks",
        "times faster",
        "of their masks found",
    ]
    rows = []
    for side in runs:
        part = agreement.get(side)
        share = f"{part['share_with_partner']:.3f} with IoU >= {part['iou']}" if part else ""
        rows.append([side, *(f"{medians[side][name]:.4g}" for name in names), f"{faster[side]:.1f}", share])
    head = (
        f"Everything in a picture of {options.size[1]} x {options.size[0]} pixels ({options.picture}), opensam_tiny, "
        f"{options.points_per_side}^2 points, {facts['device']}, {options.threads} thread(s), {options.repeats} "
        f"processes a side, load average {facts['load_average'][0]}, commit {facts['commit']}.\n\n"
    )
    return content, head + report.table(heads, rows)


if __name__ == "__main__":
    main()
