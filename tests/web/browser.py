"""A real Chromium, led by web/e2e/driver.mjs, and a real `opensam annotate` for it to open."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
WEB = ROOT / "web"
INSTALLED = WEB / "node_modules" / ".package-lock.json"  # npm writes it last
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START = 60.0  # seconds that the server may take until it answers

Handlers = Mapping[str, Callable[[Any], object]]


def missing_node() -> str | None:
    """Why nothing can be run with Node here, or None."""
    if shutil.which("node") is None:
        return "there is no Node.js; it is needed to change the browser app, not to use it"
    if not INSTALLED.is_file():
        return "web/node_modules is not installed: make web"
    return None


def find_chromium() -> str | None:
    """The browser's program."""
    return next((found for name in CHROMIUMS if (found := shutil.which(name))), None)


def missing_browser() -> str | None:
    """Why the browser tests cannot run here, or None."""
    if reason := missing_node():
        return reason
    return None if find_chromium() else "there is no Chromium (Debian: apt-get install chromium)"


class Browser:
    """One Chromium; every scenario gets pages of its own in it."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("w")
        self._process = subprocess.Popen(
            ["node", str(WEB / "e2e" / "driver.mjs"), str(find_chromium())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.version = self._receive()["result"]

    def run(self, scenario: str, handlers: Handlers | None = None, **arguments: Any) -> Any:
        """Play `scenario` ("module.function" of web/e2e) and return what it returns; AssertionError where it fails."""
        self._send({"scenario": scenario, "arguments": arguments})
        while "ask" in (message := self._receive()):
            self._send({"answer": (handlers or {})[message["ask"]](message["value"])})
        assert "error" not in message, message["error"]
        return message["result"]

    def close(self) -> None:
        """End the browser."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the browser's driver ended: {Path(self._log.name).read_text()}"
        return json.loads(line)


class Annotator:
    """`opensam annotate FOLDER` as a process of its own, which may be killed and started again."""

    def __init__(self, folder: Path, cache: Path, log: Path) -> None:
        self.folder, self.cache, self.log = folder, cache, log
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["annotate", str(self.folder), "--port", str(self.port), "--no-browser"]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "opensam", *command],
                env={**os.environ, "OPENSAM_HOME": str(self.cache)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + START
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, f"no answer in {START:.0f} s: {self.log.read_text()}"
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash or a power cut does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """End it as Ctrl+C does; its exit code."""
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(15)
        finally:
            self._process.kill()

    def get(self, path: str) -> Any:
        """What the server answers, as JSON."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=20) as answer:
            return json.load(answer)

    def _answers(self) -> bool:
        try:
            return bool(self.get("/healthz"))
        except OSError:
            return False


def saved(annotator: Annotator, picture: str) -> list[dict[str, Any]]:
    """The annotations of a picture in the store."""
    images = annotator.get("/v1/images?limit=100")["images"]
    image = next(one for one in images if Path(one["file_name"]).stem == picture)
    return annotator.get(f"/v1/images/{image['id']}/annotations")["annotations"]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
