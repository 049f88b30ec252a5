"""Brings the tables up to date, in process, by the migrations of `alembic/` (repo) or `db/_alembic` (wheel)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, text

from db.errors import SchemaOutdated
from db.session import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0004"  # the newest migration; here so that opening a database need not import alembic


def upgrade(database: Database) -> None:
    """Creates or migrates the tables to the newest version; does nothing when they are there already."""
    if version(database) == HEAD:
        return
    from alembic import command

    with database.write() as session:
        command.upgrade(config(session.connection()), "head")


def version(database: Database) -> str | None:
    """The migration the tables are at; None for an empty database."""
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        row = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if row is None else str(row)


def check(database: Database) -> None:
    """Raises SchemaOutdated unless the tables are exactly what this program expects."""
    found = version(database)
    if found != HEAD:
        raise SchemaOutdated(
            f"the tables of {database.name} are at version {found or 'none'}, this program needs {HEAD}: "
            "run 'hoi-annotate db upgrade' (or update hoi-annotate if the tables are newer)"
        )


def config(connection: Any) -> Config:
    """Alembic's configuration for an open connection; there is no alembic.ini."""
    from alembic.config import Config

    settings = Config(stdout=sys.stdout)  # the default is what stdout was when alembic was first imported
    settings.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    settings.attributes["connection"] = connection
    return settings


def _scripts() -> Path:
    here = Path(__file__).parent
    for folder in (here / "_alembic", here.parent / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise SchemaOutdated(f"the migrations are missing beside {here}: install hoi-annotate again")
