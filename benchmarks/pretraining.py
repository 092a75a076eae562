"""What pre-training is worth: promptable training from nothing, after SimMIM and after SparK, as one table.

    python benchmarks/pretraining.py --data shards/ --val held-out/ --runs runs/pretraining --seconds 600

Both methods get the same time: their speed is measured first, and the number of their steps follows from it. Then the
promptable model is trained from each encoder, and from nothing, for the same number of steps, with the same seed and so
on the same batches. `--seed` given twice repeats all of it. The same command goes on where it was interrupted.
`--set` changes the promptable training (recipe `tiny_cpu`), `--set-pretrain` the pre-training (recipe `tiny`, crops of
128 pixels).
"""

import argparse
import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opensam.eval.facts import run_facts
from opensam.files import replacing
from opensam.recipes import pretraining, promptable, training
from opensam.train.loop import Progress
from opensam.train.pretrain import PretrainConfig

METHODS = ("simmim", "spark")
SPEED_STEPS, FIRST_STEPS = 25, 5  # the first are slower: memory, threads, kernels
SCORES = ("loss", "box_iou", "point_iou", "point_oracle_iou", "last_iou")  # on held-out pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help="labelled pictures, as in opensam train")
    parser.add_argument("--pictures", action="append", help="more pictures to pre-train on, beside --data")
    parser.add_argument("--val", action="append", required=True, help="held-out labelled pictures")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("docs/results/pretraining"), help="folder of the table")
    parser.add_argument("--seconds", type=float, default=600.0, help="of pre-training, for each method")
    parser.add_argument("--seed", type=int, action="append", metavar="N", help="repeat for more; 0 unless given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--set-pretrain", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    pictures = [*options.data, *(options.pictures or [])]
    seeds = options.seed or [0]
    plan = planned(options.runs, pictures, options.seconds, options.set_pretrain)
    rows = []
    for seed in seeds:
        for method in ("nothing", *METHODS):
            folder = options.runs / f"seed-{seed}" / method
            init, facts = None, {}
            if method != "nothing":
                config = pretrain_config(
                    method, options.set_pretrain, [f"steps={plan[method]['steps']}", f"seed={seed}"]
                )
                facts = pretrained(config, pictures, folder / "encoder")
                init = folder / "encoder" / "model.safetensors"
            rows.append({"start": method, "seed": seed, **facts, "curve": trained(options, seed, folder, init)})
            write(options, seeds, plan, rows)
    print((options.out / "pretraining.md").read_text())


def pretrain_config(method: str, *changes: list[str]) -> PretrainConfig:
    """The recipe by one method; later changes win."""
    small = ["crop_size=128", "batch_size=16", "loader_threads=1", "validate_every=0", f"mae.method={method}"]
    return pretraining.tiny().with_overrides([*small, *(one for some in changes for one in some)])


def planned(runs: Path, pictures: list[str], seconds: float, changes: list[str]) -> dict[str, Any]:
    """How many steps each method gets for its time; measured once, then read."""
    path = runs / "plan.json"
    if path.is_file():
        return json.loads(path.read_text())
    plan = {}
    for method in METHODS:
        speeds: list[float] = []
        config = pretrain_config(method, changes, [f"steps={SPEED_STEPS}", "log_every=1"])
        per_step = config.batch_size * config.accumulate * config.devices * config.nodes
        folder = runs / "speed" / method
        pretraining.pretrain(
            config, pictures, folder, lambda progress, to=speeds: to.append(progress.images_per_second)
        )
        speed = float(np.median(speeds[FIRST_STEPS:]))
        plan[method] = {"images_per_second": speed, "steps": max(1, round(seconds * speed / per_step))}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plan, indent=2) + "\n")
    return plan


def pretrained(config: PretrainConfig, pictures: list[str], folder: Path) -> dict[str, Any]:
    """Pre-train, and say how long it took by its own log: without what it saved, and interruptions."""
    pretraining.pretrain(config, pictures, folder, report)
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = np.diff([0, *(int(row["step"]) for row in rows)])
    per_step = config.batch_size * config.accumulate * config.devices * config.nodes
    seconds = float(np.sum(steps * per_step / [float(row["images_per_second"]) for row in rows]))
    return {"pretrain_steps": config.steps, "pretrain_seconds": round(seconds, 1)}


def trained(options: argparse.Namespace, seed: int, folder: Path, init: Path | None) -> list[dict[str, float]]:
    """The promptable run: what was measured on held-out pictures, in the order of steps."""
    (config,) = training.tiny_cpu()
    config = config.with_overrides(options.set)
    config = config.with_overrides([f"seed={seed}", f"validate_every={max(1, config.steps // 4)}"])
    promptable.train([config], options.data, folder, report, init, options.val)
    with (folder / "stage-1" / "validation.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def report(progress: Progress) -> None:
    print(
        f"{progress.step}/{progress.steps} loss {progress.facts['loss']:.3f} {progress.images_per_second:.1f} images/s"
    )


def write(options: argparse.Namespace, seeds: list[int], plan: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """`pretraining.json`, and `pretraining.md`: a row per run, from the last measurement of each."""
    facts = run_facts("cuda" if torch.cuda.is_available() else "cpu", seeds[0]) | {"load_average": os.getloadavg()}
    settings = {name: value for name, value in vars(options).items() if name not in ("runs", "out")}
    content = {"settings": settings, "speed": plan, "rows": rows, **facts}
    heads = ["start", "seed", "pre-training steps", "seconds", *SCORES, "box_iou on the way"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for row in rows:
        *way, end = row["curve"]
        told = [str(row.get(name, "-")) for name in ("pretrain_steps", "pretrain_seconds")]
        boxes = " ".join(f"{point['box_iou']:.3f}" for point in way)
        lines.append([row["start"], str(row["seed"]), *told, *(f"{end[name]:.3f}" for name in SCORES), boxes])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in (("json", json.dumps(content, indent=2) + "\n"), ("md", table)):
        with replacing(options.out / f"pretraining.{name}") as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    main()
