"""gc beside a worker: bytes that nobody named, until the worker does, are not taken from under it. Real processes."""

from __future__ import annotations

import os
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
    def done(self, name: str, said: str) -> None:
        time.sleep(SECONDS)


def annotate(bench: Fleet) -> None:
    """Until the first photo is begun."""
    worker = bench.worker(FAKE_SECONDS=str(SECONDS))
    until(lambda: bench.is_ready(worker), "the worker's start")
    bench.photos(*NAMES)
    for path in Path(bench.workspace.root / "store").rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    bench.enqueue(size=5)
    until(bench.executed, "the worker's first photo")


def test_nothing_is_lost_when_gc_runs_beside_a_worker(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "now").mkdir()
    with fleet(tmp_path / "before") as before, fleet(tmp_path / "now") as bench:
        annotate(before)
        until(lambda: before.states() == {"done": 40}, "the photos")
        answers = {blob.digest for blob in before.workspace.blobs.list()}
        for digest in answers:  # as a worker does that dies before it writes the rows
            bench.workspace.blobs.put(before.workspace.blobs.get(digest))
        annotate(bench)
        deleted = 0
        while bench.states()["pending"]:
            deleted += collect(bench.workspace, older_than=DAY, delete=True, progress=AsFastAsTheWorker()).deleted
        found = check(bench.workspace, deep=True, progress=Silent())
        assert found.broken == []
        assert found.blobs["named"] == found.blobs["stored"] == len(answers) == 80
        assert list(bench.workspace.blobs.remains()) == []
        print(f"{deleted} of 40 answers were deleted before their worker put them")
