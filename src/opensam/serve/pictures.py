"""Uploads: read with limits, and looked at before anything is unpacked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile
from starlette.types import Message, Receive

from opensam import image as images
from opensam.image import ImageError
from opensam.serve.errors import busy
from opensam.serve.settings import MIB, ServeConfig

_FORM_BYTES = 1 << 16  # of a form beside its picture
# How files begin that Pillow reads without starting another program (as for PostScript): JPEG, PNG, GIF, BMP, TIFF.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_KINDS = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"

PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            **{
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("image/jpeg", "image/png", "image/webp", "image/tiff")
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
"""For OpenAPI: a picture as the body, or as a field of a form."""


class Held:
    """How many bytes of uploads are in memory."""

    def __init__(self, most: int) -> None:
        self.most, self.bytes = most, 0


def check_picture(content: bytes, config: ServeConfig) -> tuple[int, int]:
    """(H, W) of an uploaded picture, from its header.

    Raises:
        HTTPException: 400 nothing came; 415 it is no picture; 413 it has too many pixels.
    """
    if not content:
        raise HTTPException(400, "expected the bytes of a picture, got none")
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    avif = content[4:8] == b"ftyp" and content[8:12] in (b"avif", b"avis")
    if not (content.startswith(_BEGINNINGS) or webp or avif):
        raise HTTPException(415, f"expected a picture as {_KINDS}, got something else; convert it to PNG or JPEG")
    try:
        height, width = images.size(content)
    except ImageError:
        raise HTTPException(422, "the picture is damaged; save or download it again") from None
    if height * width > config.max_pixels:
        raise HTTPException(
            413, f"expected a picture of at most {config.max_pixels} pixels, got {width} x {height}; scale it down"
        )
    return height, width


async def read_picture(request: Request) -> tuple[bytes, dict[str, str]]:
    """The picture of a request, and the other fields of its form.

    Raises:
        HTTPException: 400 there is none; 415 neither a picture nor a form; 413 too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        return await request.body(), {}
    if kind != "multipart/form-data":
        raise HTTPException(415, "expected content of type image/... or multipart/form-data with the field image")
    async with request.form(max_files=1, max_fields=8, max_part_size=_FORM_BYTES) as form:
        upload = form.get("image")
        if not isinstance(upload, UploadFile):
            raise HTTPException(422, "expected a file in the field image, got none; send -F image=@photo.jpg")
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        return await upload.read(), fields


class LimitedRoute(APIRoute):
    """A route that stops reading when too much comes, comes too slowly, or too many uploads are there at once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As the class says."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            service = request.app.state.service
            async with _limited(request, service.config, service.held) as receive:
                return await handle(Request(request.scope, receive, request._send))

        return answer


@asynccontextmanager
async def _limited(request: Request, config: ServeConfig, held: Held) -> AsyncIterator[Receive]:
    kind = request.headers.get("content-type", "")
    picture = kind.startswith(("image/", "multipart/", "application/octet-stream"))
    most = config.max_bytes + _FORM_BYTES if picture else config.max_json
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > most:
        raise _too_large(most)
    clock = asyncio.get_running_loop().time
    came, ended, until = 0, False, clock() + config.body_seconds

    async def receive() -> Message:
        nonlocal came, ended
        if ended:  # from here on it only hears that the client goes away
            return await request.receive()
        try:
            async with asyncio.timeout_at(until):
                message = await request.receive()
        except TimeoutError:
            raise HTTPException(408, "the request took too long to arrive; send it again") from None
        came += len(message.get("body", b""))
        held.bytes += len(message.get("body", b""))
        ended = not message.get("more_body", False)
        if came > most:
            raise _too_large(most)
        if held.bytes > held.most:
            raise busy("too many uploads at once; try again in a moment", 2)
        return message

    try:
        yield receive
    finally:
        held.bytes -= came


def _too_large(most: int) -> HTTPException:
    size = f"{most // MIB} MiB" if most >= MIB else f"{most} bytes"
    return HTTPException(413, f"expected a request of at most {size}; send a smaller one")


def read_json_field(text: str, name: str) -> dict[str, Any]:
    """A field of a form that holds a JSON object.

    Raises:
        HTTPException: 422 it does not.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise HTTPException(422, f"expected a JSON object in the field {name}, got something else")
    return value
