"""How exactly a model computes, and what a device can do: the one place that asks whether it has bfloat16."""

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bf16"]


def compute_type(precision: Precision, device: torch.device, given: torch.dtype) -> torch.dtype:
    """The type in which a model shall compute.

    Args:
        precision: "auto": bfloat16 where the device has it, else float32; a model that is not in float32 keeps its
            type.
        device: where.
        given: the type of the model's weights.

    Raises:
        ValueError: there is no such precision.
    """
    if precision == "float32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if precision != "auto":
        raise ValueError(f"expected the precision auto, float32 or bf16, got {precision!r}")
    return torch.bfloat16 if given == torch.float32 and has_bfloat16(device) else given


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; one that imitates them takes six times as long as in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    return any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
