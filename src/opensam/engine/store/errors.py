"""What can go wrong with a store, each in one sentence."""

from typing import Any


class StoreError(ValueError):
    """Annotations cannot be read or saved; the message says why, without naming places on disk once it is open."""


class DiskFullError(StoreError):
    """There is no room for another write; what was written before is there."""


class NotFoundError(StoreError):
    """There is no such annotation, or no longer."""


class ConflictError(StoreError):
    """Somebody else was faster.

    Attributes:
        current: what is saved now; None if it was deleted.
    """

    def __init__(self, message: str, current: Any) -> None:
        super().__init__(message)
        self.current = current
