"""One model over several processes: replicas that share gradients, or one copy of the weights split among all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from opensam import distributed
from opensam.precision import has_bfloat16
from opensam.train.optim import Average

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.distributed.device_mesh import DeviceMesh

Strategy = Literal["ddp", "fsdp"]
Precision = Literal["auto", "bf16-mixed", "32-true"]

GATHERED = StateDictOptions(full_state_dict=True, cpu_offload=True)


def make_fabric(devices: int, nodes: int, strategy: Strategy, precision: Precision) -> "Fabric":
    """Lightning Fabric with all processes running: it starts those of one machine, torchrun or Ray those of many.

    Args:
        devices: processes per machine, each with one GPU or, without any, on the CPU.
        nodes: machines.
        strategy: "ddp": every process has all weights; "fsdp": each keeps a part of them, for what one GPU cannot hold.
        precision: of matrix products; weights are float32 in all. "auto": bf16-mixed where the device computes in
            bfloat16 by itself, else 32-true (a CPU that imitates it takes six times as long).

    Raises:
        ValueError: a launcher started another number of processes than `devices * nodes`, or none did for several
            machines; the machine has fewer GPUs than devices.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    started = distributed.world_size()
    if started is not None and torch.distributed.is_torchelastic_launched() and started != devices * nodes:
        here = distributed.local_world_size()
        raise ValueError(
            f"expected {started} processes, as torchrun started them, got {devices} devices on {nodes} nodes; "
            f"give devices={here} and nodes={started // here}"
        )
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise ValueError(
            f"expected {devices} GPUs on this machine, got {torch.cuda.device_count()}; give --devices "
            f"{torch.cuda.device_count()}, and accumulate={devices} or so to keep the batch"
        )
    chosen: Any = "auto"
    if strategy == "fsdp":
        chosen = ModelParallelStrategy(_shard, data_parallel_size=devices * nodes, tensor_parallel_size=1)
    elif devices * nodes > 1:
        # A round without clicks or logits leaves some parameters without gradient.
        chosen = DDPStrategy(find_unused_parameters=True)
    if precision == "auto":
        chosen_by_fabric = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
        precision = "bf16-mixed" if has_bfloat16(torch.device(chosen_by_fabric)) else "32-true"
    fabric = Fabric(devices=devices, num_nodes=nodes, precision=precision, strategy=chosen)
    environment = getattr(fabric.strategy, "cluster_environment", None)
    if nodes > 1 and started is None and isinstance(environment, LightningEnvironment):
        raise ValueError(
            f"expected the processes of {nodes} machines to be started by torchrun or --backend ray, got none; "
            "see docs/scale.md, or give --nodes 1"
        )
    fabric.launch()
    return fabric


def _shard(module: nn.Module, mesh: "DeviceMesh") -> nn.Module:
    """Split the weights of each block of an encoder among all processes, and what is left as one more group."""
    from torch.distributed.fsdp import fully_shard

    mesh = mesh["data_parallel"]
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # other weights cannot be split
    for name, part in module.named_modules():
        if name.split(".")[-2:-1] == ["blocks"]:
            fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


@contextmanager
def usable(module: nn.Module) -> Iterator[None]:
    """Inside the block, parts of a module can be called although its weights are split among all processes.

    Blocks of an encoder gather their weights when they are called; the group of all others would do so only when the
    whole module is called.
    """
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def gathered_state(model: nn.Module, optimizer: torch.optim.Optimizer, average: Average) -> dict[str, Any]:
    """The whole state of a run as tensors of the CPU in the first process; all processes call this together."""
    with average.applied(model):
        averaged = get_model_state_dict(model, options=GATHERED)
    return {
        "model": get_model_state_dict(model, options=GATHERED),
        "average": averaged,
        "updates": average.updates,
        "optimizer": get_optimizer_state_dict(model, optimizer, options=GATHERED),
    }


def load_gathered_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: Average, state: dict[str, Any]
) -> None:
    """Undo `gathered_state`; every process has read the state."""
    set_model_state_dict(model, state["average"], options=GATHERED)
    average.values = {name: value.clone() for name, value in model.state_dict().items()}
    average.updates = state["updates"]
    set_model_state_dict(model, state["model"], options=GATHERED)
    # What never had a gradient has no state.
    partial = StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=partial)
