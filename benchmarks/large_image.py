"""Everything in pictures of up to 20,000 x 20,000 pixels, tile by tile: seconds, peak memory, and whether all is found.

    python -m benchmarks.large_image --out docs/results/large_image

The picture is drawn: discs that tiles cut in all ways, some of them larger than a tile. By default a mask is a
connected region of a tile, which costs nearly nothing and is exactly right: so the figures are those of cutting and
stitching, and every mask must come back as it was drawn, or nothing is written. With `--model` a model segments the
tiles; then objects are only counted. Each run has a process of its own; another one that only holds the picture (and
the model) says what memory is theirs.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import opensam
from benchmarks import report
from opensam.amg.tiles import Generator, TilesConfig, cut_tiles, generate_tiled
from opensam.image import Rgb
from opensam.masks import Mask, encode_rle
from opensam.records import MaskRecord

PITCH = 500  # pixels between the centres of discs; large ones take the place of 4 x 4
SIDES = ("picture alone", "tiles")
MIB = 2**20


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.side:
        print(json.dumps(run_side(options.side, options.pixels[0], options)))
        return
    runs: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for pixels in options.pixels:
        runs[pixels] = {side: [] for side in SIDES}
        for _ in range(options.repeats):
            for side in SIDES:
                runs[pixels][side].append(in_own_process(side, pixels, options))
                print(f"{pixels} px, {side}: {runs[pixels][side][-1]}", file=sys.stderr, flush=True)
    content, text = summary(runs, options)
    report.write(options.out, "large_image", content, text)
    print(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, nargs="+", default=[5_000, 10_000, 20_000], help="sides of the pictures")
    parser.add_argument("--model", help="segment with a model instead of connected regions")
    parser.add_argument("--tile-size", type=int, default=1024)
    parser.add_argument("--overlap", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3, help="processes per side")
    parser.add_argument("--out", type=Path, default=Path("docs/results/large_image"))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.repeats < 1 or min(options.pixels) < 1:
        parser.error("expected at least one repeat and one pixel")
    return options


def in_own_process(side: str, pixels: int, options: argparse.Namespace) -> dict[str, Any]:
    given = [f"--side={side}", f"--pixels={pixels}", f"--tile-size={options.tile_size}", f"--overlap={options.overlap}"]
    given += [f"--model={options.model}"] if options.model else []
    command = [sys.executable, "-m", "benchmarks.large_image", *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_side(side: str, pixels: int, options: argparse.Namespace) -> dict[str, Any]:
    picture, drawn = draw(pixels)
    generator = model_generator(options.model) if options.model else Regions()
    facts: dict[str, Any] = {"drawn": len(drawn)}
    if side == "tiles":
        start, used = time.perf_counter(), time.process_time()
        records = generate_tiled(generator, picture, tiles_config(options))
        facts |= {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - used}
        facts |= {"found": len(records), "exact": exact(records, drawn)}
    return facts | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}  # Linux counts in KiB


Disc = tuple[int, int, int]  # x, y, radius


def draw(pixels: int) -> tuple[Rgb, list[Disc]]:
    """White discs on black, none touching another."""
    picture = np.zeros((pixels, pixels, 3), np.uint8)
    rng = np.random.default_rng(0)
    discs = []
    for row in range(pixels // PITCH):
        for column in range(pixels // PITCH):
            if row % 8 < 4 and column % 8 < 4:  # the place of a large one
                if row % 8 == column % 8 == 0:
                    discs.append((column * PITCH + 2 * PITCH, row * PITCH + 2 * PITCH, 950))
            else:
                discs.append((column * PITCH + 250, row * PITCH + 250, int(rng.integers(10, 240))))
    discs = [disc for disc in discs if max(disc[:2]) + disc[2] < pixels]
    for x, y, radius in discs:
        cv2.circle(picture, (x, y), radius, (255, 255, 255), -1)
    return picture, discs


def disc_mask(radius: int) -> Mask:
    canvas = np.zeros((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cv2.circle(canvas, (radius, radius), radius, 1, -1).astype(bool)


def exact(records: list[MaskRecord], discs: list[Disc]) -> int:
    """How many discs came back pixel for pixel."""
    found = {(tuple(record.segmentation["size"]), record.segmentation["counts"]) for record in records}
    pixels = records[0].segmentation["size"] if records else [1, 1]
    drawn = (encode_rle(disc_mask(radius), (x - radius, y - radius), pixels) for x, y, radius in discs)
    return sum((tuple(rle["size"]), rle["counts"]) in found for rle in drawn)


class Regions:
    """Each connected bright region is a mask."""

    def generate(self, image: Rgb, /) -> list[MaskRecord]:
        count, labels, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 127).view(np.uint8))
        return [region(labels, number, stats[number].tolist()) for number in range(1, count)]


def region(labels: NDArray[np.int32], number: int, stats: list[int]) -> MaskRecord:
    x, y, width, height, area = stats
    mask = labels[y : y + height, x : x + width] == number
    return MaskRecord(
        id=number,
        segmentation=encode_rle(mask, (x, y), labels.shape),
        bbox=[x, y, width, height],
        area=area,
        point_coords=[],
        predicted_iou=0.9,
        stability_score=0.95,
        crop_box=[0, 0, labels.shape[1], labels.shape[0]],
    )


def model_generator(name: str) -> Generator:
    return opensam.MaskGenerator(opensam.Predictor(opensam.load(name)))


def summary(
    runs: dict[int, dict[str, list[dict[str, Any]]]], options: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """What is written: all runs, and a table of medians. Raises ValueError if a drawn mask did not come back."""
    rows = []
    for pixels, sides in runs.items():
        for run in sides["tiles"]:
            if not options.model and not run["drawn"] == run["found"] == run["exact"]:
                raise ValueError(
                    f"expected {run['drawn']} masks as drawn, got {run['found']}, of them {run['exact']} exact"
                )
        alone = statistics.median(run["peak_mib"] for run in sides["picture alone"])
        keys = ("found", "peak_mib", "seconds", "processor_seconds")
        found, peak, *seconds = (statistics.median(run[key] for run in sides["tiles"]) for key in keys)
        tiles = len(cut_tiles((pixels, pixels), tiles_config(options)))
        memory = [f"{mib:.0f}" for mib in (3 * pixels**2 / MIB, peak, peak - alone)]
        rows.append([f"{pixels} x {pixels}", str(tiles), str(found), *memory, *(f"{one:.1f}" for one in seconds)])
    heads = ["picture", "tiles", "masks", "picture MiB", "peak MiB", "above the picture MiB"]
    text = report.table([*heads, "seconds", "processor seconds"], rows)
    settings = {"model": options.model or "connected regions", "tiles": tiles_config(options).model_dump()}
    content = report.conditions("cpu", 0, "opencv-python-headless") | settings
    return content | {"runs": {str(pixels): sides for pixels, sides in runs.items()}}, text


def tiles_config(options: argparse.Namespace) -> TilesConfig:
    return TilesConfig(tile_size=options.tile_size, overlap=options.overlap)


if __name__ == "__main__":
    main()
