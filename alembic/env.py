"""Runs migrations on the connection that `db.migrate` hands over."""

from typing import Any

from alembic import context
from db.models import Base


def ours(thing: Any, _name: str | None, kind: str, reflected: bool, _compare_to: Any) -> bool:
    """Tables that are not ours (a job engine's, an extension's) are left alone."""
    table = thing.name if kind == "table" else thing.table.name
    return not reflected or table in Base.metadata.tables


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    include_object=ours,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
