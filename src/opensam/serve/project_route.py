"""How the routes of a project answer what goes wrong: a status and one sentence, no paths."""

import errno
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.types import Message, Receive

from opensam.engine.store import Annotation, ConflictError, DiskFullError, NotFoundError, StoreError
from opensam.image import ImageError
from opensam.serve.annotation_models import AnnotationModel, Labels
from opensam.serve.folder import FolderVanishedError, ReadOnlyError, VanishedError

MOST_JSON = 16 << 20
"""Bytes of a request with JSON."""
MOST_FILES = 2 << 30
"""Bytes of a request with files; they wait on disk, not in memory."""


class ProjectRoute(APIRoute):
    """A route that limits what comes in, and answers errors of pictures and store."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As the class says."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(Request(request.scope, _limited(request), request._send))
            except (ValueError, OSError) as error:
                found = answer_to(error)
                if found is None:
                    raise
                return found

        return answer


def answer_to(error: Exception) -> JSONResponse | None:
    """The answer to an error of pictures or store; None for any other."""
    if isinstance(error, ConflictError):
        return JSONResponse({"detail": str(error), "current": _current(error.current)}, 409)
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return JSONResponse({"detail": "the disk is full, so nothing was saved; make room and try again"}, 507)
        return JSONResponse({"detail": "the folder of pictures cannot be read or written to at the moment"}, 503)
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return JSONResponse({"detail": str(error)}, status)
    return None


# The first that fits.
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotFoundError, 404),
    (DiskFullError, 507),
    (StoreError, 503),
    (FolderVanishedError, 503),
    (VanishedError, 404),
    (ReadOnlyError, 403),
    (ImageError, 422),
)


def _current(value: Any) -> Any:
    """What is saved now, as JSON."""
    if isinstance(value, Annotation):
        return AnnotationModel.of(value).model_dump(mode="json")
    if isinstance(value, tuple):
        return Labels.of(*value).model_dump(mode="json")
    return None


def _limited(request: Request) -> Receive:
    """What comes in, until it is too much."""
    files = request.headers.get("content-type", "").startswith("multipart/")
    most = MOST_FILES if files else MOST_JSON
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > most:
        raise _too_large(most)
    come = 0

    async def receive() -> Message:
        nonlocal come
        message = await request.receive()
        come += len(message.get("body", b""))
        if come > most:
            raise _too_large(most)
        return message

    return receive


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"expected a request of at most {most >> 20} MiB; send it in parts")
