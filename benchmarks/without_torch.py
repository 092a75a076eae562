"""The embedded model on ONNX Runtime against torch: how far apart the answers are, how long they take, what memory.

    python benchmarks/without_torch.py FOLDER PHOTO

FOLDER holds what `opensam export` wrote of `opensam_tiny`. Times are medians of interleaved runs with one thread;
memory is the peak of a process that embeds the photo and predicts one click, and then of one that segments everything.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

RUNS = 5
POINT = [(300, 200)]


def open_predictor(kind: str, folder: Path) -> Any:
    if kind == "onnx":
        from opensam.onnx import OnnxPredictor

        return OnnxPredictor.load(folder, threads=1)
    import torch

    import opensam

    torch.set_num_threads(1)
    return opensam.Predictor(opensam.load(), "float32")


def peak(kind: str, task: str, folder: Path, photo: Path) -> float:
    """Peak memory in MB of a process of its own."""
    command = [sys.executable, __file__, str(folder), str(photo), "--alone", kind, task]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def alone(kind: str, task: str, folder: Path, photo: Path) -> None:
    predictor = open_predictor(kind, folder)
    if task == "click":
        predictor.predict(predictor.embed(photo), POINT)
    else:
        import opensam

        opensam.MaskGenerator(predictor).generate(photo)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(folder: Path, photo: Path) -> None:
    import numpy as np

    import opensam

    predictors = {kind: open_predictor(kind, folder) for kind in ("torch", "onnx")}
    embeddings = {kind: one.embed(photo) for kind, one in predictors.items()}
    far = np.abs(embeddings["torch"].embeddings.numpy() - embeddings["onnx"].embeddings).max()
    print(f"embeddings differ by at most {far:.1e}")
    answers = {kind: one.predict(embeddings[kind], POINT) for kind, one in predictors.items()}
    for name in ("iou_predictions", "stability_score", "low_res_masks"):
        theirs, ours = (getattr(answers[kind], name) for kind in ("torch", "onnx"))
        print(f"{name} differ by at most {np.abs(theirs - ours).max():.1e}")
    print(f"{(answers['torch'].masks != answers['onnx'].masks).mean():.1e} of the pixels of masks differ")
    generators = {kind: opensam.MaskGenerator(one, points_per_side=16) for kind, one in predictors.items()}
    found = {kind: one.generate(photo) for kind, one in generators.items()}
    ious = [max(_iou(one.mask, other.mask) for other in found["onnx"]) for one in found["torch"]]
    print(f"everything: {len(found['torch'])} masks of torch, {len(found['onnx'])} here; lowest IoU {min(ious):.5f}")
    for name, runs, work in (
        ("embed", RUNS, lambda kind: predictors[kind].embed(photo)),
        ("predict", 3 * RUNS, lambda kind: predictors[kind].predict(embeddings[kind], POINT)),
        ("everything", 2, lambda kind: generators[kind].generate(photo)),
    ):
        taken: dict[str, list[float]] = {"torch": [], "onnx": []}
        for _ in range(runs):
            for kind, times in taken.items():
                times.append(seconds(partial(work, kind)))
        torch_s, onnx_s = (statistics.median(taken[kind]) for kind in ("torch", "onnx"))
        print(f"{name}: torch {torch_s:.3f} s, onnx {onnx_s:.3f} s, ratio {torch_s / onnx_s:.2f}")


def _iou(mask: Any, other: Any) -> float:
    return float((mask & other).sum() / max(1, (mask | other).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--alone", nargs=2, metavar=("KIND", "TASK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(*options.alone, options.folder, options.photo)
        return
    compare(options.folder, options.photo)
    for task in ("click", "everything"):
        sizes = {kind: peak(kind, task, options.folder, options.photo) for kind in ("torch", "onnx")}
        print(f"{task}: peak memory torch {sizes['torch']:.0f} MB, onnx {sizes['onnx']:.0f} MB")


if __name__ == "__main__":
    main()
