"""What the log is told of a job: when it begins, and when and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from annotator import logs
from annotator.workspace import Workspace
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
            log.warning("job given up", error=type(error).__name__)
            raise
        with workspace.database.read() as session:
            job = Jobs(session).get(job_id)
            revision = None if job.revision_id is None else session.get_one(Revision, job.revision_id).number
            pair = None if job.pair is None else job.pair.public_id
            about = {"pair": pair, "revision": revision, "reason": job.reason}
            known = {name: value for name, value in about.items() if value is not None}
            seconds = round(time.monotonic() - began, 3)
            log.info("job over", kind=job.kind, state=job.state, photo=job.photo.name, seconds=seconds, **known)
