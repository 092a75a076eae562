"""The benchmark of encoding: all sides give one embedding, or it says so."""

import argparse
from typing import Any

import pytest
import torch

from benchmarks import encode

SIDES = ("transformers-float32", "plain-float32", "fast-float32", "transformers-bf16", "fast-bf16")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> argparse.Namespace:
    options = encode.parse(["--model=small", "--image-size=112", "--device=cpu", "--encodes=1"])
    options.weights = tmp_path_factory.mktemp("weights")
    encode.checkpoints.save(encode.random_sam(options), options.weights / "weights.safetensors")
    return options


def run(options: argparse.Namespace, side: str) -> dict[str, Any]:
    return encode.run_side(argparse.Namespace(**vars(options) | {"side": side}))


def test_every_side_gives_the_same_embeddings_and_its_figures(options: argparse.Namespace) -> None:
    for side in SIDES:
        figures = run(options, side)
        assert len(figures["seconds"]) == len(figures["processor_seconds"]) == 1
        assert figures["peak_mib"] >= 0
    embeddings = {side: torch.load(options.weights / f"{side}.pt") for side in SIDES}
    assert all(embedding.shape == (1, 256, 7, 7) for embedding in embeddings.values())
    errors = encode.differences(embeddings)
    encode.check_same_embeddings(errors)
    assert errors["fast-bf16"]["relative"] > 1e-4, "the second precision is the first"


def test_relative_positions_matter_in_what_is_compared(options: argparse.Namespace) -> None:
    sam = encode.random_sam(options)
    pixels = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = sam.encode(pixels)
        sam.image_encoder.get_parameter("blocks.0.attn.rel_pos_w").zero_()
        with pytest.raises(ValueError, match="expected embeddings within"):
            encode.check_same_embeddings(
                encode.differences({"plain-float32": before, "fast-float32": sam.encode(pixels)})
            )


def test_embeddings_that_are_no_numbers_are_not_the_same() -> None:
    one = torch.ones(1, 256, 2, 2)
    with pytest.raises(ValueError, match="of fast-bf16"):
        encode.check_same_embeddings(encode.differences({"plain-float32": one, "fast-bf16": one * torch.nan}))


def test_a_model_that_transformers_does_not_have_is_compared_with_the_plain_one() -> None:
    options = encode.parse(["--model=tiny", "--image-size=64", "--device=cpu"])
    assert encode.all_sides(options)[:2] == ["plain-float32", "fast-float32"]


def test_the_report_has_medians_ratios_and_all_conditions(options: argparse.Namespace) -> None:
    def figures(*seconds: float) -> list[dict[str, Any]]:
        return [{"seconds": [one], "processor_seconds": [one], "peak_mib": 100 * one} for one in seconds]

    runs = {"transformers-float32": figures(3.0, 4.0, 40.0), "fast-float32": figures(2.0, 1.0, 9.0)}
    errors = {side: {"relative": 1e-6, "largest": 1e-5} for side in runs}
    content, text = encode.summary(runs, errors, options)
    assert content["speedup"] == {"transformers-float32": 1.0, "fast-float32": 2.0}
    assert content["medians"]["fast-float32"]["peak_mib"] == 200
    assert {"commit", "versions", "machine", "device", "seed", "load_average", "settings", "errors"} <= content.keys()
    assert "| fast float32 | 2 | 2 | 200 | 1e-06 | 2.00 |" in text
