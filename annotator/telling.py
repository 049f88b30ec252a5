"""What is told of a job: to the log when it begins and ends, to Prometheus how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from annotator import logs
from annotator.metrics import JOB_SECONDS
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
            kind, state, pair = job.kind, job.state, None if job.pair is None else job.pair.public_id
            said = {"photo": job.photo.name, "pair": pair, "revision": revision, "reason": job.reason}
        seconds = time.monotonic() - began
        JOB_SECONDS.labels(kind, state).observe(seconds)
        known = {name: value for name, value in said.items() if value is not None}
        log.info("job over", kind=kind, state=state, seconds=round(seconds, 3), **known)
