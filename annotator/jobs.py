"""Jobs that survive us: the only file that knows the durable engine (DBOS).

A review and the job it asks for are one transaction: `JobQueue.add`. A `JobWorker`, in this process or on another
machine, carries jobs out. Its steps run at least once, and their effects happen once: a job row moves forward only, and
the revision is written in the transaction that ends it. A newer edit of the same pair supersedes the older job.
The engine keeps its tables beside ours; what a user is told comes from our own rows.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from dbos import DBOS, DBOSClient, DBOSConfig, StepOptions
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from annotator import work
from annotator.errors import WorkspaceError
from annotator.publishing import publish
from annotator.records import without_name
from annotator.reoptimising import carry_out, plan, plan_first
from annotator.telling import told
from annotator.workspace import Workspace
from db.errors import RevisionConflict
from db.models import Job, Revision
from db.repositories import Jobs, Pairs, Revisions
from pipeline.errors import HoiError
from pipeline.recipe import Recipe

QUEUE = "reviews"
WORKFLOW = "carry_out"
VERSION = "1"  # of the workflow below: jobs of another version are left to workers of that version
PRIORITY = 1  # a reviewer waits; bulk work comes at 100
MOST_WORKERS = 64  # of one workspace on one machine
MOST_TRIES = 5  # that another revision may be faster


class JobQueue:
    """Puts jobs into the engine's queue."""

    def __init__(self, workspace: Workspace) -> None:
        _quiet()
        prepare(workspace)
        self._client = DBOSClient(system_database_url=workspace.database_url)

    def add(self, session: Session, job: Job) -> None:
        """Writes the job and queues it, in the session's transaction; older jobs of the same pair are superseded."""
        jobs = Jobs(session)
        older = jobs.unfinished(pair=job.pair) if job.pair else jobs.unfinished(photo=job.photo)
        for other in older:
            jobs.end(other, "superseded", reason="a newer edit came")
        jobs.add(job)
        self._client.enqueue_in_transaction(
            session,
            {
                "queue_name": QUEUE,
                "workflow_name": WORKFLOW,
                "workflow_id": f"job-{job.id}",
                "app_version": VERSION,
                "priority": PRIORITY,
            },
            job.id,
        )

    def close(self) -> None:
        self._client.destroy()


def prepare(workspace: Workspace) -> None:
    """Makes the engine's tables when they are not there."""
    with workspace.database.read() as session:
        found = inspect(session.connection())
        if found.has_table("workflow_status") or found.has_table("workflow_status", schema="dbos"):
            return
    DBOS.migrate(workspace.database_url)


class JobWorker:
    """Carries jobs out in `slots` processes, from `start` to `stop`. The engine allows one in a process."""

    def __init__(self, workspace: Workspace, slots: int) -> None:
        self._workspace, self._slots = workspace, slots
        self._pool = work.Pool(min(slots, workspace.settings.jobs), workspace.root / "worker.log")
        self._place: TextIO | None = None

    def start(self) -> None:
        """Takes up what a worker of this name left when it died, then waits for more."""
        _quiet()
        self._place, name = _free_place(self._workspace.root)
        self._pool.warm_up()
        config: DBOSConfig = {
            "name": "hoi-annotate",
            "system_database_url": self._workspace.database_url,
            "executor_id": name,
            "application_version": VERSION,
            "console_log_level": "CRITICAL",
        }
        DBOS(config=config)

        @DBOS.workflow(name=WORKFLOW)
        def carry_out_job(job_id: int) -> None:
            with told(self._workspace, job_id):
                self._carry_out(job_id)

        DBOS.launch()
        DBOS.register_queue(
            QUEUE, worker_concurrency=self._slots, polling_interval_sec=0.5, on_conflict="always_update"
        )

    def stop(self) -> None:
        """Lets go of everything; a job that was running is taken up at the next start."""
        self._pool.close()
        DBOS.destroy(destroy_registry=True)
        if self._place is not None:
            self._place.close()

    def _carry_out(self, job_id: int) -> None:
        """The workflow. What it decides comes from its steps, so that it decides the same again after a crash."""
        for _ in range(MOST_TRIES):
            made = DBOS.run_step(_step("compute"), self._compute, job_id)
            if made is None or DBOS.run_step(_step("publish"), self._publish, job_id, made):
                return
        DBOS.run_step(_step("give up"), self._fail, job_id, "the pair kept changing meanwhile; fix it again")

    def _compute(self, job_id: int) -> dict[str, Any] | None:
        """The answer as JSON, its bytes in the store; None when there is nothing to publish."""
        database, blobs = self._workspace.database, self._workspace.blobs
        with database.write() as session:
            if not Jobs(session).begin(Jobs(session).get(job_id)):
                return None
        try:
            with database.read() as session:
                job = Jobs(session).get(job_id)
                if job.pair is not None:
                    planned = plan(self._workspace, session, job.pair)
                else:
                    planned = plan_first(self._workspace, job.photo)
            answer, _ = carry_out(planned, self._pool.perform)
        except HoiError as error:
            self._fail(job_id, str(error))
            return None
        blobs.put(answer.npz)
        plain = asdict(answer) | {"npz": hashlib.sha256(answer.npz).hexdigest()}
        recipe = planned.task.recipe
        return {"answer": plain, "seen": planned.seen, "recipe": [recipe.name, recipe.settings]}

    def _publish(self, job_id: int, made: dict[str, Any]) -> bool:
        """Ends the job; False when the pair has moved on meanwhile and the answer must be computed again."""
        npz = self._workspace.blobs.get(made["answer"]["npz"])
        answer = work.Answer(**(made["answer"] | {"npz": npz}))
        try:
            with self._workspace.database.write() as session:
                job = Jobs(session).get(job_id)
                if Jobs(session).begin(job):  # also locks it against a newer edit
                    revision = _write(session, job, answer, made["seen"], Recipe(*made["recipe"]))
                    unchanged = None if revision else "the edits change nothing"
                    Jobs(session).end(job, "done", revision_id=revision.id if revision else None, reason=unchanged)
        except RevisionConflict:
            return False
        return True

    def _fail(self, job_id: int, reason: str) -> None:
        """The job is over; what it was about waits for a reviewer again."""
        with self._workspace.database.write() as session:
            job = Jobs(session).get(job_id)
            if not Jobs(session).begin(job):
                return
            if job.pair is not None:
                job.pair.status = "preannotated"
            else:
                job.photo.reason = without_name(reason, job.photo.name)
            Jobs(session).end(job, "failed", reason=without_name(reason, job.photo.name))


def _step(name: str) -> StepOptions:
    """A busy database or a store that is away for a moment does not end a job."""
    return {"name": name, "retries_allowed": True, "max_attempts": 5, "interval_seconds": 1.0}


def _write(session: Session, job: Job, answer: work.Answer, seen: int, recipe: Recipe) -> Revision | None:
    """The new revision of the job's pair, or None when it is the old one over again."""
    if job.pair is None:
        pair = Pairs(session).ensure(job.photo, answer.index)
        revision = publish(session, pair, answer, recipe, "review", expected=seen)
        job.pair, job.photo.status, job.photo.reason = pair, "done", None
        return revision
    if Revisions(session).get(job.pair, seen).content_digest == answer.digest:
        job.pair.status = "preannotated"
        return None
    return publish(session, job.pair, answer, recipe, "review", expected=seen)


def _free_place(root: Path) -> tuple[TextIO, str]:
    """A file held as long as we live, and the name that goes with it: the same again after a crash.

    The engine gives a worker back what the last one of its name had begun.
    """
    host = f"{socket.gethostname()}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
    for number in range(MOST_WORKERS):
        file = (root / f".worker-{number}.lock").open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return file, f"{host}-{number}"
    raise WorkspaceError(f"{MOST_WORKERS} workers serve {root} on this machine already: stop one")


def _quiet() -> None:
    """The engine reports a cancelled or failed job as an error with a traceback; jobs have their own rows for that."""
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
