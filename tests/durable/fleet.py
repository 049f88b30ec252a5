"""Workers as real processes, each a machine of its own: its folder, its name; database and store are shared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import text

from annotator import service
from annotator.jobs import JobQueue, bulk
from annotator.progress import Silent
from annotator.workspace import Workspace
from db.models import Chunk, Job, Photo, Revision, Worker
from db.session import Database
from pipeline.recipe import Recipe

FAKES = Path(__file__).parents[1] / "annotator"
TIMEOUT_S = 10.0  # after which a silent worker counts as dead; the living must beat in time on a busy machine too


def until(condition: Callable[[], Any], what: str, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen: {what}"
        time.sleep(0.05)


def empty(url: str) -> str:
    """The same PostgreSQL database with nothing in it."""
    database = Database(url)
    with database.write() as session:
        session.execute(text("DROP SCHEMA public CASCADE"))
        session.execute(text("DROP SCHEMA IF EXISTS dbos CASCADE"))
        session.execute(text("CREATE SCHEMA public"))
    database.dispose()
    return url


def paint(folder: Path, name: str, seed: int) -> Path:
    """A photo unlike all others."""
    folder.mkdir(parents=True, exist_ok=True)
    patches = np.random.default_rng(seed).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(patches).resize((96, 64), Image.Resampling.BICUBIC).save(folder / name)
    return folder / name


class Fleet:
    """A workspace, and workers that come and go."""

    def __init__(self, root: Path, database_url: str | None = None, store_url: str | None = None) -> None:
        self.root = root
        self.workspace = Workspace.create(root / "workspace", database_url=database_url, store_url=store_url)
        self.queue = JobQueue(self.workspace)
        self.executions = root / "executions"
        self._printed: dict[subprocess.Popen[bytes], Path] = {}
        self.workers: list[subprocess.Popen[bytes]] = []
        self._seeds = 0

    def close(self) -> None:
        for worker in self.workers:
            self.kill(worker)
        self.queue.close()
        self.workspace.close()

    def photos(self, *names: str) -> None:
        """Takes photos in."""
        folder = self.root / "photos" / str(self._seeds)
        for name in names:
            self._seeds += 1
            paint(folder, name, self._seeds)
        service.ingest(self.workspace, [str(folder)], progress=Silent())

    def enqueue(self, size: int, **more: Any) -> int:
        return bulk.enqueue(self.workspace, self.queue, Recipe.load("cpu"), size=size, **more)

    def worker(self, *words: str, own_folder: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        """A worker on a new machine, or (`own_folder` false) one more on this."""
        where = self.workspace.root
        if own_folder:
            where = self.root / f"machine-{len(self.workers)}"
            where.mkdir()
            (where / "hoi-annotate.toml").touch()
        command = [sys.executable, "-m", "annotator", "worker", "-w", str(where), *words]
        log = self.root / f"worker-{len(self.workers)}.log"
        with log.open("ab") as printed:
            started = subprocess.Popen(
                command, env=self.environment(**environment), stdout=printed, stderr=printed, start_new_session=True
            )
        self.workers.append(started)
        self._printed[started] = log
        return started

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOI_", "FAKE_"))}
        fakes = {
            "HOI_PIPELINE": "fake_pipeline",
            "HOI_JOBS": "1",
            "HOI_WORKER_TIMEOUT": str(TIMEOUT_S),
            "HOI_DATABASE_URL": self.workspace.database_url,
            "HOI_STORE_URL": self.workspace.store_url,
            "FAKE_LOG": str(self.executions),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(FAKES), str(FAKES.parents[1])]),
        }
        return kept | fakes | more

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """All of its processes, without warning."""
        self.signal(worker, signal.SIGKILL)
        worker.wait()

    def signal(self, worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, number)

    # what came of it

    def executed(self) -> list[str]:
        """Names of the photos the pipeline was begun on, as often as it was."""
        return self.executions.read_text().split() if self.executions.exists() else []

    def said(self, worker: subprocess.Popen[bytes]) -> str:
        return self._printed[worker].read_text()

    def is_ready(self, worker: subprocess.Popen[bytes]) -> bool:
        assert worker.poll() is None, self.said(worker)
        return "is ready" in self.said(worker)

    def states(self) -> Counter[str]:
        """How many photos are in each state."""
        with self.workspace.database.read() as session:
            return Counter(status for (status,) in session.query(Photo.status))

    def reasons(self) -> dict[str, str | None]:
        with self.workspace.database.read() as session:
            return {photo.name: photo.reason for photo in session.query(Photo)}

    def revisions(self) -> Counter[int]:
        """Number of revisions of each pair that has one."""
        with self.workspace.database.read() as session:
            return Counter(pair for (pair,) in session.query(Revision.pair_id))

    def tries(self) -> list[int]:
        with self.workspace.database.read() as session:
            return [tries for (tries,) in session.query(Photo.tries).order_by(Photo.id)]

    def begun_chunks(self) -> int:
        with self.workspace.database.read() as session:
            return session.query(Chunk).filter(Chunk.state != "done").count()

    def jobs(self) -> list[str]:
        with self.workspace.database.read() as session:
            return [state for (state,) in session.query(Job.state).order_by(Job.id)]

    def begun(self) -> str:
        """What is not over, in our rows and the engine's: for a person who looks into a failure."""
        with self.workspace.database.read() as session:
            chunks = [(c.id, c.state, c.worker, c.started_at) for c in session.query(Chunk) if c.state != "done"]
            photos = [(p.name, p.chunk_id, p.tries) for p in session.query(Photo) if p.status == "pending"]
            workers = [(w.name, w.pid, w.seen_at) for w in session.query(Worker)]
            columns = "workflow_uuid, status, executor_id, queue_name, recovery_attempts"
            query = text(f"SELECT {columns} FROM {self._engine_table} WHERE status != 'SUCCESS'")
            engine = [tuple(row) for row in session.execute(query)]
        return "\n".join(str(part) for part in (chunks, photos, workers, engine))

    @property
    def _engine_table(self) -> str:
        return "workflow_status" if self.workspace.database.is_sqlite else "dbos.workflow_status"

    def is_complete(self) -> None:
        """Nothing waits, nothing is begun, in our rows and, soon after, in the engine's."""
        until(lambda: self.begun_chunks() == 0, "a chunk is not over")
        assert set(self.tries()) == {0}
        until(lambda: self._engine_states() <= {"SUCCESS"}, "the engine is not done")

    def _engine_states(self) -> set[str]:
        with self.workspace.database.read() as session:
            query = text(f"SELECT DISTINCT status FROM {self._engine_table}")
            return {state for (state,) in session.execute(query)}


@contextmanager
def fleet(root: Path, database_url: str | None = None, store_url: str | None = None) -> Iterator[Fleet]:
    made = Fleet(root, database_url, store_url)
    try:
        yield made
    finally:
        made.close()
