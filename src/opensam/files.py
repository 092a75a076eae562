"""Files that appear complete or not at all, and digests of what is in them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PREFIX = ".opensam-"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends and is deleted if it fails.

    Args:
        path: in a folder that exists; a file of that name stays as it is until the new one is complete.

    Yields:
        A path in the same folder, so that the change of names cannot be interrupted half-way.

    Raises:
        OSError: the file cannot be put in place.
    """
    path = Path(path)
    temporary = path.with_name(f"{PREFIX}{uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete what a process that was killed while writing left in a folder that nobody else writes to."""
    for leftover in folder.glob(f"{PREFIX}*.tmp"):
        leftover.unlink(missing_ok=True)


def digest_of(*paths: Path) -> str:
    """SHA-256 of files one after the other; of a folder, of all files in it.

    Raises:
        ValueError: there is no such file.
    """
    digest = hashlib.sha256()
    for path in paths:
        for part in sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]:
            try:
                with part.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise ValueError(f"expected a file {part}, got none: {error.strerror}; check the path") from None
    return digest.hexdigest()
