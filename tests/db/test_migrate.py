"""Migrations give exactly the tables the models describe, on both engines."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from db import migrate
from db.errors import SchemaOutdated
from db.models import Base
from db.session import Database


def test_autogenerate_proposes_nothing_on_a_fresh_database(database: Database) -> None:
    with database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrade_twice_is_upgrade_once(database: Database) -> None:
    migrate.upgrade(database)
    assert migrate.version(database) == migrate.HEAD


def test_the_stated_head_is_the_newest_migration(database: Database) -> None:
    with database.read() as session:
        scripts = ScriptDirectory.from_config(migrate.config(session.connection()))
    assert scripts.get_heads() == [migrate.HEAD]


def test_foreign_tables_are_left_alone(database: Database) -> None:
    from alembic import command

    with database.write() as session:
        session.execute(text("CREATE TABLE someone_elses (id INTEGER PRIMARY KEY)"))
        command.check(migrate.config(session.connection()))  # raises when autogenerate would drop or add something


def test_downgrade_removes_every_table(database: Database) -> None:
    from alembic import command

    with database.write() as session:
        command.downgrade(migrate.config(session.connection()), "base")
    with database.read() as session:
        assert inspect(session.connection()).get_table_names() == ["alembic_version"]


def test_an_empty_database_says_what_to_do(empty_database: Database) -> None:
    with pytest.raises(SchemaOutdated, match="db upgrade"):
        migrate.check(empty_database)


def test_a_newer_database_is_refused(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaOutdated, match="9999"):
        migrate.check(database)


def test_a_failing_migration_leaves_nothing(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command

    upgrade = command.upgrade

    def upgrade_then_fail(*args: object) -> None:
        upgrade(*args)  # type: ignore[arg-type]
        raise RuntimeError("the power went")

    monkeypatch.setattr(command, "upgrade", upgrade_then_fail)
    with pytest.raises(RuntimeError):
        migrate.upgrade(empty_database)
    assert migrate.version(empty_database) is None
