"""A database that says what is wrong in one sentence, and whose finished writes survive a pulled plug.

SQLite writes ahead into a log (WAL), which every commit flushes to the disk (synchronous FULL): readers never wait, a
writer waits for the one before. A write begins with BEGIN IMMEDIATE, because a transaction that reads first and then
wants to write cannot wait for another that did the same.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import exc

from opensam.engine.store.errors import DiskFullError, StoreError

BUSY_SECONDS = 15.0
"""How long to wait for another process that writes."""
_FULL = ("SQLITE_FULL", "53100")  # of SQLite, of PostgreSQL (its appendix A)
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "40001", "40P01")
_READ_ONLY = ("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "25006", "42501")
_ONE_AT_A_TIME = 0x6F70656E  # key of PostgreSQL's lock while tables are made


class Database:
    """An engine of SQLAlchemy with the promises above.

    Args:
        url: of SQLAlchemy, or the path of a file of SQLite.

    Raises:
        StoreError: no such database, no driver for it, or no right to write there.
    """

    def __init__(self, url: str | Path) -> None:
        try:
            # Not as text: a path may have characters that mean something in a URL.
            parsed = sql.URL.create("sqlite", database=str(url)) if isinstance(url, Path) else sql.make_url(url)
            self.file = _file_of(parsed)
            arguments: dict[str, Any] = {"timeout": BUSY_SECONDS} if self.file else {}
            self.engine = sql.create_engine(
                parsed, connect_args=arguments, pool_size=8, max_overflow=32, pool_pre_ping=self.file is None
            )
        except exc.ArgumentError as error:
            raise StoreError("expected a URL of SQLAlchemy, such as sqlite:///notes.sqlite, as store") from error
        except ImportError as error:
            raise StoreError(f"{error.name} is missing, which this kind of store needs; pip install it") from error
        if self.file:
            sql.event.listen(self.engine, "connect", _prepare)
            sql.event.listen(self.engine, "begin", _begin)
        self._identity: tuple[int, int] | None = None
        try:
            with self.engine.connect():
                self._identity = _identity(self.file)
        except exc.DBAPIError as error:
            reason = str(error.orig).strip().splitlines()[0]
            where = self.file or parsed.render_as_string(hide_password=True)
            raise StoreError(
                f"cannot open the annotations in {where}: {reason}; check that the folder can be written to, "
                "or keep them elsewhere with --store"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """What is read inside was all there at one moment. Raises StoreError."""
        self._check_there()  # before, too: opening what is gone would make an empty one
        with _explained(), self.engine.begin() as connection:
            yield connection
        self._check_there()

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """All that is written inside is on disk when the block ends, or nothing of it where it fails.

        Raises:
            StoreError: it cannot be written.
            sqlalchemy.exc.IntegrityError: another process wrote the same key meanwhile.
        """
        self._check_there()
        with _explained(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            if self.file is None and connection.dialect.name == "postgresql":
                connection.execute(sql.text("SET LOCAL synchronous_commit TO on"))
            yield connection
        self._check_there()

    def one_at_a_time(self, connection: sql.Connection) -> None:
        """Hold other processes off until the end of a write; writes of SQLite do so by themselves."""
        if connection.dialect.name == "postgresql":
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))

    def close(self) -> None:
        """Close all connections; the last one to a file tidies it up."""
        self.engine.dispose()

    def _check_there(self) -> None:
        # A file that was deleted can still be written to by those who have it open, and is gone when they close it.
        if self._identity != _identity(self.file):
            raise StoreError("the annotations have vanished from the disk; put their folder back, or start again")


def _file_of(url: sql.URL) -> str | None:
    """The path of a database of SQLite; None of another kind."""
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise StoreError("expected a store that lasts, got SQLite without a file; name one: sqlite:///notes.sqlite")
    return os.path.abspath(url.database)


def _identity(file: str | None) -> tuple[int, int] | None:
    try:
        found = os.stat(file) if file else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def _prepare(connection: Any, _record: Any) -> None:
    """Settings of SQLite that hold for one connection, but for the log, which stays with the file."""
    connection.isolation_level = None  # begin and end as we say (SQLAlchemy, dialects of SQLite, transactions)
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # Changing the kind of log is the one thing for which SQLite does not wait by itself.
            if _code(error).startswith(_BUSY) and time.monotonic() < until:
                time.sleep(0.02)
                continue
            raise
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sql.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _code(error: BaseException | None) -> str:
    """What kind of error a driver means: a name of SQLite, or an SQLSTATE."""
    return str(getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or "")


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of the database as sentences that show nothing of the machine."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.TimeoutError as error:
        raise StoreError("the annotations are busy with other requests; try again") from error
    except exc.DBAPIError as error:
        code = _code(error.orig)
        if code.startswith(_FULL):
            raise DiskFullError("the disk is full, so nothing was saved; make room and try again") from error
        if code.startswith(_BUSY):
            raise StoreError("another process is writing annotations; try again") from error
        if code.startswith(_READ_ONLY):
            raise StoreError("the annotations cannot be written to; allow it, or keep them elsewhere") from error
        raise StoreError(
            "the annotations cannot be read or saved at the moment; see that their disk or database is there"
        ) from error
