"""Workers die, the database restarts: every photo gets exactly one result. Real processes, real databases.

HOI_TEST_PHOTOS and HOI_TEST_KILL_EVERY_S set the size.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from fleet import Fleet, fleet, until
from postgres_cluster import Cluster

pytestmark = pytest.mark.slow

PHOTOS = int(os.environ.get("HOI_TEST_PHOTOS", "45"))
KILL_EVERY_S = float(os.environ.get("HOI_TEST_KILL_EVERY_S", "5"))
SECONDS = "0.4"  # a photo takes


def storm(bench: Fleet, count: int, workers: int, restart: Cluster | None, own_folders: bool, seed: int = 7) -> int:
    """Annotates `count` photos while every few seconds one of the workers is killed and another comes; the kills."""
    bench.photos(*(f"slow-{number:03d}.png" for number in range(count)))
    assert bench.enqueue(size=4) == count
    live = [bench.worker(own_folder=own_folders, FAKE_SECONDS=SECONDS) for _ in range(workers)]
    until(lambda: bench.said().count("is ready") == workers, "the workers' start")
    chosen, killed = random.Random(seed), 0
    end = time.monotonic() + 30 + 4 * count * float(SECONDS)
    for number in itertools.count():
        until_next = time.monotonic() + KILL_EVERY_S
        while time.monotonic() < until_next and bench.states()["pending"]:
            time.sleep(0.1)
        if not bench.states()["pending"]:
            break
        assert time.monotonic() < end, f"{bench.states()}: {bench.said()}"
        bench.kill(live.pop(chosen.randrange(len(live))))
        killed += 1
        if restart is not None and number == 1:
            restart.stop()
            time.sleep(1)
            restart.start()
        live.append(bench.worker(own_folder=own_folders, FAKE_SECONDS=SECONDS))
    for worker in live:
        bench.signal(worker, signal.SIGTERM)
    assert {worker.wait(60) for worker in live} <= {0, -signal.SIGTERM}  # the latter: it had not started yet
    return killed


def check(bench: Fleet, count: int, killed: int) -> None:
    executions, revisions = Counter(bench.executed()), bench.revisions()
    print(
        f"\n{count} photos, {killed} workers killed: {executions.total()} executions, "
        f"{revisions.total()} effects, {sum(n > 1 for n in executions.values())} photos begun more than once"
    )
    assert killed >= 2
    assert bench.states() == {"done": count}
    assert len(executions) == count
    assert sorted(revisions.values()) == [1] * count  # one pair for each, with one revision
    assert executions.total() <= count + killed  # what a worker had begun when it died, and no more
    bench.is_complete()


@pytest.mark.postgres
def test_three_workers_one_killed_every_few_seconds_and_postgresql_restarted(
    tmp_path: Path, postgres_cluster: Cluster
) -> None:
    with fleet(tmp_path, postgres_cluster.url) as bench:
        check(bench, PHOTOS, storm(bench, PHOTOS, 3, postgres_cluster, own_folders=True))


def test_two_workers_on_sqlite(tmp_path: Path) -> None:
    with fleet(tmp_path) as bench:
        check(bench, PHOTOS // 3, storm(bench, PHOTOS // 3, 2, None, own_folders=False))
