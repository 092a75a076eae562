"""The benchmark of decoding: all sides give one answer, or nothing is written."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import decode

SMALL = ["--device=cpu", "--grid=4", "--prompts=3", "--batches=1", "--clicks=1", "--repeats=1", "--seed=0"]
THREADS = f"--threads={torch.get_num_threads()}"


def test_every_side_gives_one_answer_and_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def in_this_process(name: str, options: decode.argparse.Namespace) -> dict[str, float]:
        return decode.run_side(decode.argparse.Namespace(**vars(options) | {"side": name}))

    config = decode.CONFIG.image_encoder.model_copy(update={"image_size": 64, "depth": 1, "global_attn_indexes": ()})
    monkeypatch.setattr(decode, "CONFIG", decode.CONFIG.model_copy(update={"image_encoder": config}))
    monkeypatch.setattr(decode, "in_own_process", in_this_process)
    decode.main([*SMALL, THREADS, "--precision", "float32", "bf16", "--out", str(tmp_path)])
    content = json.loads(next(tmp_path.glob("decode_cpu_*.json")).read_text())
    assert list(content["medians"]) == [f"{side} {kind}" for kind in decode.DTYPES for side in decode.SIDES]
    assert all(figures["click_seconds"] > 0 for figures in content["medians"].values())
    assert content["largest_error"]["fast float32"] < 1e-5
    assert content["transformers float32_over_each"]["transformers float32"]["click_seconds"] == 1
    assert {"commit", "versions", "machine", "device", "seed", "load_average", "settings", "runs"} <= content.keys()
    assert "| fast bf16 |" in capsys.readouterr().out


def test_sides_that_answer_differently_are_not_compared(tmp_path: Path) -> None:
    masks, scores = torch.ones(2, 3, 4, 4), torch.ones(2, 3)
    names = ["fast float32", "transformers float32"]
    for name, factor in zip(names, (1.00005, 1.0), strict=True):
        torch.save([masks * factor, scores], tmp_path / f"{name}.pt")
    assert decode.check_same_answer(tmp_path, names)["fast float32"] == pytest.approx(5e-5, rel=0.01)
    for wrong in (1.001, float("nan")):
        torch.save([masks * wrong, scores], tmp_path / "fast float32.pt")
        with pytest.raises(ValueError, match="answer of transformers"):
            decode.check_same_answer(tmp_path, names)


def test_no_prompts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        decode.parse(["--prompts=0"])
    assert "at least one prompt" in capsys.readouterr().err
