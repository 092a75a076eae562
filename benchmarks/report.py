"""What every benchmark writes: one JSON file with all conditions, and one table for people."""

import json
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from opensam.eval.facts import run_facts
from opensam.files import replacing


def conditions(device: str, seed: int, *packages: str) -> dict[str, Any]:
    """What a figure depends on: commit, versions (of `packages` too), machine, threads, device, seed, and load.

    The load average says how much else ran: on a shared machine compare ratios and processor time, not seconds.
    """
    facts = run_facts(device, seed)
    facts["versions"] |= {package: metadata.version(package) for package in packages}
    return facts | {"load_average": [round(load, 2) for load in os.getloadavg()]}


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, numbers to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(folder: Path, name: str, content: dict[str, Any], text: str) -> None:
    """Write `name.json` and `name.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, written in (("json", json.dumps(content, indent=2) + "\n"), ("md", text)):
        with replacing(folder / f"{name}.{suffix}") as temporary:
            temporary.write_text(written, encoding="utf-8")
