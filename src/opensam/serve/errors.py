"""Every error is a status and {"detail": one sentence}: no paths, no tracebacks, nothing of what came but numbers."""

import errno
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as AnyHTTPException

_MOST_SECONDS = 120
_PLAIN = {
    404: "there is nothing at this address; see /docs for what there is",
    405: "this address does not take this method; see /docs for the ones it takes",
}


class Problem(BaseModel):
    """What every error answers."""

    detail: str


def busy(sentence: str, seconds: float) -> HTTPException:
    """A 429 that says when to come again."""
    return HTTPException(429, sentence, headers=_later(seconds))


def unavailable(sentence: str, seconds: float) -> HTTPException:
    """A 503 that says when to come again."""
    return HTTPException(503, sentence, headers=_later(seconds))


def one_line(error: Exception) -> str:
    """The sentence of an error of ours, which may have been wrapped into lines."""
    return " ".join(str(error).split())


def _later(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(min(_MOST_SECONDS, max(1, math.ceil(seconds))))}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: what else a route may answer."""
    words = {
        400: "The request cannot be read",
        404: "Not held, or not any more",
        413: "Too large",
        415: "Not a picture",
        422: "Read, but not possible",
        429: "Too much at once; Retry-After says when to come again",
        503: "Not at the moment; Retry-After, where there is one, says when to come again",
    }
    return {status: {"model": Problem, "description": words[status]} for status in statuses}


def install(app: FastAPI) -> None:
    """Make the application answer errors so."""
    app.add_exception_handler(AnyHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OSError, _disk_error)


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer itself."""
    return JSONResponse({"detail": sentence}, status, headers)


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    status, detail, headers = error.status_code, error.detail, error.headers  # type: ignore[attr-defined]
    if status in _PLAIN and detail in ("Not Found", "Method Not Allowed"):
        detail = _PLAIN[status]
    if detail == "There was an error parsing the body":
        detail = "expected a body that can be read, got one that cannot; see /docs for an example"
    return problem(status, detail, headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    first = error.errors()[0]  # type: ignore[attr-defined]
    if first["type"] == "json_invalid":
        return problem(400, f"expected JSON, got something else at character {first['loc'][-1]}")
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return problem(422, f"{where[:200]}: {first['msg'].removeprefix('Value error, ')[:300]}")


async def _disk_error(_: Request, error: Exception) -> JSONResponse:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return problem(507, "the disk of the server is full; make room and try again")
    raise error
