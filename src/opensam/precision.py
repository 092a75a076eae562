"""How exactly a model computes, and what a device can do: the one place that asks whether it has bfloat16."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch  # imported where it computes: settings have a precision also where there is no torch

Precision = Literal["auto", "float32", "bf16"]


def resolve(precision: Precision, device: str) -> Precision:
    """What "auto" means on a device of this machine; anything else stays as it is.

    Raises:
        ValueError: there is no such precision or device.
    """
    import torch

    try:
        kind = compute_type(precision, torch.device(device), torch.float32)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"expected a device of torch, got {device}: {reason}; try cpu") from None
    return "bf16" if kind == torch.bfloat16 else "float32"


def compute_type(precision: Precision, device: "torch.device", given: "torch.dtype") -> "torch.dtype":
    """The type in which a model shall compute.

    Args:
        precision: "auto": bfloat16 where the device has it, else float32; a model that is not in float32 keeps its
            type.
        device: where.
        given: the type of the model's weights.

    Raises:
        ValueError: there is no such precision.
    """
    import torch

    if precision == "float32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if precision != "auto":
        raise ValueError(f"expected the precision auto, float32 or bf16, got {precision!r}")
    return torch.bfloat16 if given == torch.float32 and has_bfloat16(device) else given


def has_bfloat16(device: "torch.device") -> bool:
    """Whether a device has instructions for bfloat16; one that imitates them takes six times as long as in float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    return any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
