"""Schedule, weight decay, averages."""

import pytest
import torch

from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.train.optim import Average, OptimConfig, learning_rate, make_optimizer


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    config = OptimConfig(lr=1.0, schedule="cosine", final_lr=0.2, warmup=10)
    assert learning_rate(0, 1000, config) == pytest.approx(0.1)
    assert learning_rate(500, 1000, config) == pytest.approx(0.6)
    assert learning_rate(1000, 1000, config) == pytest.approx(0.2)


def test_the_paper_lowers_the_rate_twice() -> None:
    config = OptimConfig(warmup=250)
    rates = [learning_rate(step, 90_000, config) for step in (0, 249, 59_999, 60_000, 86_665, 86_666, 89_999)]
    assert rates == pytest.approx([8e-4 / 250, 8e-4, 8e-4, 8e-5, 8e-5, 8e-6, 8e-6])


def test_a_factor_on_the_rate_makes_groups() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    groups = make_optimizer(model, OptimConfig(), lambda name: 0.5 if name.startswith("0.") else 1.0).param_groups
    assert {(group["lr_scale"], group["weight_decay"], len(group["params"])) for group in groups} == {
        (scale, decay, 1) for scale in (0.5, 1.0) for decay in (0.1, 0.0)
    }


def test_only_matrices_and_convolutions_decay() -> None:
    sam = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=64)))
    names = {id(parameter): name for name, parameter in sam.named_parameters()}
    decays, others = make_optimizer(sam, OptimConfig()).param_groups
    assert len(decays["params"]) + len(others["params"]) == len(names)
    kept = {names[id(p)] for p in others["params"]}
    assert "mask_decoder.mask_tokens.weight" in kept
    assert "image_encoder.layers.1.blocks.0.attn.attention_biases" in kept
    assert "prompt_encoder.no_mask_embed.weight" in kept
    assert "mask_decoder.iou_prediction_head.layers.0.weight" not in kept


def test_the_average_follows_slowly_takes_batch_norm_along_and_forgets_the_start() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    with torch.no_grad():
        model[0].weight.zero_()
        average = Average(model, decay=0.5)
        model[0].weight += 1
        model[1].running_mean += 1
        model[1].num_batches_tracked += 7
    average.update(model)
    assert average.values["0.weight"].item() == pytest.approx(0.9), "the first decay is 1 / 10"
    assert average.values["1.num_batches_tracked"] == 7
    for _ in range(60):
        average.update(model)
    before = average.values["1.running_mean"].clone()
    model[1].running_mean += 1
    average.update(model)
    assert (average.values["1.running_mean"] - before).item() == pytest.approx(0.5, abs=1e-6)


def test_the_module_has_the_average_inside_the_block_only() -> None:
    model = torch.nn.Linear(1, 1)
    average = Average(model, decay=0.5)
    with torch.no_grad():
        model.weight += 1
    own = model.weight.item()
    with average.applied(model):
        assert model.weight.item() == pytest.approx(own - 1)
    assert model.weight.item() == own
