"""Eight pictures learnt by heart: if this fails, something in the data, the prompts, the loss or the model is wrong.

    python -m benchmarks.overfit --out /tmp/overfit

The architecture of the embedded model starts from random weights at 64 px and sees no other pictures.
IoU with boxes and with points on these pictures, on the mask grid, must pass 0.95; the run stops there.
"""

import argparse
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import report
from opensam.data.mixture import Mixture, open_mixture
from opensam.data.samples import CELL, Batch, make_batch, make_sample
from opensam.interaction import sample_points
from opensam.models.sam import Sam
from opensam.prompts import FOREGROUND, Prompts
from opensam.recipes import promptable, training
from opensam.train.log import Validation
from opensam.train.loop import Trainer
from opensam.train.segment import TrainConfig

PICTURES, PASSED = 8, 0.95


class Learnt(Exception):  # noqa: N818  # nothing went wrong
    """Both figures have passed."""


def config(overrides: list[str]) -> TrainConfig:
    """`tiny` at 64 px, unvaried pictures, one round."""
    young, *_ = training.tiny()
    changes = [
        *("image_size=64", "crop_size=64", "batch_size=8", "masks_per_image=4", "steps=1000", "precision=32-true"),
        *("segment.clicks=0", "segment.single_mask_boxes=1", "segment.grouping_weight=0.2", "augment.scale=[1,1]"),
        *("augment.flip=0", "augment.color=0", "augment.grey=0", "augment.min_cells=8"),
        *("optim.lr=2e-3", "optim.final_lr=0", "optim.warmup=30", "optim.ema=0.9", "optim.weight_decay=0"),
        *("validate_every=25", "log_every=25", "save_every=1e9"),
    ]
    return young.with_overrides([*changes, *overrides])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run and the report; must be new")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in opensam train")
    options = parser.parse_args(arguments)
    if (options.out / "last.pt").exists():
        parser.error(f"expected a new folder, got {options.out}, which holds a run")
    torch.set_num_threads(options.threads)
    chosen = config(options.set)
    curve = learn(eight(options.data, chosen), chosen, options.out)
    content = {"config": chosen.model_dump(mode="json"), **report.conditions("cpu", chosen.seed), "curve": curve}
    rows = [[str(row["step"]), *(f"{value:.3f}" for name, value in row.items() if name != "step")] for row in curve]
    heads = ["step", "box IoU", "point IoU", "minutes", "processor minutes"]
    report.write(options.out, "overfit", content, report.table(heads, rows))
    if not passed(curve[-1]):
        sys.exit(f"expected IoU above {PASSED} with boxes and points, got {curve[-1]}; eight pictures were not learnt")


def eight(spec: str, config: TrainConfig) -> Mixture:
    """The first eight different pictures of a data set that have a mask which is large enough."""
    mixture, rng, chosen = open_mixture([spec], 0.5), np.random.default_rng(config.seed), {}
    size = config.image_size
    for _ in range(5 * PICTURES):
        source = mixture.draw(rng)
        if len(make_sample(source, size, size, 1, config.augment, np.random.default_rng(0)).masks):
            chosen[source.dataset, source.name] = replace(source)
        if len(chosen) == PICTURES:
            return Mixture(chosen.values(), 1.0)
    raise ValueError(
        f"expected {PICTURES} pictures with large masks in {spec}, got {len(chosen)}; choose another data set"
    )


def learn(mixture: Mixture, config: TrainConfig, folder: Path) -> list[dict[str, float]]:
    """Train until the figures pass or the steps end; the curve of figures and minutes, printed as it comes."""
    start, used, curve = time.perf_counter(), time.process_time(), list[dict[str, float]]()
    # Each picture alone: in a batch of several, some could come twice and others never.
    alone = [
        Mixture([source], 1.0) for dataset in mixture.datasets for source in map(dataset.read, range(len(dataset)))
    ]
    size = config.image_size
    batches = [
        make_batch(each, 1, size, size, config.masks_per_image, config.augment, np.random.default_rng(0))
        for each in alone
    ]

    def validate(model: nn.Module) -> Validation:
        if not isinstance(model, Sam):
            raise TypeError(f"expected a Sam, got {type(model).__name__}")
        facts = measure(model, batches)
        minutes = {
            "minutes": (time.perf_counter() - start) / 60,
            "processor_minutes": (time.process_time() - used) / 60,
        }
        curve.append({"step": trainer.step, **facts, **minutes})
        print("  ".join(f"{name} {value:.3f}" for name, value in curve[-1].items()), flush=True)
        if passed(facts):
            raise Learnt
        return Validation(facts, min(facts.values()))

    task = promptable.promptable(promptable.new_model(config), mixture, config)
    trainer = Trainer(replace(task, validate=validate), config, folder)
    with suppress(Learnt):
        trainer.fit(lambda _: None)
    return curve


def measure(sam: Sam, batches: list[Batch]) -> dict[str, float]:
    """Mean IoU over the masks that fill a cell: a tight box and the single mask, a point and the mask ranked first."""
    boxes, points = [], []
    for batch in batches:
        embeddings = sam.encode(torch.cat([sam.preprocess(picture) for picture in batch.images]))
        wanted = batch.masks > 0.5
        logits, _ = sam.decode(embeddings, Prompts(boxes=batch.boxes, image_index=batch.image_index), False)
        filled = wanted.any(dim=(1, 2))  # a thin one may fill no cell, and no answer is right then
        boxes.append(iou(logits[:, 0] > 0, wanted)[filled])
        coords = sample_points(wanted, CELL, torch.Generator().manual_seed(0))[:, None]
        labels = torch.full(coords.shape[:2], FOREGROUND)
        asked: dict[str, Any] = {"point_coords": coords, "point_labels": labels, "image_index": batch.image_index}
        logits, scores = sam.decode(embeddings, Prompts(**asked), True)
        points.append(iou(logits[torch.arange(len(coords)), scores.argmax(dim=1)] > 0, wanted)[filled])
    return {"box_iou": float(torch.cat(boxes).mean()), "point_iou": float(torch.cat(points).mean())}


def iou(masks: Tensor, others: Tensor) -> Tensor:
    """(P, G, G) bool twice -> (P,)."""
    return (masks & others).sum(dim=(1, 2)) / (masks | others).sum(dim=(1, 2)).clamp(min=1)


def passed(facts: dict[str, float]) -> bool:
    return min(facts["box_iou"], facts["point_iou"]) > PASSED


if __name__ == "__main__":
    main()
