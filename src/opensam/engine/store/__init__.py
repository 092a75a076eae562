"""Where annotations are kept: in a file of SQLite beside the pictures, or in any database that SQLAlchemy knows.

Read `store` for what can be done, `tables` for what is kept, `connection` for when a write counts as done.
"""

from opensam.engine.store.errors import ConflictError, DiskFullError, NotFoundError, StoreError
from opensam.engine.store.statements import DONE, IN_PROGRESS, NEW, Saved
from opensam.engine.store.store import Store
from opensam.engine.store.tables import Annotation, Content, Label, Picture

__all__ = [
    "DONE",
    "IN_PROGRESS",
    "NEW",
    "Annotation",
    "ConflictError",
    "Content",
    "DiskFullError",
    "Label",
    "NotFoundError",
    "Picture",
    "Saved",
    "Store",
    "StoreError",
]
