"""Measuring pictures one by one, by whoever is free: no result depends on who, when, or how often it broke off."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from opensam.data.dataset import Pictures
from opensam.data.selection import evenly
from opensam.eval.journal import Journal


@dataclass(frozen=True)
class Item:
    """A picture that is to be measured.

    Attributes:
        dataset: the name of its data set.
        name: its own.
        place: which of the data sets, and which picture of that.
    """

    dataset: str
    name: str
    place: tuple[int, int]

    @property
    def key(self) -> str:
        """By this it is known in journals, lists and seeds."""
        return f"{self.dataset}/{self.name}"


Measure = Callable[[Item], Any]
"""What is done with a picture; the value is one that JSON can hold. ValueError or OSError: the picture is bad."""
Start = Callable[[], Measure]
"""Makes a worker ready (loads a model, say); must survive pickling."""
Answers = Iterator[tuple[Item, "Answer | Exception"]]
Spread = Callable[[Callable[[], Callable[[Item], "Answer"]], Iterator[Item], int], AbstractContextManager[Answers]]
"""Gives so many pictures to workers, each of which makes itself ready by the function; see `opensam.launch.pool`."""


@dataclass(frozen=True)
class Answer:
    """What a worker says of a picture: a value and the seconds it took, or why there is none."""

    value: Any = None
    seconds: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far a measurement is.

    Attributes:
        method: what is measured.
        dataset: of the picture that was measured last.
        done: pictures, those of an earlier start included.
        of: all of them.
    """

    method: str
    dataset: str
    done: int
    of: int


@dataclass(frozen=True)
class Measured:
    """The values of all pictures.

    Attributes:
        values: by item, in the order in which they were given.
        seconds: by item, of the worker that measured it.
        skipped: by the key of a bad picture, the reason.
    """

    values: dict[Item, Any]
    seconds: dict[Item, float]
    skipped: dict[str, str]

    @property
    def images_per_second(self) -> float | None:
        """Of one worker; None if there was nothing to do."""
        total = sum(self.seconds.values())
        return len(self.seconds) / total if total else None


def list_items(datasets: Sequence[Pictures], limit: int | None = None) -> list[Item]:
    """The pictures of data sets, of each at most `limit`, evenly spaced."""
    return [
        Item(dataset.name, dataset.key(row), (number, row))
        for number, dataset in enumerate(datasets)
        for row in evenly(len(dataset), limit or len(dataset))
    ]


def measure(
    items: Sequence[Item],
    start: Start,
    *,
    method: str,
    spread: Spread,
    journal: Journal,
    report: Callable[[Progress], None],
    skip_bad: bool = False,
) -> Measured:
    """Measure pictures; what the journal knows is not measured again.

    Args:
        items: each with a key of its own.
        start: see `Start`.
        method: distinguishes the measurements of one journal.
        spread: the workers.
        journal: gets every value at once.
        report: called after each picture.
        skip_bad: a picture that cannot be used is listed instead of ending all.

    Raises:
        ValueError: a picture cannot be used, or a worker died over it; its key is in the message. Or none is left.
    """
    # The values are kept as JSON has them, so that those of an earlier start are no others.
    known = {item.key: journal.values[key] for item in items if (key := _key(method, item)) in journal.values}
    todo = [item for item in items if item.key not in known]
    skipped: dict[str, str] = {}
    done = len(items) - len(todo)
    if todo:
        with spread(partial(_start, start), iter(todo), len(todo)) as answers:
            for item, answer in answers:
                answer = Answer(reason=str(answer)) if isinstance(answer, Exception) else answer
                if answer.reason is not None and not skip_bad:
                    raise ValueError(f"{item.key}: {answer.reason}; --skip-bad passes over such pictures")
                if answer.reason is None:
                    known[item.key] = journal.add(_key(method, item), [answer.value, answer.seconds])
                else:
                    skipped[item.key] = answer.reason
                done += 1
                report(Progress(method, item.dataset, done, len(items)))
    used = [item for item in items if item.key in known]
    if not used:
        reasons = "; ".join(sorted(set(skipped.values()))[:1]) or "there is none"
        raise ValueError(f"expected pictures that can be measured, got none among {len(items)}: {reasons}")
    values, seconds = ({item: known[item.key][which] for item in used} for which in (0, 1))
    return Measured(values, seconds, dict(sorted(skipped.items())))


def _key(method: str, item: Item) -> str:
    return f"{method} {item.key}"


def _start(start: Start) -> Callable[[Item], Answer]:
    return partial(_timed, start())


def _timed(work: Measure, item: Item) -> Answer:
    began = time.perf_counter()
    try:
        value = work(item)
    except (ValueError, OSError) as error:
        return Answer(reason=" ".join(str(error).split()))
    return Answer(value, time.perf_counter() - began)
