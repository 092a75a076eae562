"""`benchmarks/precision.py`: masks in bfloat16 beside those in float32."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import precision


def test_it_compares_candidates_and_both_with_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precision.main(["--data", "synthetic:1", "--masks", "2", "--out", str(tmp_path)])
    written = json.loads((tmp_path / "precision_opensam_tiny.json").read_text())
    assert written["pictures"] == 1
    assert written["prompts"]["box"]["masks"] == 6  # 2 masks, 3 candidates
    for row in written["prompts"].values():
        assert 0.9 < row["mean_iou"] < 1  # not the same computation, nearly the same masks
        assert abs(row["float32_with_truth"] - row["bf16_with_truth"]) < 0.05
    assert (tmp_path / "precision_opensam_tiny.md").read_text() in capsys.readouterr().out


def test_iou_of_masks_and_of_nothing() -> None:
    one, other = np.zeros((2, 2, 2), dtype=bool)
    assert precision.iou(one, other) == 1
    one[0] = True
    assert precision.iou(one, other) == 0
    other[:, 0] = True
    assert precision.iou(one, other) == pytest.approx(1 / 3)
