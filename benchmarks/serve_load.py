"""A server under load, and what a `kill -9` leaves of the annotations that it acknowledged.

    python -m benchmarks.serve_load [--seconds 60] [--clients 50] [--out results]

Part one: a real `opensam serve` on loopback. Each client embeds a picture, one in five of them a new one, then predicts
from it several times, then the next. Counted are answers by status, their times, and the memory of the server.
Part two: `opensam annotate` on a folder. Writers save masks; in the middle the server is killed with SIGKILL and
started again: every mask that was answered with 201 must be there.

Writes serve_load.json and serve_load.md. Fails if a status other than 200 and 429 came, or if a mask is missing.
"""

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from benchmarks import report
from opensam.masks import encode_rle

SIZE = (480, 640)
PREDICTIONS = 6  # after each picture
NEW = 0.2  # of the pictures; the others are among SHARED that many clients use
SHARED = 10
SAMPLE_EVERY = 0.5  # seconds between two looks at the memory
WRITERS = 4


@dataclass
class Tally:
    """What the clients saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, status: int, seconds: float) -> None:
        with self.lock:
            self.statuses[f"{kind} {status}"] += 1
            if status == 200:
                self.times[kind].append(seconds)


def picture(seed: int) -> bytes:
    """A JPEG of smooth noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    stream = BytesIO()
    coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@contextmanager
def started(*arguments: str, home: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """An `opensam` process that answers, and its port; killed at the end if it still runs."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "opensam", *arguments, "--port", str(port)]
    with (home / "server.log").open("ab") as log:
        environment = os.environ | {"OPENSAM_HOME": str(home)}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                if ask(port, "GET", "/healthz")[0] == 200:
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit((home / "server.log").read_text()[-2000:]) from None
                time.sleep(0.1)
        yield process, port
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def ask(port: int, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, Any, float]:
    """Status, JSON and Retry-After of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        content = answer.read()
        plain = answer.headers.get_content_type() != "application/json"
        return answer.status, None if plain else json.loads(content), float(answer.headers.get("Retry-After", 0))
    finally:
        connection.close()


def client(port: int, number: int, until: float, tally: Tally) -> None:
    """One of the clients: embed, predict, the next picture."""
    rng = random.Random(number)
    while time.monotonic() < until:
        seed = 10_000 + rng.randrange(1 << 30) if rng.random() < NEW else rng.randrange(SHARED)
        found = timed(port, "embed", "/v1/embed", picture(seed), "image/jpeg", until, tally)
        for _ in range(PREDICTIONS if found else 0):
            points = [[rng.uniform(0, SIZE[1]), rng.uniform(0, SIZE[0])]]
            request = json.dumps({"embedding": found["id"], "point_coords": points}).encode()
            timed(port, "predict", "/v1/predict", request, "application/json", until, tally)


def timed(port: int, what: str, path: str, body: bytes, kind: str, until: float, tally: Tally) -> Any:
    """The answer; asks again after 429 as the server says, as long as there is time."""
    while time.monotonic() < until:
        begun = time.perf_counter()
        try:
            status, found, again = ask(port, "POST", path, body, kind)
        except (OSError, http.client.HTTPException) as error:
            with tally.lock:
                tally.errors.append(repr(error))
            return None
        tally.add(what, status, time.perf_counter() - begun)
        if status != 429:
            return found if status == 200 else None
        time.sleep(max(0, min(again, until - time.monotonic())))
    return None


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def load(seconds: float, clients: int, home: Path) -> dict[str, Any]:
    """Part one."""
    tally, memory = Tally(), []
    with started("serve", "--log-format", "json", home=home) as (process, port):
        ask(port, "POST", "/v1/embed", picture(0), "image/jpeg")
        begun = time.monotonic()
        until = begun + seconds
        threads = [threading.Thread(target=client, args=(port, n, until, tally)) for n in range(clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            memory.append((round(time.monotonic() - begun, 1), round(resident_mib(process.pid), 1)))
            time.sleep(SAMPLE_EVERY)
        elapsed = time.monotonic() - begun
    return {
        "seconds": elapsed,
        "clients": clients,
        "statuses": dict(sorted(tally.statuses.items())),
        "connection_errors": tally.errors[:20],
        "latency_ms": {kind: percentiles(times) for kind, times in sorted(tally.times.items())},
        "requests_per_second": {kind: len(times) / elapsed for kind, times in sorted(tally.times.items())},
        "resident_mib": memory,
    }


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"p50": 1000 * statistics.median(ordered), "p95": 1000 * p95, "max": 1000 * ordered[-1]}


def kill(seconds: float, home: Path) -> dict[str, Any]:
    """Part two."""
    acknowledged: dict[str, Any] = {}
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(WRITERS):
            (folder / f"{number}.jpg").write_bytes(picture(number))
        with started("annotate", str(folder), "--no-browser", home=home) as (process, port):
            ids = [one["id"] for one in ask(port, "GET", "/v1/images")[1]["images"]]
            threads = [threading.Thread(target=write, args=(port, one, acknowledged, stop)) for one in ids]
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            process.kill()  # SIGKILL, while all of them write
            process.wait()
            stop.set()
            for thread in threads:
                thread.join()
        with started("annotate", str(folder), "--no-browser", home=home) as (_, port):
            found = {}
            for one in ids:
                for saved in ask(port, "GET", f"/v1/images/{one}/annotations")[1]["annotations"]:
                    found[saved["id"]] = saved["segmentation"]
    missing = [key for key, mask in acknowledged.items() if found.get(key) != mask]
    return {"acknowledged": len(acknowledged), "found": len(found), "missing": len(missing)}


def write(port: int, image_id: str, acknowledged: dict[str, Any], stop: threading.Event) -> None:
    """Save one mask after the other, and remember those that the server said are saved."""
    rng = np.random.default_rng(hash(image_id) % 2**32)
    while not stop.is_set():
        mask = np.zeros(SIZE, dtype=np.bool_)
        y, x = rng.integers(0, (SIZE[0] - 50, SIZE[1] - 50))
        mask[y : y + 40, x : x + 40] = True
        key, rle = str(uuid4()), encode_rle(mask)
        annotation = {
            "id": key, "segmentation": rle, "label": None, "predicted_iou": 1.0, "stability_score": 1.0,
            "prompt": {}, "source": "manual",
        }  # fmt: skip
        try:
            path = f"/v1/images/{image_id}/annotations"
            status, _, _ = ask(port, "POST", path, json.dumps(annotation).encode(), "application/json")
        except (OSError, http.client.HTTPException):
            return  # killed
        if status != 201:
            raise SystemExit(f"expected 201, got {status}")
        acknowledged[key] = rle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--kill-after", type=float, default=5)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--home", type=Path, help="OPENSAM_HOME to use, with its decoder; a fresh one unless given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as fresh:
        home = arguments.home or fresh
        Path(home).mkdir(parents=True, exist_ok=True)
        loaded = load(arguments.seconds, arguments.clients, Path(home))
        killed = kill(arguments.kill_after, Path(home))
    rows = [
        [kind, f"{loaded['requests_per_second'][kind]:.1f}", *(f"{times[name]:.0f}" for name in ("p50", "p95", "max"))]
        for kind, times in loaded["latency_ms"].items()
    ]
    text = report.table(["", "answers/s", "p50 ms", "p95 ms", "max ms"], rows)
    memory = [mib for _, mib in loaded["resident_mib"]]
    text += f"\nStatuses: {loaded['statuses']}. Memory of the server: {memory[0]:.0f} MiB at the start, at most "
    text += f"{max(memory):.0f} MiB, {memory[-1]:.0f} MiB at the end. After kill -9: {killed['acknowledged']} masks "
    text += f"acknowledged, {killed['missing']} missing.\n"
    wrong = [status for status in loaded["statuses"] if status.split()[1] not in ("200", "429")]
    if wrong or loaded["connection_errors"] or killed["missing"]:
        print(text, loaded["connection_errors"])
        raise SystemExit(f"expected 200 and 429 alone and no missing mask, got {wrong}, {killed['missing']} missing")
    content = {"conditions": report.conditions("cpu", 0, "fastapi", "uvicorn"), "load": loaded, "kill": killed}
    report.write(arguments.out, "serve_load", content, text)
    print(text)


if __name__ == "__main__":
    main()
