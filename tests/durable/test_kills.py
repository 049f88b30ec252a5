"""Workers die, the database restarts: every photo gets exactly one result. Real processes, real databases.

HOI_TEST_PHOTOS and HOI_TEST_KILL_EVERY_S set the size.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from fleet import Fleet, fleet, until
from postgres_cluster import Cluster

pytestmark = pytest.mark.slow

Worker = subprocess.Popen[bytes]
PHOTOS = int(os.environ.get("HOI_TEST_PHOTOS", "45"))
KILL_EVERY_S = float(os.environ.get("HOI_TEST_KILL_EVERY_S", "5"))
SECONDS = "0.4"  # a photo takes
SILENT_S = "20"  # on a busy machine the living are not to be taken for dead: what they do would be done twice


def storm(bench: Fleet, count: int, workers: int, restart: Cluster | None, own_folders: bool, least: int) -> int:
    """Annotates `count` photos while one of the workers is killed at once and then every few seconds, and another comes
    for each; the kills, `least` or more: the last photos are held until then.

    A machine so busy that workers start more slowly than they are killed gets more time: one always lives.
    """
    bench.photos(*(f"{'slow' if number < count - 4 else 'slow-held'}-{number:03d}.png" for number in range(count)))
    gate = bench.root / "gate"

    def worker() -> Worker:
        more = {"FAKE_SECONDS": SECONDS, "FAKE_GATE": str(gate), "HOI_WORKER_TIMEOUT": SILENT_S}
        return bench.worker(own_folder=own_folders, **more)

    live = [worker() for _ in range(workers)]
    until(lambda: all(map(bench.is_ready, live)), "the workers' start")
    assert bench.enqueue(size=4) == count
    until(lambda: len(bench.executed()) >= workers, "the workers' first photos")
    chosen, killed, end = random.Random(7), 0, time.monotonic() + 600 + 4 * count * float(SECONDS)
    next_kill = time.monotonic()
    while bench.states()["pending"]:
        assert time.monotonic() < end, f"{bench.states()}\n{bench.begun()}"
        time.sleep(0.1)
        ready = [worker for worker in live if bench.is_ready(worker)]
        if time.monotonic() < next_kill or len(ready) < 2:
            continue
        next_kill = time.monotonic() + KILL_EVERY_S
        victim = chosen.choice(ready)
        bench.kill(victim)
        live.remove(victim)
        killed += 1
        if killed == least:
            gate.touch()
        if restart is not None and killed == 2:
            restart.stop()
            time.sleep(1)
            restart.start()
        live.append(worker())
    for worker in live:
        bench.signal(worker, signal.SIGTERM)
    assert {worker.wait(240) for worker in live} <= {0, -signal.SIGTERM}  # the latter: it had not started yet
    return killed


def check(bench: Fleet, count: int, killed: int) -> None:
    executions, revisions = Counter(bench.executed()), bench.revisions()
    print(
        f"\n{count} photos, {killed} workers killed: {executions.total()} executions, "
        f"{revisions.total()} effects, {sum(n > 1 for n in executions.values())} photos begun more than once"
    )
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
        check(bench, PHOTOS, storm(bench, PHOTOS, 3, postgres_cluster, own_folders=True, least=2))


def test_two_workers_on_sqlite(tmp_path: Path) -> None:
    with fleet(tmp_path) as bench:
        check(bench, PHOTOS // 2, storm(bench, PHOTOS // 2, 2, None, own_folders=False, least=1))
