"""A fix and its job are one transaction; the job is carried out once, whatever dies, on both databases."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from annotator import service, work
from annotator.jobs import JobQueue, JobWorker, bulk, slots
from annotator.jobs.reviews import ReviewJobs
from annotator.progress import Silent
from annotator.reviewing import Change
from annotator.workspace import Workspace
from db.errors import StorageUnwritable
from db.models import Chunk, Job, Photo
from db.repositories import Chunks, Jobs, Pairs, Photos, Reviews, Revisions, Workers
from db.session import Database
from pipeline.errors import BadEdit
from pipeline.recipe import Recipe

PhotoMaker = Callable[..., Path]


def white(columns: slice, size: tuple[int, int] = (96, 64)) -> bytes:
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[:, columns] = 255
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server")
        database = Database(url)
        with database.write() as session:
            session.execute(text("DROP SCHEMA public CASCADE"))
            session.execute(text("DROP SCHEMA IF EXISTS dbos CASCADE"))
            session.execute(text("CREATE SCHEMA public"))
        database.dispose()
    made = Workspace.create(tmp_path / "workspace", database_url=url)
    yield made
    made.close()


@pytest.fixture
def pair(workspace: Workspace, photo: PhotoMaker) -> str:
    service.ingest(workspace, [str(photo())], progress=Silent())
    done = service.preannotate(workspace, Recipe.load("cpu"), progress=Silent())
    return done.published[0]


@pytest.fixture
def queue(workspace: Workspace) -> Iterator[JobQueue]:
    made = JobQueue(workspace)
    yield made
    made.close()


@pytest.fixture
def worker(workspace: Workspace) -> Iterator[JobWorker]:
    made = JobWorker(workspace)
    yield made
    made.stop()


def fix(workspace: Workspace, queue: JobQueue, pair: str, change: Change, external_id: str = "1") -> service.Reviewed:
    return service.submit_fix(
        workspace, queue, pair, change, reviewer="bo", number=1, source="label-studio", external_id=external_id
    )


def jobs(workspace: Workspace) -> list[tuple[str, str | None]]:
    with workspace.database.read() as session:
        return [(job.state, job.reason) for job in session.query(Job).order_by(Job.id)]


def until(condition: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_a_fix_becomes_the_next_revision(workspace: Workspace, queue: JobQueue, worker: JobWorker, pair: str) -> None:
    mask = white(slice(60, 90))
    done = fix(workspace, queue, pair, Change(masks={"object_mask": mask}, touching=("index",)))
    assert (done.recorded, done.status) == (True, "reoptimising")
    worker.start()
    until(lambda: jobs(workspace) == [("done", None)])
    with workspace.database.read() as session:
        found = Pairs(session).find(pair)
        newest = Revisions(session).get(found)
        assert (newest.number, newest.trigger, found.status) == (2, "review", "preannotated")
        assert newest.parent is not None
        assert newest.parent.number == 1
        assert "index" in newest.contacts["touching"]
        assert newest.diagnostics["constraints"]
        (review,) = Reviews(session).of_pair(found)
        assert review.revision.number == 1
        assert workspace.blobs.get(review.edits["object_mask"]) == mask


def test_the_same_fix_twice_is_one_review_and_one_job(workspace: Workspace, queue: JobQueue, pair: str) -> None:
    change = Change(touching=("index",))
    assert fix(workspace, queue, pair, change).recorded
    assert not fix(workspace, queue, pair, change).recorded
    assert jobs(workspace) == [("queued", None)]


def test_a_newer_fix_supersedes_the_older_job_and_keeps_its_edits(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, pair: str
) -> None:
    fix(workspace, queue, pair, Change(masks={"object_mask": white(slice(60, 90))}), "1")
    fix(workspace, queue, pair, Change(touching=("little",)), "2")
    assert jobs(workspace) == [("superseded", "a newer edit came"), ("queued", None)]
    worker.start()
    until(lambda: jobs(workspace)[1] == ("done", None))
    with workspace.database.read() as session:
        newest = Revisions(session).get(Pairs(session).find(pair))
        assert newest.number == 2
        assert "little" in newest.contacts["touching"]
        assert newest.metrics["object_iou"] == pytest.approx(
            30 / 96
        )  # the fake's figure: the mask's share of the photo


def test_nothing_is_recorded_of_a_fix_that_is_none(workspace: Workspace, queue: JobQueue, pair: str) -> None:
    with pytest.raises(BadEdit):
        fix(workspace, queue, pair, Change())
    with workspace.database.read() as session:
        assert Reviews(session).of_pair(Pairs(session).find(pair)) == []
    assert jobs(workspace) == []


def test_review_and_job_are_one_transaction(
    workspace: Workspace, queue: JobQueue, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr(queue._client, "enqueue_in_transaction", away)
    with pytest.raises(RuntimeError):
        fix(workspace, queue, pair, Change(touching=("index",)))
    with workspace.database.read() as session:
        assert Reviews(session).of_pair(Pairs(session).find(pair)) == []
    assert jobs(workspace) == []


def test_a_fix_that_cannot_be_carried_out_says_why_and_waits_for_the_reviewer(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, pair: str
) -> None:
    fix(workspace, queue, pair, Change(masks={"hand_mask": white(slice(0, 1))}))  # the fake refuses so small a hand
    worker.start()
    until(lambda: jobs(workspace) == [("failed", "too little of the hand to fit it")])
    with workspace.database.read() as session:
        found = Pairs(session).find(pair)
        assert (found.status, found.revision_number) == ("preannotated", 1)
        assert len(Reviews(session).of_pair(found)) == 1


def test_edits_that_change_nothing_end_the_job_without_a_revision(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, pair: str
) -> None:
    fix(workspace, queue, pair, Change(touching=("thumb",)))  # it touches already
    worker.start()
    until(lambda: jobs(workspace) == [("done", "the edits change nothing")])
    with workspace.database.read() as session:
        assert Pairs(session).find(pair).revision_number == 1


def test_help_gives_a_photo_its_first_revision(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, photo: PhotoMaker
) -> None:
    service.ingest(workspace, [str(photo("nohand.png"))], progress=Silent())
    service.preannotate(workspace, Recipe.load("cpu"), progress=Silent())
    with workspace.database.read() as session:
        (lost,) = Photos(session).without_pair()
    mask = white(slice(60, 90))
    assert service.submit_help(
        workspace, queue, lost.sha256, Change(masks={"object_mask": mask}, box=[1, 2, 40, 60], side="left")
    )
    worker.start()
    until(lambda: jobs(workspace) == [("done", None)])
    with workspace.database.read() as session:
        (found,) = Pairs(session).all()
        newest = Revisions(session).get(found)
        assert (newest.number, newest.trigger, found.side) == (1, "review", "left")
        assert newest.metrics["object_iou"] == pytest.approx(30 / 96)
        assert found.photo.status == "done"
    assert not service.submit_help(workspace, queue, lost.sha256, Change(box=[1, 2, 40, 60]))


def test_photos_in_chunks_are_told_of_once_each(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, photo: PhotoMaker
) -> None:
    names = ["a.png", "b.png", "nohand.png", "c.png", "d.png"]
    service.ingest(workspace, [str(photo(name, shade)) for shade, name in enumerate(names)], progress=Silent())
    assert bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=2) == 5
    assert bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=2) == 0  # they are queued

    class Watched(Silent):
        def begin(self, total: int) -> None:
            assert total == 5
            worker.start()  # not before somebody looks: what was done until then is not told of

    done = bulk.watch(workspace, Watched(), every_s=0.01)
    assert (done.photos, [name for name, _ in done.failed], done.unchanged) == (5, ["nohand.png"], [])
    assert len(set(done.published)) == len(done.published) == 4
    assert bulk.watch(workspace, Silent()).photos == 0


def test_what_ends_while_the_queue_is_looked_at_is_told_of(
    workspace: Workspace, queue: JobQueue, photo: PhotoMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ingest(workspace, [str(photo())], progress=Silent())
    assert bulk.enqueue(workspace, queue, Recipe.load("cpu")) == 1
    looks, look = [], bulk._running

    def looked(session: Session) -> set[int]:
        found = look(session)
        looks.append(found)
        if len(looks) == 2:  # the first is that before the beginning
            bulk.BulkJobs(workspace, queue, "me", work.perform, lambda: False).carry_out(1)
        return found

    monkeypatch.setattr(bulk, "_running", looked)
    assert bulk.watch(workspace, Silent(), every_s=0.01).photos == 1


def test_a_reviewer_comes_before_bulk_work(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, pair: str, photo: PhotoMaker
) -> None:
    service.ingest(workspace, [str(photo("b.png", 2)), str(photo("c.png", 3))], progress=Silent())
    assert bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=1) == 2
    fix(workspace, queue, pair, Change(touching=("index",)))
    worker.start()
    bulk.watch(workspace, Silent(), every_s=0.01)
    with workspace.database.read() as session:
        job = session.query(Job).one()
        begun = [chunk.started_at for chunk in session.query(Chunk)]
        assert job.finished_at is not None
        assert all(time is not None and job.finished_at <= time for time in begun)


@pytest.mark.parametrize(("photos", "chunks"), [(10, 3), (bulk.MANY, 50)])
def test_chunks_are_larger_where_there_are_many_photos(
    workspace: Workspace, queue: JobQueue, photos: int, chunks: int
) -> None:
    with workspace.database.write() as session:
        session.execute(
            insert(Photo), [{"sha256": f"{n:064x}", "name": "x.png", "width": 3, "height": 2} for n in range(photos)]
        )
    assert bulk.enqueue(workspace, queue, Recipe.load("cpu")) == photos
    with workspace.database.read() as session:
        assert Chunks(session).counts() == {"queued": chunks}


def test_what_others_did_while_photos_are_queued_is_not_done_again(
    workspace: Workspace, queue: JobQueue, photo: PhotoMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.png", "b.png", "c.png"]
    service.ingest(workspace, [str(photo(name, shade)) for shade, name in enumerate(names)], progress=Silent())
    monkeypatch.setattr(bulk, "_AT_ONCE", 1)
    add = queue.add_chunk

    def add_slowly(session: Session, *about: Any) -> Any:
        Photos(session).settle(2, None, "done", None, [])
        return add(session, *about)

    monkeypatch.setattr(queue, "add_chunk", add_slowly)
    assert bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=1) == 2
    with workspace.database.read() as session:
        assert [photo.status for photo in Photos(session).all()] == ["pending", "done", "pending"]


@pytest.mark.parametrize(("was_ready", "again"), [(True, True), (False, False)])
def test_a_slot_that_worked_before_waits_for_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_ready: bool, again: bool
) -> None:
    workspace = Workspace.create(tmp_path / "slot")

    def away(_: JobWorker) -> None:
        raise StorageUnwritable("the server does not answer")

    monkeypatch.setattr(JobWorker, "start", away)
    monkeypatch.setattr("annotator.jobs.slots.signal.signal", lambda *_: None)
    monkeypatch.setattr("annotator.jobs.slots.logs.configure", lambda _: None)
    ready = threading.Event()
    if was_ready:
        ready.set()
    with pytest.raises(SystemExit) as ended:
        slots._slot(workspace.root, workspace.settings.model_dump(), ready)
    assert (ended.value.code == "the server does not answer") is again
    assert (ended.value.code == slots._UNFIT) is not again


@pytest.mark.parametrize("of", ["photo", "job"])
def test_work_that_a_database_leaves_alone_again_and_again_is_no_poison(
    workspace: Workspace, queue: JobQueue, pair: str, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """It goes away while the work is done, and cannot be told either that the try does not count."""
    away = False

    def lost(_: work.Task) -> work.Outcome:
        nonlocal away
        away = True
        raise StorageUnwritable("the server does not answer")

    write = Database.write

    def written(database: Database) -> Any:
        if away:
            raise StorageUnwritable("the server does not answer")
        return write(database)

    monkeypatch.setattr(Database, "write", written)
    if of == "photo":
        bulk.enqueue(workspace, queue, Recipe.load("cpu"), redo=True)
        chunk = bulk.BulkJobs(workspace, queue, "me", lambda task: perform(task), lambda: False)
        carry_out = chunk.carry_out
    else:
        fix(workspace, queue, pair, Change(touching=("index",)))
        carry_out = ReviewJobs(workspace, "me", lambda task: perform(task)).compute
    perform = lost
    for _ in range(work.MOST_TRIES + 1):
        with pytest.raises(StorageUnwritable):
            carry_out(1)
        away = False
    perform = work.perform
    carry_out(1)
    with workspace.database.read() as session:
        (only,) = Photos(session).all()
        assert (only.status, only.reason) == ("done", None)
    assert [state for state, _ in jobs(workspace)] == ([] if of == "photo" else ["running"])


def test_who_watches_a_queue_is_told_when_its_last_worker_ends(
    workspace: Workspace, queue: JobQueue, photo: PhotoMaker
) -> None:
    service.ingest(workspace, [str(photo("a.png", 1)), str(photo("b.png", 2))], progress=Silent())
    bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=1)

    def beat() -> None:
        with workspace.database.write() as session:
            Workers(session).beat("one", "here", 1, "a version")

    def leave() -> None:
        with workspace.database.write() as session:
            Workers(session).leave("one")

    def end() -> None:  # a local run does what no worker does
        service.preannotate(workspace, Recipe.load("cpu"), progress=Silent())

    said: list[str] = []
    steps = [beat, leave, lambda: None, end]

    def sleep(_: float) -> None:
        steps.pop(0)()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("annotator.jobs.bulk.time.sleep", sleep)
        bulk.watch(workspace, Silent(), said.append)
    alone, left = said
    assert alone.startswith("no worker lives: 'hoi-annotate worker' starts one")
    assert left.startswith("the last worker has ended, and said why where it ran: 'hoi-annotate worker' starts one")


def test_a_local_run_takes_over_what_is_queued(workspace: Workspace, queue: JobQueue, photo: PhotoMaker) -> None:
    service.ingest(workspace, [str(photo())], progress=Silent())
    bulk.enqueue(workspace, queue, Recipe.load("cpu"))
    assert service.preannotate(workspace, Recipe.load("cpu"), progress=Silent()).photos == 1
    assert bulk.watch(workspace, Silent()).photos == 0


WORKER = """
import sys, time
from pathlib import Path
from annotator.jobs import JobWorker
from annotator.workspace import Workspace
if __name__ == "__main__":
    JobWorker(Workspace(Path(sys.argv[1]))).start()
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(
    workspace: Workspace, queue: JobQueue, photo: PhotoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ingest(workspace, [str(photo("slow.png"))], progress=Silent())
    pair = service.preannotate(workspace, Recipe.load("cpu"), progress=Silent()).published[0]
    fix(workspace, queue, pair, Change(touching=("index",)))
    script = tmp_path / "work.py"
    script.write_text(WORKER)
    environment = os.environ | {
        "HOI_JOBS": "1",
        "FAKE_REOPTIMISE_GATE": str(tmp_path / "never"),
        "HOI_DATABASE_URL": workspace.database_url,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, str(script), str(workspace.root)]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    until(lambda: jobs(workspace) == [("running", None)])
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.Popen(command, env=environment | {"FAKE_REOPTIMISE_GATE": ""}, stdout=subprocess.PIPE)
    try:
        until(lambda: jobs(workspace) == [("done", None)])
    finally:
        second.kill()
        second.wait()
    with workspace.database.read() as session:
        assert Revisions(session).get(Pairs(session).find(pair)).number == 2
        assert len(Jobs(session).newest("done", 10)) == 1
