"""Work that gains little from torch's own threads, in several Python threads instead.

A network answers a few prompts by many small operations, one after the other. torch's threads share each of them, and
two are hardly faster than one (docs/experiments.md). Where there are several groups of prompts, each group can have a
thread for itself: torch, numpy and OpenCV leave the interpreter to others while they compute.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Task = TypeVar("Task")
Answer = TypeVar("Answer")

_STARTING = threading.Lock()


def side_by_side(function: Callable[[Task], Answer], tasks: Iterable[Task], device: torch.device) -> list[Answer]:
    """What a function makes of each task, in their order, by as many Python threads as torch has threads here.

    In each of them torch computes with one thread, so no answer depends on their number. Where torch has one thread,
    and on any device but a processor, the calling thread does everything. It may be called from several threads. What
    `torch.set_num_threads` has set, here or for threads yet to come, stays, also after an error; but another thread of
    the program that uses torch for the first time in the milliseconds in which these begin has one from then on.

    Args:
        function: must bear being called in several threads at once; grad mode and autocast are as in a new thread.
        tasks: as many are held as there are; as many are in work as there are threads.
        device: where the function computes.

    Raises:
        Exception: what the function raised over the first task that failed; tasks not begun by then are dropped.
    """
    with _STARTING:
        count = torch.get_num_threads() if device.type == "cpu" else 1
    if count == 1:
        return list(map(function, tasks))
    with ThreadPoolExecutor(count, initializer=_start, initargs=(count,)) as pool:
        return list(pool.map(function, tasks))


def _start(count: int) -> None:
    """Let torch compute with one thread in this one, and with `count` in those yet to come.

    `torch.set_num_threads` holds for the thread that calls it, and for threads that first use torch after it. Measured
    with torch 2.13, OpenMP and MKL.
    """
    with _STARTING:
        torch.set_num_threads(1)
        torch.get_num_threads()  # the first use, before another number holds for it
        restoring = threading.Thread(target=torch.set_num_threads, args=(count,))
        restoring.start()
        restoring.join()


def one_for_this() -> None:
    """Let torch compute with one thread in this one, and as before in all others; call it before torch is used here."""
    with _STARTING:
        count = torch.get_num_threads()
    _start(count)
