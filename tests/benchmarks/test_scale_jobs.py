"""scale_jobs.py at its smallest, on the suite's PostgreSQL: what its JSON must hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from benchmark_scripts import load
from postgres_cluster import empty

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script adds to it
    return load("scale_jobs")


@pytest.fixture
def on_postgres(bench: ModuleType, postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    @contextmanager
    def emptied() -> Iterator[str]:
        empty(postgres_server)
        yield postgres_server

    monkeypatch.setattr(bench, "database", emptied)
    return bench


@pytest.mark.postgres
def test_drain_counts_what_it_queued_and_carried_out(on_postgres: ModuleType) -> None:
    found = on_postgres.drain(40, 1)
    assert (found["jobs"], found["workers"]) == (40, 1)
    assert min(found["enqueued_per_s"], found["drained_per_s"], *found["drained_per_s_by_fifths"]) > 0
    assert len(found["drained_per_s_by_fifths"]) == 5
    assert found["database_kb_per_job"]["done"] > 0
    memory = found["memory_mb"]
    assert len(memory["workers_at_10_percent"]) == len(memory["workers_at_end"]) == 1
    paper = on_postgres.on_paper(found | {"drained_per_s": 50.0, "enqueued_per_s": 250.0})
    assert paper[0] == "10,000,000 photos / 20 in a chunk = 500,000 jobs"
    assert "500,000 jobs / 250 per s = 33 min" in paper[1]
    assert "500,000 jobs / 50 per s = 2.8 h of 1 workers" in paper[2]
    json.dumps(found)


@pytest.mark.postgres
def test_overhead_compares_the_queue_with_a_loop(on_postgres: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_SECONDS", "0")  # put back after the test
    found = on_postgres.overhead(6, 0.01, 3)
    assert (found["photos"], found["in_a_chunk"]) == (6, 3)
    assert min(found["loop_s"], found["queue_s"]) > 6 * 0.01
    assert found["added_ms_per_photo"] == pytest.approx(1000 * (found["queue_s"] - found["loop_s"]) / 6)
    json.dumps(found)


def test_ingest_tells_rate_and_memory(bench: ModuleType) -> None:
    found = bench.ingest(30)
    assert found["photos"] == 30
    assert found["per_s"] > 0
    assert min(found["memory_mb"][when] for when in ("tenth", "end", "peak")) > 0
    json.dumps(found)
