"""The app's own decoder (web/src/decoder) against the plain decoder, with the weights that the server sends."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import WEB, missing_node

import opensam
from opensam.export.browser import browser_decoder
from opensam.export.decoder_graphs import PlainGraph
from opensam.geometry import Resize

pytestmark = pytest.mark.skipif(missing_node() is not None, reason=str(missing_node()))

PROMPTS: dict[str, tuple[list[list[float]], list[int], bool]] = {
    "a point": ([[500.0, 300.0], [0.0, 0.0]], [1, -1], False),
    "three points": ([[500.0, 300.0], [200.0, 250.0], [30.5, 9.0], [0.0, 0.0]], [1, 0, 1, -1], False),
    "a box": ([[100.0, 50.0], [400.0, 500.0]], [2, 3], False),
    "a point and a mask": ([[300.0, 300.0], [0.0, 0.0]], [1, -1], True),
    "a box, a point and a mask": ([[200.0, 10.0], [100.0, 50.0], [400.0, 500.0]], [1, 2, 3], True),
}
PICTURES = {"wide": (480, 640), "high": (300, 200)}


def write_cases(folder: Path) -> None:
    """Weights, embeddings, prompts and answers."""
    sam = opensam.load("opensam_tiny").eval()
    (folder / "decoder.safetensors").write_bytes(browser_decoder(sam))
    generator = torch.Generator().manual_seed(0)
    side = sam.image_size // 16
    cases: list[dict[str, Any]] = []
    for picture, size in PICTURES.items():
        rows, columns = (-(-length // 16) for length in Resize(size, sam.image_size).input_size)
        embeddings = 0.1 * torch.randn(1, 256, side, side, generator=generator)
        write(folder / picture, embeddings)
        for number, (name, (points, labels, masked)) in enumerate(PROMPTS.items()):
            mask = 5 * torch.randn(1, 1, 4 * side, 4 * side, generator=generator)
            if masked:
                write(folder / f"{picture}{number}.mask", mask)
            prompt = torch.tensor([points]), torch.tensor([labels], dtype=torch.float32)
            with torch.no_grad():
                ious, masks = PlainGraph(sam)(embeddings, *prompt, mask, torch.tensor([float(masked)]))
            write(folder / f"{picture}{number}.masks", masks[..., : 4 * rows, : 4 * columns])
            cases.append(
                {
                    "name": f"{name}, {picture}",
                    "picture": picture,
                    "grid": [rows, columns],
                    "points": points,
                    "labels": labels,
                    "mask": f"{picture}{number}.mask" if masked else None,
                    "masks": f"{picture}{number}.masks",
                    "ious": ious[0].tolist(),
                }
            )
    (folder / "cases.json").write_text(json.dumps(cases))


def write(path: Path, values: torch.Tensor) -> None:
    """Row by row, float32."""
    np.ascontiguousarray(values.numpy(), dtype="<f4").tofile(path)


def test_the_browser_gives_the_masks_of_the_plain_decoder(tmp_path: Path) -> None:
    write_cases(tmp_path)
    command = [str(WEB / "node_modules" / ".bin" / "vitest"), "run", "test/decoder.test.ts"]
    environment = os.environ | {"OPENSAM_DECODER_CASES": str(tmp_path)}
    done = subprocess.run(command, cwd=WEB, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert f"{len(PICTURES) * len(PROMPTS)} passed" in done.stdout
