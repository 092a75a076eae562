"""Which of the processes that work together this one is: the one place that reads rank variables."""

import os


def world_size() -> int | None:
    """How many processes a launcher such as torchrun has started in all; None: nobody launched this process."""
    size = os.environ.get("WORLD_SIZE")
    return int(size) if size is not None else None


def local_world_size() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process speaks for all: the only one, or the first of the first machine."""
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    return int(rank) == 0 and int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))) == 0
