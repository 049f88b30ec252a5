"""gc beside a worker: bytes that nobody named, until the worker does, are not taken from under it. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from fleet import Fleet, fleet, until

from annotator.checking import check
from annotator.collecting import collect
from annotator.progress import Silent

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
LONG_AGO = time.time() - 3 * DAY.total_seconds()
NAMES = [f"slow-{number:02d}.png" for number in range(40)]
SECONDS = 0.05  # a photo takes


class AsFastAsTheWorker(Silent):
    """Lets the worker go on as soon as something is deleted."""

    def __init__(self, bench: Fleet, worker: subprocess.Popen[bytes]) -> None:
        self._bench, self._worker = bench, worker

    def done(self, name: str, said: str) -> None:
        if name not in self._bench.workspace.blobs:
            self._bench.signal(self._worker, signal.SIGCONT)
        time.sleep(SECONDS)


def ready(bench: Fleet) -> subprocess.Popen[bytes]:
    """A worker that waits for work, and photos; every blob is old."""
    worker = bench.worker(FAKE_SECONDS=str(SECONDS))
    until(lambda: bench.is_ready(worker), "the worker's start")
    bench.photos(*NAMES)
    for path in Path(bench.workspace.root / "store").rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return worker


def test_nothing_is_lost_when_gc_runs_beside_a_worker(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "now").mkdir()
    with fleet(tmp_path / "before") as before, fleet(tmp_path / "now") as bench:
        ready(before)
        before.enqueue(size=5)
        until(lambda: before.states() == {"done": 40}, "the photos")
        answers = {blob.digest for blob in before.workspace.blobs.list()}
        for digest in answers:  # as a worker does that dies before it writes the rows
            bench.workspace.blobs.put(before.workspace.blobs.get(digest))
        worker = ready(bench)
        bench.signal(worker, signal.SIGSTOP)
        bench.enqueue(size=5)
        progress = AsFastAsTheWorker(bench, worker)
        deleted = collect(bench.workspace, older_than=DAY, delete=True, progress=progress).deleted
        assert deleted > 0  # before their worker put them
        while bench.states()["pending"]:
            deleted += collect(bench.workspace, older_than=DAY, delete=True, progress=progress).deleted
        assert deleted <= 40  # none twice
        found = check(bench.workspace, deep=True, progress=Silent())
        assert found.broken == []
        assert found.blobs["named"] == found.blobs["stored"] == len(answers) == 80
        assert list(bench.workspace.blobs.remains()) == []
