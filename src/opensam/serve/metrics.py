"""Counts and times as Prometheus reads them (text format 0.0.4), without a library for it."""

import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends, in seconds."""

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What the server counts; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._times: dict[str, dict[Labels, list[float]]] = defaultdict(dict)
        self._gauges: dict[str, Callable[[], float]] = {}
        self._help: dict[str, str] = {}

    def describe(self, name: str, text: str) -> None:
        """What a number is."""
        self._help[name] = text

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name][tuple(labels.items())] += amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add to a histogram of times."""
        with self._lock:
            slots = self._times[name].setdefault(tuple(labels.items()), [0.0] * (len(BUCKETS) + 2))
            slots[bisect_left(BUCKETS, seconds)] += 1
            slots[-1] += seconds

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A number that is read when somebody asks."""
        self._help[name] = text
        self._gauges[name] = read

    def render(self) -> str:
        """All of it."""
        lines: list[str] = []
        with self._lock:
            for name, counts in self._counts.items():
                lines += self._head(name, "counter")
                lines += [f"{name}{_braces(labels)} {value:g}" for labels, value in counts.items()]
            for name, times in self._times.items():
                lines += self._head(name, "histogram")
                for labels, slots in times.items():
                    lines += _histogram(name, labels, slots)
        for name, read in self._gauges.items():
            lines += [*self._head(name, "gauge"), f"{name} {read():.17g}"]
        return "\n".join(lines) + "\n"

    def _head(self, name: str, kind: str) -> list[str]:
        return [f"# HELP {name} {self._help.get(name, name)}", f"# TYPE {name} {kind}"]


def _histogram(name: str, labels: Labels, slots: list[float]) -> list[str]:
    lines, below = [], 0.0
    for end, number in zip([*(f"{bucket:g}" for bucket in BUCKETS), "+Inf"], slots, strict=False):
        below += number
        lines.append(f"{name}_bucket{_braces((*labels, ('le', end)))} {below:g}")
    return [*lines, f"{name}_sum{_braces(labels)} {slots[-1]:g}", f"{name}_count{_braces(labels)} {below:g}"]


def _braces(labels: Labels) -> str:
    quoted = [f'{name}="{_escaped(value)}"' for name, value in labels]
    return "{" + ",".join(quoted) + "}" if quoted else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resident_bytes() -> float:
    """Memory of this process that lies in RAM; 0 where the system does not say (Linux does)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
