"""The benchmark of a training step: it measures one thing on both sides, or says so."""

import argparse
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import train_step, transformers_step
from opensam.data.mixture import open_mixture
from opensam.data.samples import AugmentConfig, Batch, make_batch
from opensam.models.sam import Sam
from opensam.train.segment import SegmentConfig, SegmentStep


@pytest.fixture(scope="module")
def options() -> argparse.Namespace:
    return train_step.parse(["--model=small", "--image-size=64", "--masks=4", "--device=cpu", "--precision=32-true"])


@pytest.fixture(scope="module")
def batch() -> Batch:
    return make_batch(open_mixture(["synthetic:9"], 0.5), 2, 64, 64, 4, AugmentConfig(), np.random.default_rng(0))


def test_both_sides_have_one_loss_and_one_gradient(options: argparse.Namespace, batch: Batch) -> None:
    torch.manual_seed(0)
    sam = Sam(train_step.architecture(options)).train()
    theirs = transformers_step.build(sam.config, sam.state_dict())

    def generators() -> tuple[torch.Generator, torch.Generator]:
        return torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)

    loss, _ = SegmentStep(sam, SegmentConfig())(batch, *generators())
    expected = transformers_step.step_loss(theirs, batch, *generators())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    ours = sam.image_encoder.get_parameter("patch_embed.proj.weight").grad
    other = theirs.vision_encoder.patch_embed.projection.weight.grad
    assert ours is not None
    assert (ours - other).norm() < 1e-3 * other.norm()


def runs(loss: float) -> dict[str, list[dict[str, Any]]]:
    def one(first_loss: float, seconds: list[float], peak: float) -> dict[str, Any]:
        return {"first_loss": first_loss, "seconds": seconds, "processor_seconds": seconds, "peak_mib": peak}

    return {
        "opensam": [one(3.0, [1.0, 2.0], 100.0), one(3.0, [2.0, 30.0], 300.0)],
        "transformers": [one(loss, [4.0, 4.0], 400.0), one(loss, [4.0, 4.0], 400.0)],
    }


def test_sides_that_do_not_do_the_same_are_not_compared() -> None:
    train_step.check_same_loss(runs(3.001), "32-true")
    with pytest.raises(ValueError, match="same loss"):
        train_step.check_same_loss(runs(3.01), "32-true")
    with pytest.raises(ValueError, match="same loss"):
        train_step.check_same_loss(runs(float("nan")), "32-true")


def test_the_report_has_medians_ratios_and_all_conditions(options: argparse.Namespace) -> None:
    content, text = train_step.summary(runs(3.0), options)
    assert content["medians"]["opensam"]["images_per_second"] == 0.5
    assert content["opensam_over_transformers"] == pytest.approx(
        {"images_per_second": 2.0, "seconds": 0.5, "processor_seconds": 0.5, "peak_mib": 0.5}
    )
    assert {"commit", "versions", "machine", "device", "seed", "load_average", "settings", "runs"} <= content.keys()
    assert content["versions"]["transformers"]
    assert "| opensam / transformers | 2.00 | 0.50 | 0.50 | 0.50 |" in text


def test_a_side_reports_its_figures(options: argparse.Namespace, tmp_path: Any) -> None:
    weights = tmp_path / "weights.safetensors"
    train_step.checkpoints.save(Sam(train_step.architecture(options)), weights)
    given = argparse.Namespace(
        **vars(options) | {"side": "opensam", "weights": weights, "steps": 1, "data": "synthetic:9"}
    )
    figures = train_step.run_side(given)
    assert figures["first_loss"] > 0
    assert len(figures["seconds"]) == len(figures["processor_seconds"]) == 1
    assert figures["peak_mib"] > 100
