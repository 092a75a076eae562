"""Writing files that appear complete or not at all."""

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
