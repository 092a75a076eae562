"""A precision by name becomes a type, and "auto" asks the device."""

import pytest
import torch

from opensam import precision
from opensam.precision import compute_type

CPU = torch.device("cpu")


@pytest.mark.parametrize(("has_it", "chosen"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_bfloat16_where_the_device_has_it(monkeypatch, has_it, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_it}, raising=False)
    assert compute_type("auto", CPU, torch.float32) == chosen


@pytest.mark.parametrize("given", [torch.float64, torch.float16])
def test_auto_leaves_a_model_of_another_type_as_it_is(monkeypatch, given):
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: True)
    assert compute_type("auto", CPU, given) == given


def test_what_is_asked_for_is_taken_whatever_the_device_has(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: False)
    assert compute_type("bf16", CPU, torch.float32) == torch.bfloat16
    assert compute_type("float32", CPU, torch.float64) == torch.float32


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="expected the precision auto, float32 or bf16, got 'fp8'"):
        compute_type("fp8", CPU, torch.float32)


def test_a_device_of_an_unknown_kind_has_none():
    assert not precision.has_bfloat16(torch.device("meta"))
