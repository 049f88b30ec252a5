"""Logs a machine can read, with the ids of what they are about; and figures for Prometheus, from every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines import fill
from ports import free_port
from web_server import add_pair, running

from annotator import logs, service, telling, work
from annotator.jobs import JobQueue, bulk
from annotator.metrics import Rows
from annotator.progress import Silent
from annotator.web.app import create_app
from annotator.web.links import Links
from annotator.workspace import Workspace
from db.errors import StorageUnwritable
from db.models import Job, Photo
from db.repositories import Measures
from pipeline.recipe import Recipe

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "annotator"]


def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A real process, whose stderr is no terminal."""
    known = os.environ | {"PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1"} | environment
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, *arguments], env=known, cwd=HERE.parents[1], **pipes)


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def photos(photo: Callable[..., Path]) -> Path:
    for name, shade in (("cup.png", 1), ("can.png", 2), ("nohand.png", 3)):
        photo(name, shade)
    return photo("cup.png", 1).parent


def test_a_worker_tells_of_its_jobs(workspace: Workspace, photos: Path) -> None:
    _, fixed = fill(workspace, photos)
    port = free_port()
    worker = started("worker", "--metrics-port", str(port), "-w", str(workspace.root))
    try:
        end = time.monotonic() + 240
        while _unfinished(workspace):
            assert worker.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            told = answer.read().decode()
    finally:
        worker.terminate()
        written, said = worker.communicate(timeout=240)
    assert written == ""
    found = events(said)
    over = [event for event in found if event["event"] == "job over"]
    assert [(e["job"], e["state"], e["kind"], e["photo"]) for e in over] == [
        (1, "done", "reoptimise", "cup.png" if fixed.startswith(_sha(workspace, "cup.png")) else "can.png"),
        (2, "done", "annotate", "nohand.png"),
    ]
    assert (over[0]["pair"], over[0]["revision"]) == (fixed, 2)
    published = [(e["job"], e["pair"], e["revision"]) for e in found if e["event"] == "revision published"]
    assert published == [(e["job"], e["pair"], e["revision"]) for e in over]
    assert all({"timestamp", "level", "logger"} <= event.keys() for event in found)
    assert 'hoi_jobs{state="done"} 2.0' in told
    assert 'hoi_job_seconds_count{kind="reoptimise"} 1.0' in told
    assert "hoi_job_longest_wait_seconds 0.0" in told


def _unfinished(workspace: Workspace) -> bool:
    with workspace.database.read() as session:
        return bool(session.query(Job).filter(Job.state.in_(("queued", "running"))).count())


def _sha(workspace: Workspace, name: str) -> str:
    with workspace.database.read() as session:
        return session.query(Photo).filter_by(name=name).one().sha256[:12]


def test_a_chunk_tells_of_its_photos_and_leaves_what_it_has_no_time_for(
    workspace: Workspace,
    photos: Path,
    photo: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import logging

    photo("bug.png", 4)
    service.ingest(workspace, [str(photos)], progress=Silent())
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    logs.configure("json")
    queue = JobQueue(workspace)
    monkeypatch.setattr(bulk, "USUAL_S", 0.0)  # what is left goes into chunks of one photo

    def carry_out(chunk: int, left_after: int) -> list[dict[str, Any]]:
        def perform(task: work.Task) -> work.Outcome:
            nonlocal left_after
            left_after -= 1
            monkeypatch.setattr(bulk, "LONG_S", 1000.0 if left_after else -1.0)
            return work.perform(task)

        monkeypatch.setattr(bulk, "LONG_S", 1000.0)
        bulk.BulkJobs(workspace, queue, "me", perform, lambda: False).carry_out(chunk)
        return events(capsys.readouterr().err)

    with workspace.database.read() as session:
        names = [photo.name for photo in session.query(Photo).order_by(Photo.id)]
    assert names == ["bug.png", "can.png", "cup.png", "nohand.png"]
    assert bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=4) == 4
    found = carry_out(1, 2)
    assert {event["chunk"] for event in found} == {1}
    assert [(e["event"], e.get("photo")) for e in found] == [
        ("chunk begun", None),
        ("photo failed", "bug.png"),
        ("revision published", "can.png"),
        ("photo done", "can.png"),
        ("chunk over", None),
    ]
    assert "a bug in a stage" in found[1]["reason"]
    assert (found[0]["photos"], found[0]["recipe"], found[-1]["done"], found[-1]["left"]) == (4, "cpu", 2, 2)
    families = {family.name: family for family in Rows(workspace).collect()}
    assert {s.labels["state"]: s.value for s in families["hoi_chunks"].samples} == {"done": 1, "queued": 2}
    assert families["hoi_photos_queued"].samples[0].value == 2
    assert [e["event"] for e in carry_out(3, 1)] == ["chunk begun", "photo failed", "chunk over"]
    queue.close()


def test_a_bug_in_a_chunk_leaves_its_traceback(
    workspace: Workspace,
    photo: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import logging

    service.ingest(workspace, [str(photo())], progress=Silent())
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    logs.configure("json")
    queue = JobQueue(workspace)
    bulk.enqueue(workspace, queue, Recipe.load("cpu"))

    def fails(_: work.Task) -> work.Outcome:
        raise ZeroDivisionError("the sum")

    bulk.BulkJobs(workspace, queue, "me", fails, lambda: False).carry_out(1)
    queue.close()
    (failed,) = [event for event in events(capsys.readouterr().err) if event["event"] == "photo failed"]
    assert (failed["chunk"], failed["photo"], failed["exception"][0]["exc_value"]) == (1, "cup.png", "the sum")
    with workspace.database.read() as session:
        assert "ZeroDivisionError: the sum" in (session.query(Photo).one().reason or "")


def test_a_database_that_is_away_when_a_job_is_over_does_not_fail_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StorageUnwritable("the server does not answer")

    monkeypatch.setattr(telling, "_of_job", away)
    with telling.told(workspace, 7):
        pass


def test_work_that_is_given_up_says_why(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    logs.configure("json")
    for about in (telling.told(workspace, 7), telling.told_chunk(7, 1, "cpu")):
        with pytest.raises(StorageUnwritable), about:
            raise StorageUnwritable("the server does not answer")
    given_up = [event for event in events(capsys.readouterr().err) if event["event"].endswith("given up")]
    assert [event["error"] for event in given_up] == ["StorageUnwritable: the server does not answer"] * 2


def test_preannotate_tells_in_json_when_asked(workspace: Workspace, photos: Path) -> None:
    service.ingest(workspace, [str(photos)], progress=Silent())
    written, said = started("preannotate", "--json", "--log-json", "-w", str(workspace.root)).communicate()
    found = events(said)
    published = {e["pair"] for e in found if e["event"] == "revision published" and e["revision"] == 1}
    assert published == set(json.loads(written)["published"])
    assert len(published) == 2
    (failed,) = [e for e in found if e["event"] == "annotate: failed"]
    assert (failed["name"], failed["level"], failed["total"]) == ("nohand.png", "warning", 3)


def test_what_goes_wrong_in_the_server_is_told_with_its_ids(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    pair = add_pair(workspace)
    path = Links.of(workspace).revision(pair, 1, "reconstruction.npz").partition(":8700")[2]
    for blob in (workspace.root / "store").rglob("*"):
        if blob.is_file():
            blob.write_bytes(b"damaged")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    logs.configure("json")
    with running(create_app(workspace), free_port()) as get:
        answer = get(path)
    assert answer.status == 500
    assert "damaged" not in answer.text
    (event,) = events(capsys.readouterr().err)
    assert (event["pair"], event["revision"], event["error"]) == (pair, 1, "BlobCorrupt")
    assert "is damaged" in event["event"]
    assert path.split("/")[4] not in json.dumps(event)  # the address is a key


def test_lines_for_a_person(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    logs.configure("text")
    with logs.bound(job=7):
        logs.get_logger("annotator.x").info("job begun")
        logging.getLogger("somebody.else").warning("careful")
        logging.getLogger("somebody.else").info("chatter")
    first, second = capsys.readouterr().err.splitlines()
    assert "job begun" in first
    assert "job=7" in first
    assert "careful" in second
    assert "job=7" in second
    assert not first.startswith("{")


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_traceback_tells_no_secrets(
    style: logs.Style, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    logs.configure(style)

    def fails(secret: str) -> None:
        raise ZeroDivisionError("the sum")

    try:
        fails("-".join(("very", "private")))
    except ZeroDivisionError:
        logging.getLogger("uvicorn.error").exception("in the server")
    said = capsys.readouterr().err
    assert "the sum" in said
    assert "very-private" not in said


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_figures_of_jobs_and_bytes(engine: str, request: pytest.FixtureRequest, tmp_path: Path, photos: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from engines import database_url

    workspace = Workspace.create(tmp_path / "measured", database_url=database_url(engine, request))
    fill(workspace, photos)
    now = datetime.now(UTC)
    with workspace.database.write() as session:
        first, second = session.query(Job).order_by(Job.id)
        first.state, first.started_at, first.finished_at = "done", now - timedelta(seconds=90), now
        second.created_at = now - timedelta(hours=2)
    with workspace.database.read() as session:
        measures = Measures(session)
        ((kind, count, seconds),) = measures.job_seconds()
        assert (kind, count, seconds) == ("reoptimise", 1, pytest.approx(90, abs=0.01))
        assert 7200 <= measures.longest_wait() < 7200 + 600
        assert set(measures.bytes()) == {"application/x-npz", "image/png"}
    families = {family.name: family for family in Rows(workspace).collect()}
    assert {s.labels["state"]: s.value for s in families["hoi_jobs"].samples} == {"done": 1, "queued": 1}
    workspace.close()
