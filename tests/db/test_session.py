"""How SQLite is opened, and what a user reads when a database cannot be used."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from db import migrate
from db.errors import DatabaseBusy, StorageFull, StorageUnwritable
from db.session import Database


@pytest.fixture
def sqlite(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path}/hoi.sqlite", busy_seconds=0.1)
    migrate.upgrade(database)
    return database


def test_sqlite_waits_keeps_a_log_and_checks_keys(sqlite: Database) -> None:
    with sqlite.read() as session:
        pragmas = {name: session.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "foreign_keys")}
        assert pragmas == {"journal_mode": "wal", "foreign_keys": 1}
        assert session.execute(text("PRAGMA busy_timeout")).scalar() == 100


def test_a_second_writer_is_told_that_the_database_is_held(sqlite: Database) -> None:
    with sqlite.write(), pytest.raises(DatabaseBusy, match="another process"), sqlite.write():
        pass


def test_readers_do_not_wait_for_a_writer(sqlite: Database) -> None:
    with sqlite.write() as session:
        session.execute(text("DELETE FROM export"))
        with sqlite.read() as reader:
            assert reader.execute(text("SELECT count(*) FROM export")).scalar() == 0


def test_a_full_disk_is_one_clear_line(sqlite: Database) -> None:
    with pytest.raises(StorageFull, match="free some space") as caught, sqlite.write() as session:  # noqa: PT012
        session.execute(text("PRAGMA max_page_count = 1"))  # the engine's own way to run out of room
        session.execute(text("CREATE TABLE filler AS SELECT zeroblob(1000000) AS room"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("statement", ["SELECT * FROM nowhere", "SELECT nothing FROM photo", "SELECT FROM WHERE"])
def test_a_statement_that_can_never_work_is_no_database_that_is_away(database: Database, statement: str) -> None:
    with pytest.raises(ProgrammingError), database.read() as session:
        session.execute(text(statement))


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StorageUnwritable, match="cannot write the database"):
        migrate.upgrade(Database(f"sqlite:///{tmp_path}/nowhere/hoi.sqlite"))


def test_a_server_that_is_not_there_is_one_clear_line_without_the_password() -> None:
    with pytest.raises(StorageUnwritable, match="cannot use the database") as caught:
        migrate.check(Database("postgresql+psycopg://ann:secret@127.0.0.1:1/hoi"))
    assert "secret" not in str(caught.value)
