"""An evaluation on paper: one table for people, one JSON file for programs, both whole or not there."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from opensam.config import Config
from opensam.eval.metrics import MethodScores
from opensam.files import replacing

# Score -> heading of its column, in the order of the table, and the decimals to show.
COLUMNS = {
    "iou@1": ("1 click", 3),
    "iou@2": ("2 clicks", 3),
    "iou@3": ("3 clicks", 3),
    "iou@5": ("5 clicks", 3),
    "iou@9": ("9 clicks", 3),
    "oracle@1": ("1 click, best of 3", 3),
    "box": ("box", 3),
    "noc@85": ("NoC@85", 2),
    "noc@90": ("NoC@90", 2),
}
PACKAGES = ("torch", "numpy", "opencv-python-headless", "pillow", "safetensors")


def run_facts(device: str, seed: int) -> dict[str, Any]:
    """What a number depends on beside its config: commit, versions, machine, threads, device, seed."""
    return {
        "commit": commit_of(Path(__file__)),
        "versions": {
            "opensam": _version("opensam"),
            "python": platform.python_version(),
            **{package: _version(package) for package in PACKAGES},
        },
        "machine": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "seed": seed,
    }


def commit_of(file: Path) -> str | None:
    """The commit of the checkout that tracks a file, -dirty if that was changed; None if none does."""
    # An installed package may lie below somebody else's checkout, which does not track it.
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    return _git(file.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def markdown_table(methods: Sequence[MethodScores]) -> str:
    """Methods side by side: a row per data set, and their mean as the last row.

    A score that several methods have carries their names.

    Raises:
        ValueError: there is no method or no data set, or the methods did not run on the same masks.
    """
    _check_comparable(methods)
    columns = _columns(methods)
    datasets = methods[0].datasets
    rows = []
    for name, one in datasets.items():
        values = [_cell(score, method.datasets[name].scores) for _, score, method in columns]
        rows.append([name, str(one.images), str(one.masks), *values])
    images, masks = (sum(getattr(one, what) for one in datasets.values()) for what in ("images", "masks"))
    means = [_cell(score, method.mean) for _, score, method in columns]
    rows.append([f"mean of {len(datasets)} data sets", str(images), str(masks), *means])
    return _as_table(["data set", "images", "masks", *(title for title, _, _ in columns)], rows)


def size_table(methods: Sequence[MethodScores]) -> str:
    """Methods side by side by the size of the mask: a row per size, with means over its masks.

    Raises:
        ValueError: as `markdown_table`.
    """
    _check_comparable(methods)
    columns, rows = _columns(methods), []
    for number, size in enumerate(methods[0].sizes):
        values = [_cell(score, method.sizes[number].scores) for _, score, method in columns]
        rows.append([f"up to {100 * size.up_to:g} % of the picture", str(size.masks), *values])
    return _as_table(["size of the mask", "masks", *(title for title, _, _ in columns)], rows)


def write_report(
    folder: Path, methods: Sequence[MethodScores], config: Config, facts: dict[str, Any]
) -> tuple[Path, Path]:
    """Write `clicks.md` and `clicks.json`.

    Args:
        folder: made if it is missing.
        methods: to be compared, ours first.
        config: of the evaluation.
        facts: see `run_facts`, and whatever else the reader should know, such as the checkpoint.

    Returns:
        The two paths.

    Raises:
        ValueError: the methods cannot be compared; nothing is written then.
    """
    tables = (
        f"{markdown_table(methods)}\nMeans over the masks of a size, all data sets together:\n\n{size_table(methods)}"
    )
    speeds = [f"{method.method} {method.images_per_second:.2f} images/s" for method in methods]
    conditions = [f"{name}: {_as_text(value)}" for name, value in facts.items()]
    note = "IoU: mean over the masks of a data set. NoC: clicks to that IoU (%), 20 if it is never reached."
    text = "\n".join([tables, note, "", *(f"- {line}" for line in [*speeds, *conditions])]) + "\n"
    content = {
        "config": config.model_dump(mode="json"),
        **facts,
        "methods": {method.method: _as_json(method) for method in methods},
    }
    folder.mkdir(parents=True, exist_ok=True)
    markdown, machine = folder / "clicks.md", folder / "clicks.json"
    _write(markdown, text)
    _write(machine, json.dumps(content, indent=2) + "\n")
    return markdown, machine


def _check_comparable(methods: Sequence[MethodScores]) -> None:
    if not methods or not methods[0].datasets:
        raise ValueError("a report expects at least one method on one data set, got none.")
    asked = [{name: one.masks for name, one in method.datasets.items()} for method in methods]
    if any(other != asked[0] for other in asked):
        raise ValueError(f"a report expects methods that ran on the same masks, got {asked}; use one config for all.")


def _columns(methods: Sequence[MethodScores]) -> list[tuple[str, str, MethodScores]]:
    """The columns of scores: heading, score and the method that has it."""
    columns = []
    for score, (title, _) in COLUMNS.items():
        owners = [method for method in methods if score in method.mean]
        columns += [(f"{owner.method}: {title}" if len(owners) > 1 else title, score, owner) for owner in owners]
    return columns


def _as_table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(score: str, scores: dict[str, float]) -> str:
    return f"{scores[score]:.{COLUMNS[score][1]}f}"


def _as_json(method: MethodScores) -> dict[str, Any]:
    return {
        "mean": method.mean,
        "images_per_second": method.images_per_second,
        "datasets": {name: asdict(one) for name, one in method.datasets.items()},
        "sizes": [asdict(one) for one in method.sizes],
    }


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    except OSError:  # no git on this machine
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The name of the processor, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
