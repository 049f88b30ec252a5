"""What the log is told of a job or a chunk: when it begins, and when and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError

from annotator import logs
from annotator.progress import Progress
from annotator.workspace import Workspace
from db.errors import StorageError
from db.models import Revision
from db.repositories import Jobs

log = logs.get_logger(__name__)


@contextmanager
def told(workspace: Workspace, job_id: int) -> Iterator[None]:
    """Around the work on a job: everything that is logged in it carries the job's id."""
    began = time.monotonic()
    with logs.bound(job=job_id):
        log.info("job begun")
        try:
            yield
        except BaseException as error:
            log.warning("job given up", error=_said(error))
            raise
        seconds = round(time.monotonic() - began, 3)
        try:
            log.info("job over", seconds=seconds, **_of_job(workspace, job_id))
        except (StorageError, DBAPIError) as error:  # the job is over all the same
            log.warning("job over", seconds=seconds, error=_said(error))


def _of_job(workspace: Workspace, job_id: int) -> dict[str, Any]:
    with workspace.database.read() as session:
        job = Jobs(session).get(job_id)
        revision = None if job.revision_id is None else session.get_one(Revision, job.revision_id).number
        pair = None if job.pair is None else job.pair.public_id
        about = {"pair": pair, "revision": revision, "reason": job.reason}
        known = {name: value for name, value in about.items() if value is not None}
        return {"kind": job.kind, "state": job.state, "photo": job.photo.name} | known


@contextmanager
def told_chunk(chunk_id: int, photos: int, recipe: str) -> Iterator[Callable[[int, int], None]]:
    """Around the work on a chunk, as `told`; its end is told by calling what it gives, with the number of photos that
    are done and of those left to another chunk."""
    began = time.monotonic()

    def over(done: int, left: int) -> None:
        log.info("chunk over", done=done, left=left, seconds=round(time.monotonic() - began, 3))

    with logs.bound(chunk=chunk_id):
        log.info("chunk begun", photos=photos, recipe=recipe)
        try:
            yield over
        except BaseException as error:
            log.warning("chunk given up", error=_said(error))
            raise


def _said(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


class OfPhoto(Progress):
    """What becomes of a photo in a chunk; its name is bound."""

    def begin(self, total: int) -> None:
        pass

    def done(self, name: str, said: str) -> None:
        log.info("photo done", said=said)

    def failed(self, name: str, reason: str) -> None:
        log.warning("photo failed", reason=reason)
