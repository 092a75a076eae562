"""Click to painted mask in headless Chromium: the app's decoder and a plain export of the same decoder, in one run.

    python -m benchmarks.browser_click --out docs/results/browser

A real browser (web/bench) gets real pointer events. The plain side is run by onnxruntime-web. Both sides have the same
embedding, threads and painting; they take turns on each point, and each time runs from the event's own time stamp: to
the answer, to the drawn canvas, and to the end of the next frame. The plain side is spared the enlarging of its masks.
Their masks must agree, or nothing is written. "hover": the pointer has rested where it clicks, and the preview that the
app has shown by then is the answer. "press": the button was down for 80 ms, as with hands, and the time runs from when
it goes up; the app has begun when it went down. Needs Node, web/node_modules (`npm ci` in web) and Chromium.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import opensam
from benchmarks import report
from opensam.export.browser import browser_decoder
from opensam.export.decoder import export_decoder

SIDES = ("opensam", "hover", "press", "plain", "opensam with mask", "press with mask", "plain with mask")
FIGURES = ("decoded", "drawn", "frame")
SIZE = (720, 1080)  # of the picture on the page
LEAST_IOU = 0.98  # of the masks of both sides on one point, at the least; embeddings are the same float16 values


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options)
        command = ["node", "web/bench/run.mjs", str(folder), str(options.clicks), options.chromium]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    check(measured["rounds"])
    figures = summary(measured["rounds"])
    content = report.conditions("cpu", options.seed, "onnx", "onnxscript") | {
        "node": subprocess.run(["node", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip(),
        "onnxruntime-web": json.loads(Path("web/package.json").read_text())["devDependencies"]["onnxruntime-web"],
        "size": SIZE,
        "figures": figures,
        **measured,
    }
    heads = ["ms, median", *FIGURES, "90 % of drawn", "times plain"]
    rows = [
        [side, *(f"{one[figure]:.1f}" for figure in FIGURES), f"{one['drawn_p90']:.1f}", f"{one['times_plain']:.2f}"]
        for side, one in figures.items()
    ]
    text = report.table(heads, rows)
    report.write(options.out, "browser_click", content, text)
    print(text)
    print(f"image side: {measured['image_side_ms']} ms, threads: {measured['threads']}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=50)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/browser"))
    options = parser.parse_args(arguments)
    if options.clicks < 1:
        parser.error("expected at least one click")
    return options


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Weights and graph, the embedding of a picture, and where to click: what web/bench/run.mjs reads."""
    from PIL import Image
    from skimage import data

    sam = opensam.load()
    picture = Image.fromarray(data.coffee()).resize(SIZE[::-1], Image.Resampling.LANCZOS)
    embedding = opensam.Predictor(sam).embed(picture)
    embeddings = embedding.embeddings.cpu().numpy().astype("<f2")
    (folder / "embedding.bin").write_bytes(embeddings.tobytes())
    info = {"id": "picture", "model": sam.name, "original_size": SIZE, "image_size": sam.image_size}
    (folder / "info.json").write_text(json.dumps(info | {"shape": embeddings.shape}))
    rng = np.random.default_rng(options.seed)
    points = rng.integers((20, 20), (SIZE[1] - 20, SIZE[0] - 20), (options.clicks, 2))
    (folder / "points.json").write_text(json.dumps(points.tolist()))
    sam = sam.float().cpu().eval()
    (folder / "decoder.safetensors").write_bytes(browser_decoder(sam))
    export_decoder(sam, folder, ["decoder_plain"])


def check(rounds: list[dict[str, Any]]) -> None:
    """Both sides must have given the same masks."""
    ious = [one["iou"] for entry in rounds for one in entry.values() if one["iou"] is not None]
    if not ious or min(ious) < LEAST_IOU:
        raise SystemExit(f"the masks of the two sides differ: least IoU {min(ious, default=0):.4f}")


def summary(rounds: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Medians of each side, and how many times as fast as the plain one it is drawn."""
    figures: dict[str, dict[str, float]] = {}
    for side in SIDES:
        times = [entry[side] for entry in rounds if side in entry]
        if times:
            figures[side] = {figure: statistics.median(one[figure] for one in times) for figure in FIGURES}
            figures[side]["drawn_p90"] = float(np.percentile([one["drawn"] for one in times], 90))
    for side, one in figures.items():
        plain = "plain with mask" if side.endswith("with mask") else "plain"
        one["times_plain"] = figures[plain]["drawn"] / one["drawn"]
    return figures


if __name__ == "__main__":
    main()
