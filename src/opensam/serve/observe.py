"""Around every request: an id, a log line, a number in the metrics, the headers, and 500 where all else fails."""

import logging
import time
from collections.abc import Mapping
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opensam.serve.errors import problem
from opensam.serve.logs import log
from opensam.serve.metrics import Metrics

_GONE = 499  # as nginx has it: the client went away


class Observe:
    """The outermost layer.

    Args:
        app: what is observed.
        metrics: gets requests and times.
        headers: for every answer that has none of that name.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, headers: Mapping[str, str]) -> None:
        self._app, self._metrics, self._headers = app, metrics, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, request_id = time.perf_counter(), 0, uuid4().hex[:12]

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            status = _GONE
        except Exception as error:
            log(logging.ERROR, "unexpected error", error, id=request_id, path=scope["path"])
            sentence = f"something went wrong in the server; its log says more under the request {request_id}"
            if not status:
                await problem(500, sentence)(scope, receive, observed)
        finally:
            self._note(scope, status or _GONE, time.perf_counter() - started, request_id)

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        # The pattern of the path: of paths themselves there are as many as pictures.
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.count("opensam_requests_total", method=_known(scope["method"]), route=route, status=str(status))
        self._metrics.observe("opensam_request_seconds", seconds, route=route)
        log(
            logging.INFO,
            "request",
            id=request_id,
            method=scope["method"],
            path=scope["path"],  # without the query, which may hold the token
            status=status,
            seconds=round(seconds, 4),
            client=(scope.get("client") or ["-"])[0],
        )


def _known(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
