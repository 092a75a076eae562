"""Which of the processes that work together this one is: the one place that reads and writes rank variables."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a process stands among all that work together.

    Attributes:
        rank: its number among all.
        local_rank: its number among those of its machine.
        node_rank: the number of its machine.
        world_size: how many processes there are.
        local_world_size: how many of them on its machine.
        address: of the machine of the first process.
        port: where the first process listens.
    """

    rank: int
    local_rank: int
    node_rank: int
    world_size: int
    local_world_size: int
    address: str
    port: int


def take_place(place: Place) -> None:
    """Make this process one of several: it looks from now on as if torchrun had started it."""
    os.environ |= {
        "RANK": str(place.rank),
        "LOCAL_RANK": str(place.local_rank),
        "GROUP_RANK": str(place.node_rank),
        "WORLD_SIZE": str(place.world_size),
        "LOCAL_WORLD_SIZE": str(place.local_world_size),
        "MASTER_ADDR": place.address,
        "MASTER_PORT": str(place.port),
        "TORCHELASTIC_RUN_ID": "opensam",  # by this one torch and Fabric know that they need not start anything
    }


def world_size() -> int | None:
    """How many processes a launcher such as torchrun has started in all; None: nobody launched this process."""
    size = os.environ.get("WORLD_SIZE")
    return int(size) if size is not None else None


def local_world_size() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process among all, 0 for the only one."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def is_first() -> bool:
    """Whether this process speaks for all: the only one, or the first of the first machine."""
    return rank() == 0 and int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))) == 0
