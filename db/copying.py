"""All rows of one database into another, whatever the engines: what `backup` and `restore` are made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, Table, func, insert, select, text
from sqlalchemy.orm import Session

from db.models import Base

AT_ONCE = 1000  # rows


def copy_rows(source: Session, target: Session) -> dict[str, int]:
    """How many rows each table had. The target's tables are empty; ids stay what they are."""
    copied = {}
    for table in Base.metadata.sorted_tables:
        rows = source.execute(select(table).order_by(*table.primary_key), execution_options={"yield_per": AT_ONCE})
        copied[table.name] = 0
        for part in rows.mappings().partitions():
            target.execute(insert(table), [_plain(row) for row in part])
            copied[table.name] += len(part)
        if target.get_bind().dialect.name == "postgresql" and "id" in table.c:
            _count_on(target, table)
    return copied


def lock_tables(session: Session) -> None:
    """Nobody else writes the tables until the transaction ends. Who writes SQLite is alone anyway."""
    if session.get_bind().dialect.name == "postgresql":
        names = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
        session.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))


def count_rows(session: Session) -> dict[str, int]:
    """How many rows each table has."""
    return {t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in Base.metadata.sorted_tables}


def _plain(row: RowMapping) -> dict[str, Any]:
    """SQLite keeps no time zone: what it says is UTC, and what it is given must be."""
    return {name: _in_utc(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _count_on(session: Session, table: Table) -> None:
    """PostgreSQL's sequence of ids does not notice ids that it did not give."""
    last = session.scalar(select(func.max(table.c.id)))
    if last is not None:
        session.execute(
            text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :last)"),
            {"table": f'"{table.name}"', "last": last},
        )
