"""One slot: an executor of the engine that does one thing at a time, the pipeline in a process beside it."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TextIO, TypeVar

from dbos import DBOS, DBOSConfig, StepOptions

from annotator import logs, work
from annotator.errors import WorkspaceError
from annotator.jobs.bulk import BulkJobs
from annotator.jobs.heartbeat import Heartbeat
from annotator.jobs.outages import AWAY, UNFIT
from annotator.jobs.queue import BULK, QUEUE, REVIEW, VERSION, JobQueue, quiet
from annotator.jobs.reviews import ReviewJobs
from annotator.telling import told
from annotator.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")

MOST_WORKERS = 64  # of one workspace on one machine
MOST_MOVES = 5  # that another revision may be faster
POLL_S = 0.2
_CONNECTIONS = 5  # of the engine to the database

log = logs.get_logger(__name__)


class JobWorker:
    """Carries out what is queued, from `start` to `stop`. The engine allows one in a process.

    `ended` is set when it cannot go on, and `trouble` then says why.
    """

    def __init__(self, workspace: Workspace, poll_s: float = POLL_S) -> None:
        self._workspace, self._poll_s = workspace, poll_s
        self._pool = work.Pool(
            min(1, workspace.settings.jobs), workspace.root / "worker.log", workspace.settings.photo_timeout
        )
        self._place: TextIO | None = None
        self._queue: JobQueue | None = None
        self._heart: Heartbeat | None = None
        self._stopping = False
        self.ended = threading.Event()
        self.trouble: Exception | None = None

    def start(self) -> None:
        """Takes up what a worker of this name left when it died, then waits for more."""
        quiet()
        workspace = self._workspace
        self._place, name = _free_place(workspace.root)
        self._pool.warm_up()
        self._queue = JobQueue(workspace)
        self._heart = Heartbeat(workspace, name, _take_over)
        config: DBOSConfig = {
            "name": "hoi-annotate",
            "system_database_url": workspace.database_url,
            "sys_db_pool_size": _CONNECTIONS,
            "executor_id": name,
            "application_version": VERSION,
            "console_log_level": "CRITICAL",
        }
        DBOS(config=config)
        reviews = ReviewJobs(workspace, name, self._pool.perform)
        bulk = BulkJobs(workspace, self._queue, name, self._pool.perform, lambda: self._stopping)

        @DBOS.workflow(name=REVIEW, max_recovery_attempts=None)  # our rows count the tries
        def carry_out_job(job_id: int) -> None:
            with told(workspace, job_id):
                for _ in range(MOST_MOVES):
                    made = DBOS.run_step(_step("compute"), self._fit(reviews.compute), job_id)
                    if made is None or DBOS.run_step(_step("publish"), self._fit(reviews.publish), job_id, made):
                        return
                why = "the pair kept changing meanwhile; fix it again"
                DBOS.run_step(_step("give up"), self._fit(reviews.fail), job_id, why)

        @DBOS.workflow(name=BULK, max_recovery_attempts=None)
        def annotate_chunk(chunk_id: int) -> None:
            DBOS.run_step(_step("annotate"), self._fit(bulk.carry_out), chunk_id)

        self._heart.start()
        DBOS.launch()
        # The limit is one for all workers of the queue: each slot is an executor that does one thing.
        DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=self._poll_s, on_conflict="always_update")

    def stop(self, grace_s: float = 0) -> None:
        """Takes nothing more, gives the photo or job in work `grace_s` to end, and hands back what is left."""
        self._stopping = True
        log.info("slot takes nothing more", grace_s=grace_s)
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=int(grace_s))
        self._pool.close()
        if self._heart is not None:
            self._heart.stop()
        if self._queue is not None:
            self._queue.close()
        if self._place is not None:
            self._place.close()

    def _fit(self, do: Callable[P, R]) -> Callable[P, R]:
        """The step `do`. What no other try here would change (no weights, no room) ends the worker, not the job: the
        engine is shown no outcome, and another worker takes the job up."""

        def step(*args: P.args, **more: P.kwargs) -> R:
            try:
                return do(*args, **more)
            except UNFIT as error:
                self.trouble = self.trouble or error
                self.ended.set()
                raise work.HandedBack(str(error)) from error

        return step


def _take_over(names: list[str]) -> None:
    """What these workers had begun goes back to the queue; harmless when it has already, or when they live."""
    DBOS._recover_pending_workflows(names)


def _step(name: str) -> StepOptions:
    """A database or store that is away does not end a job, however long it takes."""
    return {
        "name": name,
        "retries_allowed": True,
        "max_attempts": 1_000_000,
        "interval_seconds": 2.0,
        "backoff_rate": 1.0,
        "should_retry": lambda error: isinstance(error, AWAY),
    }


def _free_place(root: Path) -> tuple[TextIO, str]:
    """A file held as long as we live, and the name in it: the same again after a crash, and nobody else's.

    The engine gives a worker back what the last one of its name had begun. A copy of the folder, or of the machine, is
    another place: its workers take new names.
    """
    for number in range(MOST_WORKERS):
        file = (root / f".worker-{number}.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        file.seek(0)
        name, _, place = file.read().strip().partition(" ")
        here = f"{socket.gethostname()} {os.fstat(file.fileno()).st_ino}"
        if place != here:
            name = f"{socket.gethostname()}-{number}-{secrets.token_hex(4)}"
            file.truncate(0)
            file.write(f"{name} {here}")
            file.flush()
        return file, name
    raise WorkspaceError(f"{MOST_WORKERS} workers serve {root} on this machine already: stop one")
