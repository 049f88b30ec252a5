"""Crashes the review path at a given point and lets it go on: run as a program, prints one JSON line for each crash.

    python crash_points.py FOLDER SEED COUNT      COUNT 0: at every point

A point is just before a statement or commit of the threads that submit, dequeue and carry out, and before and after
the pipeline and each blob is written or read. Each run is a process of its own, forked from one that has imported all.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_pipeline
from fleet import paint
from sqlalchemy import Engine, event, text

from annotator import service
from annotator.jobs import JobQueue, JobWorker
from annotator.progress import Silent
from annotator.reviewing import Change
from annotator.workspace import Workspace
from db.blobs import BlobStore
from db.models import Job, Pair, Review, Revision
from pipeline.recipe import Recipe

CRASHED = 9


class Points:
    """Counts the points, and ends the process at number `crash_at`."""

    def __init__(self, crash_at: int) -> None:
        self._crash_at, self.count = crash_at, 0
        self._lock = threading.Lock()
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda _: self.pass_one(self._is_ours("")))
        for owner, name in ((BlobStore, "put"), (BlobStore, "get"), (fake_pipeline, "reoptimise")):
            setattr(owner, name, self._around(getattr(owner, name)))

    def pass_one(self, counts: bool = True) -> None:
        if counts:
            with self._lock:
                self.count += 1
                if self.count == self._crash_at:
                    os._exit(CRASHED)

    def _statement(self, _conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.pass_one(self._is_ours(statement))

    def _is_ours(self, statement: str) -> bool:
        """Not what is done over and over while nothing happens."""
        name = threading.current_thread().name
        claims = name.startswith("queue-worker") and statement.startswith("UPDATE")
        return claims or name == "submit" or name.startswith("dbos-executor")

    def _around(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            self.pass_one(self._is_ours(""))
            done = do(*args, **more)
            self.pass_one(self._is_ours(""))
            return done

        return wrapped


def review(root: Path) -> None:
    """A reviewer's fix, and the worker that carries it out. Doing it again changes nothing."""
    workspace = Workspace(root)
    with workspace.database.read() as session:
        pair = session.query(Pair).one().public_id
    queue = JobQueue(workspace)
    about = {"reviewer": "bo", "number": 1, "source": "label-studio", "external_id": "1"}
    change = Change(touching=("index",))
    submit = threading.Thread(target=lambda: service.submit_fix(workspace, queue, pair, change, **about), name="submit")
    submit.start()
    submit.join()
    worker = JobWorker(workspace, poll_s=0.05)
    worker.start()
    end = time.monotonic() + 300
    while any(state in ("queued", "running") for state in looked(workspace)["jobs"]):
        assert time.monotonic() < end, looked(workspace)
        time.sleep(0.02)
    while looked(workspace)["engine"] != ["SUCCESS"]:
        assert time.monotonic() < end, looked(workspace)
        time.sleep(0.02)
    worker.stop()
    queue.close()


def looked(workspace: Workspace) -> dict[str, Any]:
    with workspace.database.read() as session:
        pair = session.query(Pair).one()
        engine = session.execute(text("SELECT status FROM workflow_status ORDER BY workflow_uuid")).all()
        return {
            "pair": [pair.status, pair.revision_number],
            "revisions": session.query(Revision).count(),
            "reviews": session.query(Review).count(),
            "jobs": [state for (state,) in session.query(Job.state).order_by(Job.id)],
            "tries": sum(tries for (tries,) in session.query(Job.tries)),
            "engine": [status for (status,) in engine],
        }


def forked(do: Callable[[], None]) -> int:
    """Runs it in a child; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            do()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def crash(root: Path, at: int) -> int:
    """Exit code of a run that crashes there."""

    def run() -> None:
        Points(at)
        review(root)

    return forked(run)


def count(root: Path) -> int:
    def run() -> None:
        points = Points(0)
        review(root)
        (root / "points").write_text(str(points.count))

    assert forked(run) == 0
    return int((root / "points").read_text())


def see(root: Path) -> dict[str, Any]:
    def run() -> None:
        (root / "seen").write_text(json.dumps(looked(Workspace(root))))

    assert forked(run) == 0
    return dict(json.loads((root / "seen").read_text()))


def main(folder: Path, seed: int, wanted: int) -> None:
    def prepare() -> None:
        workspace = Workspace.create(folder / "start")
        service.ingest(workspace, [str(paint(folder, "cup.png", 1))], progress=Silent())
        service.preannotate(workspace, Recipe.load("cpu"), progress=Silent())
        JobQueue(workspace).close()
        workspace.close()

    assert forked(prepare) == 0
    shutil.copytree(folder / "start", folder / "counted")
    every = range(1, count(folder / "counted") + 1)
    chosen = random.Random(seed).sample(every, min(wanted, len(every))) if wanted else every
    for at in sorted(chosen):
        root = folder / f"at-{at}"
        shutil.copytree(folder / "start", root)
        code = crash(root, at)
        after = see(root)
        again = forked(lambda root=root: review(root))
        print(json.dumps({"at": at, "of": len(every), "code": code, "after": after, "again": again, "end": see(root)}))
        sys.stdout.flush()
        shutil.rmtree(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
