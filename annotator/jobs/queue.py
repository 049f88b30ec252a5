"""Puts work into the engine's queue, in the transaction of the rows it is about."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dbos import DBOS, DBOSClient, error
from sqlalchemy import TableClause, func, inspect, select, table
from sqlalchemy.orm import Session

from annotator.errors import WorkspaceError
from annotator.workspace import Workspace
from db.models import Chunk, Job
from db.repositories import Chunks, Jobs
from pipeline.recipe import Recipe

QUEUE = "work"
REVIEW, BULK = "carry_out", "annotate_chunk"  # the workflows
VERSION = "2"  # of the workflows: work of another version is left to workers of that version
_REVIEWERS, _BULK = 1, 100  # priorities: a reviewer waits


class JobQueue:
    """Puts jobs into the engine's queue."""

    def __init__(self, workspace: Workspace) -> None:
        quiet()
        prepare(workspace)
        self._client = DBOSClient(system_database_url=workspace.database_url)

    def add(self, session: Session, job: Job) -> None:
        """Writes the job and queues it, in the session's transaction; older jobs of the same pair are superseded."""
        jobs = Jobs(session)
        older = jobs.unfinished(pair=job.pair) if job.pair else jobs.unfinished(photo=job.photo)
        for other in older:
            jobs.end(other, "superseded", reason="a newer edit came")
        jobs.add(job)
        self._enqueue(session, REVIEW, f"job-{job.id}", _REVIEWERS, job.id)

    def add_chunk(self, session: Session, recipe: Recipe, trigger: str, photos: Sequence[int]) -> Chunk:
        """Photos to be annotated by one worker; they leave the chunk they were in before."""
        about = {"name": recipe.name, "settings": recipe.settings}
        chunk = Chunks(session).add(Chunk(recipe=about, trigger=trigger), photos)
        self._enqueue(session, BULK, f"chunk-{chunk.id}", _BULK, chunk.id)
        return chunk

    def cancel(self, names: Sequence[str]) -> None:
        """Takes entries out of the queue, also those a worker has begun."""
        self._client.cancel_workflows(list(names))

    def close(self) -> None:
        self._client.destroy()

    def _enqueue(self, session: Session, workflow: str, name: str, priority: int, about: int) -> None:
        """Raises WorkspaceError where the engine has had work of that name: it would carry out none."""
        try:
            self._client.enqueue_in_transaction(
                session,
                {
                    "queue_name": QUEUE,
                    "workflow_name": workflow,
                    "workflow_id": name,
                    "workflow_id_reuse_policy": "reject",
                    "app_version": VERSION,
                    "priority": priority,
                },
                about,
            )
        except error.DBOSWorkflowIDInUseError as problem:
            raise WorkspaceError(
                f"the job engine in this database had a {name} before, of a workspace whose tables are gone: name "
                "another database in HOI_DATABASE_URL, or drop the engine's schema 'dbos' too"
            ) from problem


def prepare(workspace: Workspace) -> None:
    """Makes the engine's tables when they are not there."""
    with workspace.database.read() as session:
        if engine_table(session) is not None:
            return
    DBOS.migrate(workspace.database_url)


def had_work(session: Session) -> bool:
    """Whether the engine was ever given work in this database."""
    found = engine_table(session)
    return found is not None and bool(session.scalar(select(func.count()).select_from(found)))


def engine_table(session: Session) -> TableClause | None:
    """Where the engine keeps what it was given; None before it has any tables here."""
    schema = None if session.get_bind().dialect.name == "sqlite" else "dbos"
    found = inspect(session.connection()).has_table("workflow_status", schema=schema)
    return table("workflow_status", schema=schema) if found else None


def quiet() -> None:
    """The engine reports a cancelled or failed job as an error with a traceback; jobs have their own rows for that."""
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
