"""Run an application until Ctrl-C: the address first, so that a taken one is one sentence."""

import errno
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

PORT = 8765
GRACE = 10
"""Seconds in which requests may end after Ctrl-C."""


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens.

    Args:
        host: address or name of this machine.
        port: None: `PORT`, or any free one if that is taken.

    Raises:
        ValueError: the port is taken or not allowed, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port is not None else [PORT, 0]:
        one = socket.socket(family)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, candidate))
            one.listen(1024)
        except OSError as error:
            one.close()
            if port is None and candidate == PORT and error.errno == errno.EADDRINUSE:
                continue
            reason = {errno.EADDRINUSE: "is taken by another program; choose another --port"}.get(
                error.errno or 0, "cannot be used here; choose another --host or --port"
            )
            raise ValueError(f"the address {host}:{candidate} {reason}") from None
        return one
    raise ValueError(f"expected a free port on {host}, found none; free one")


def url_of(listening: socket.socket, host: str, token: str | None) -> str:
    """What to type into a browser."""
    port = listening.getsockname()[1]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


class _Server(uvicorn.Server):
    """Ends long work as soon as somebody wants the server to end."""

    def __init__(self, config: uvicorn.Config, begin_shutdown: Callable[[], None]) -> None:
        super().__init__(config)
        self._begin_shutdown = begin_shutdown
        self.interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.interrupted = self.interrupted or sig == signal.SIGINT
        self._begin_shutdown()
        super().handle_exit(sig, frame)


def run(app: FastAPI, listening: socket.socket) -> None:
    """Answer until SIGINT or SIGTERM; requests that run may end.

    Raises:
        KeyboardInterrupt: it was SIGINT. uvicorn raises it most times, and not on every busy machine.
    """
    one = server(app)
    one.run(sockets=[listening])
    if one.interrupted:
        raise KeyboardInterrupt


def server(app: FastAPI) -> _Server:
    """The server of an application, not yet started."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # `observe` has a line for each request, without tokens
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=1 << 16,
    )
    return _Server(config, app.state.service.begin_shutdown)
