"""Fetch a file once: resumed where it broke off, checked by its sha256, under its own name only when it is whole."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes there will be, None if the server does not say."""

CHUNK = 1 << 18  # bytes between two calls of progress
TIMEOUT = 30.0  # seconds of silence


class DownloadError(OSError):
    """A file could not be fetched; the sentence says what to do."""


def fetch(url: str, path: Path, sha256: str, progress: Progress | None = None) -> None:
    """Download `url` to `path`, unless it is there already.

    What has arrived stays beside it as `<name>.part` and is continued by the next call. Of several callers at once,
    in one process or in many, one downloads and the others wait for it.

    Args:
        url: where the file is.
        path: where it goes; missing folders are made.
        sha256: of the whole file, in hexadecimal digits.
        progress: see `Progress`.

    Raises:
        DownloadError: there is no network, the server refuses, the connection keeps breaking, the disk is full or
            closed to us, or the file is not the one expected (it is then deleted).
    """
    if path.exists():
        return  # without a lock: the folder may be read-only
    part = path.with_name(f"{path.name}.part")
    by_hand = f"download {url} by hand and give that file as checkpoint"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock")):
            if path.exists():
                return  # somebody else fetched it while we waited
            _fetch_part(url, part, progress)
            with part.open("rb") as file:
                got = hashlib.file_digest(file, "sha256").hexdigest()
            if got != sha256:
                part.unlink()
                raise DownloadError(
                    f"expected {url} to have sha256 {sha256}, got {got}, so it was deleted; try again, or {by_hand}"
                )
            part.replace(path)
    except DownloadError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = str(error).removeprefix("<urlopen error ").removesuffix(">") or type(error).__name__
        raise DownloadError(
            f"expected to fetch {url} into {path.parent}, got: {reason}; try again (what has arrived is kept), "
            f"or {by_hand}"
        ) from error


def _fetch_part(url: str, part: Path, progress: Progress | None) -> None:
    """Go on for as long as every connection brings something."""
    while True:
        before = _size(part)
        try:
            if _one_connection(url, part, before, progress):
                return
            broken: Exception = ConnectionError("the connection broke off")
        except (OSError, http.client.HTTPException) as error:
            broken = error
        if _size(part) <= before:
            raise broken


def _one_connection(url: str, part: Path, start: int, progress: Progress | None) -> bool:
    """Append what one connection brings to the first `start` bytes; returns whether the file is whole."""
    headers = {"User-Agent": "opensam"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return True  # there is nothing after what we have
        raise
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = start if resumed else 0  # a server that knows no ranges sends everything again
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    return total is None or done == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
