"""What is no fault of the work in hand: it is done again, here or elsewhere, and the try does not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from annotator import work
from db import migrate
from db.errors import DatabaseBusy, SchemaOutdated, StorageError, StorageFull, StorageUnwritable
from db.session import Database
from pipeline.errors import MissingWeights

T = TypeVar("T")

# A database or store: it comes back. (A statement that can never work is a ProgrammingError, also on SQLite.)
AWAY = (StorageUnwritable, DatabaseBusy, OperationalError, InterfaceError)
UNFIT = (MissingWeights, StorageFull, SchemaOutdated, OSError)  # no other try of this worker would change it
NO_FAULT = (*AWAY, *UNFIT, work.HandedBack)


@contextmanager
def known(database: Database) -> Iterator[None]:
    """Around work on rows. Raises SchemaOutdated for what fails because others have migrated the tables meanwhile."""
    try:
        yield
    except DBAPIError:
        migrate.check(database)
        raise


class Tries(Generic[T]):
    """Takes back the tries that do not count, by `forgive`, as soon as the database is there to be told."""

    def __init__(self, database: Database, forgive: Callable[[Session, T], None]) -> None:
        self._database, self._forgive = database, forgive
        self._untold: list[T] = []

    @contextmanager
    def of(self, item: T) -> Iterator[None]:
        """Around a try."""
        try:
            with known(self._database):
                yield
        except NO_FAULT:
            self._untold.append(item)
            with suppress(StorageError, DBAPIError):
                self.tell()
            raise

    def tell(self) -> None:
        if self._untold:
            with self._database.write() as session:
                for item in self._untold:
                    self._forgive(session, item)
            self._untold.clear()
