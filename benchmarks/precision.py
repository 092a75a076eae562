"""How far masks in bfloat16 are from those in float32, with trained weights: boxes and clicks of annotated masks.

    python -m benchmarks.precision --data held-out/ --masks 4
    python -m benchmarks.precision --data held-out/ --model sam_vit_b_01ec64.pth

Each side embeds the picture and answers by itself, as a user of that precision has it. A prompt's three candidates are
compared one by one. Beside the IoU between the sides stand those with the annotated masks, which tell whether what
differs was any better in float32.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import opensam
from benchmarks import report
from opensam import masks
from opensam.data.dataset import Source
from opensam.data.specs import open_datasets
from opensam.predictor import Prediction

SIDES = ("float32", "bf16")
Values = dict[str, list[float]]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    sam = opensam.load(options.model) if options.model else opensam.load()
    sides = [opensam.Predictor(sam, precision=side) for side in SIDES]
    found: dict[str, Values] = {prompt: {"same": [], **{side: [] for side in SIDES}} for prompt in ("box", "click")}
    pictures = 0
    for source in read(options.data, options.pictures):
        compare(sides, source, options.masks, found)
        pictures += 1
        print(f"{pictures} pictures, IoU from boxes {np.mean(found['box']['same']):.4f}", file=sys.stderr, flush=True)
    rows = {prompt: summary(values) for prompt, values in found.items()}
    content = report.conditions("cpu", 0) | {"pictures": pictures, "data": options.data, "prompts": rows}
    cells = [[prompt, *(f"{value:.4g}" for value in row.values())] for prompt, row in rows.items()]
    heads = ["prompt", *(name.replace("_", " ") for name in rows["box"])]
    text = report.table(heads, cells)
    report.write(options.out, f"precision_{options.model.stem if options.model else 'opensam_tiny'}", content, text)
    print(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help="as in opensam train; repeat for more")
    parser.add_argument("--model", type=Path, help="weights; the embedded ones unless given")
    parser.add_argument("--pictures", type=int, help="so many of each data set; all unless given")
    parser.add_argument("--masks", type=int, default=4, help="at most so many of each picture")
    parser.add_argument("--out", type=Path, default=Path("docs/results/precision"))
    return parser.parse_args(arguments)


def read(data: list[str], pictures: int | None) -> Iterator[Source]:
    """The first pictures of each data set."""
    for dataset, _ in open_datasets(data):
        for number in range(min(len(dataset), pictures or len(dataset))):
            yield dataset.read(number)


def compare(sides: list[opensam.Predictor], source: Source, most: int, found: dict[str, Values]) -> None:
    """Add what the first masks of a picture give, from a box and from a click at the deepest point."""
    truths = [masks.decode_rle(rle) for rle in source.masks if masks.area(rle)][:most]
    if not truths:
        return
    boxes = np.stack([masks.mask_to_box(truth) for truth in truths])
    points = np.array([[masks.deepest_point(truth)] for truth in truths], dtype=np.float64) + 0.5
    embeddings = [side.embed(source.rgb) for side in sides]
    for prompt, given in (("box", {"boxes": boxes}), ("click", {"point_coords": points})):
        answers = [side.predict(one, **given) for side, one in zip(sides, embeddings, strict=True)]
        add(answers, truths, found[prompt])


def add(answers: list[Prediction], truths: list[NDArray[np.bool_]], values: Values) -> None:
    """Add the IoU of each pair of candidates, and those of each side's choice with the truth."""
    for number, truth in enumerate(truths):
        for pair in zip(*(answer.masks[number] for answer in answers), strict=True):
            values["same"].append(iou(*pair))
        for side, answer in zip(SIDES, answers, strict=True):
            chosen = answer.masks[number, int(answer.iou_predictions[number].argmax())]
            values[side].append(iou(chosen, truth))


def iou(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """IoU of two masks; two empty ones are the same."""
    union = (mask | other).sum()
    return float((mask & other).sum() / union) if union else 1.0


def summary(values: Values) -> dict[str, Any]:
    """The numbers of one row of the table."""
    same = np.array(values["same"])
    return {
        "masks": len(same),
        "mean_iou": float(same.mean()),
        "median": float(np.median(same)),
        "lowest_of_100": float(np.quantile(same, 0.01)),
        "share_of_0.99": float((same >= 0.99).mean()),
        **{f"{side}_with_truth": float(np.mean(values[side])) for side in SIDES},
    }


if __name__ == "__main__":
    main()
