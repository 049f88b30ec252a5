"""Opens the database. One class, two ways in: `read()` and `write()`, both context managers over a Session.

SQLite runs in WAL mode with foreign keys and a busy timeout. A write takes SQLite's write lock at its start
(BEGIN IMMEDIATE): a transaction that reads first and writes later would otherwise fail at once, without
waiting, whenever another process wrote in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from db.errors import DatabaseBusy, StorageError, StorageFull, StorageUnwritable

BUSY_SECONDS = 30


class Database:
    """A database by URL: `sqlite:///path` or `postgresql+psycopg://...`."""

    def __init__(self, url: str, busy_seconds: float = BUSY_SECONDS) -> None:
        parsed = make_url(url)
        self.name = parsed.render_as_string(hide_password=True)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine = create_engine(parsed, connect_args={"timeout": busy_seconds})
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = create_engine(parsed, pool_pre_ping=True)
        self._writer: Engine = self.engine.execution_options(takes_write_lock=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent snapshot; nothing is committed."""
        with self._translated(), Session(self.engine) as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """As `read`, for several queries: all see the state that the first one saw."""
        engine = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        with self._translated(), Session(engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        with self._translated(), Session(self._writer) as session, session.begin():
            session.connection()  # SQLAlchemy would begin, and so lock, only at the first statement
            yield session

    def dispose(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if (clear := _translate(error, self.name)) is not None:
                raise clear from error
            said = error.orig
            if isinstance(said, sqlite3.Error) and getattr(said, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                # A statement that can never work, such as one of a table that is not there: other drivers do not give
                # it the class of what passes.
                raise ProgrammingError(error.statement, error.params, said) from error
            raise


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN would hide ours
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("takes_write_lock", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _translate(error: DBAPIError, name: str) -> StorageError | None:
    """The clear error for what the driver said, or None when it is a bug and should be seen as one."""
    said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    low = said.lower()
    if "is full" in low or "no space left" in low:
        return StorageFull(f"the disk of the database {name} is full: free some space and repeat the command")
    if "locked" in low:
        return DatabaseBusy(f"the database {name} is held by another process: wait for it and repeat the command")
    if "readonly" in low or "read-only" in low or "unable to open" in low:
        return StorageUnwritable(f"cannot write the database {name}: {said}")
    if isinstance(error, OperationalError) and ("connect" in low or "password" in low or "does not exist" in low):
        return StorageUnwritable(f"cannot use the database {name}: {said}")
    return None
