"""A fix and its job are one transaction; the job is carried out once, whatever dies, on both databases."""

from __future__ import annotations

import io
import os
import shutil
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
from sqlalchemy.exc import DataError, ProgrammingError
from sqlalchemy.orm import Session

from annotator import service, work
from annotator.annotating import take_over
from annotator.checking import check
from annotator.jobs import JobQueue, JobWorker, bulk, reviews, slots
from annotator.jobs.reviews import ReviewJobs
from annotator.jobs.versions import requeue
from annotator.jobs.worker import _free_place
from annotator.progress import Silent
from annotator.reviewing import Change
from annotator.workspace import Workspace
from db.blobs import BlobStore
from db.errors import SchemaOutdated, StorageFull, StorageUnwritable
from db.models import Chunk, Job, Pair, Photo
from db.repositories import Chunks, Jobs, Pairs, Photos, Reviews, Revisions, Workers, pairs
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


@pytest.mark.parametrize("outcome", ["failed", "done"])
def test_a_verdict_given_while_a_fix_waits_stays_when_the_fix_comes_to_nothing(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, pair: str, outcome: str
) -> None:
    refused, unchanged = Change(masks={"hand_mask": white(slice(0, 1))}), Change(touching=("thumb",))
    fix(workspace, queue, pair, refused if outcome == "failed" else unchanged)
    assert service.submit_review(workspace, pair, "accept", reviewer="cy", number=1).status == "accepted"
    worker.start()
    until(lambda: [state for state, _ in jobs(workspace)] == [outcome])
    with workspace.database.read() as session:
        assert Pairs(session).find(pair).status == "accepted"


def test_a_verdict_counts_for_the_revision_that_was_seen_only(
    workspace: Workspace, queue: JobQueue, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the next one is published between the look at the pair and the verdict."""
    fix(workspace, queue, pair, Change(touching=("index",)))
    steps = ReviewJobs(workspace, "me", work.perform)
    made = steps.compute(1)
    assert made is not None
    publishing = threading.Thread(target=steps.publish, args=(1, made))
    find = Pairs.find

    def found(pairs: Pairs, name: str) -> Pair:
        seen = find(pairs, name)
        if threading.current_thread() is threading.main_thread() and not publishing.ident:
            publishing.start()
            if not workspace.database.is_sqlite:  # where the verdict has the lock by now
                publishing.join()
        return seen

    with monkeypatch.context() as patch:
        patch.setattr(Pairs, "find", found)
        service.submit_review(workspace, pair, "accept", reviewer="cy", number=1)
    publishing.join()
    with workspace.database.read() as session:
        now = Pairs(session).find(pair)
        assert (now.status, now.revision_number) == ("preannotated", 2)


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
        slots._slot(workspace.root, workspace.settings.model_dump(), ready, None)
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


@pytest.mark.parametrize("left", [None, b"half of it"])
def test_an_answer_whose_bytes_are_lost_before_it_is_published_is_computed_again(
    workspace: Workspace, queue: JobQueue, pair: str, left: bytes | None
) -> None:
    """As a power cut leaves them, which obstore does not flush before it."""
    fix(workspace, queue, pair, Change(touching=("index",)))
    steps = ReviewJobs(workspace, "me", work.perform)
    made = steps.compute(1)
    assert made is not None
    digest = made["answer"]["npz"]
    (file,) = (workspace.root / "store").rglob(digest)
    file.unlink() if left is None else file.write_bytes(left)
    assert not steps.publish(1, made)
    made = steps.compute(1)
    assert made is not None
    assert steps.publish(1, made)
    assert jobs(workspace) == [("done", None)]
    assert workspace.blobs.get(digest)


@pytest.mark.parametrize("step", ["compute", "publish"])
def test_a_job_that_the_database_never_takes_fails_and_the_next_is_done(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, pair: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    owner, name = (ReviewJobs, "_answer") if step == "compute" else (reviews, "_write")
    do = getattr(owner, name)
    refused: list[object] = []

    def refuse(*about: Any) -> Any:
        if not refused:
            refused.append(about)
            raise DataError("UPDATE pair", {}, Exception("integer out of range"))
        return do(*about)

    monkeypatch.setattr(owner, name, refuse)
    fix(workspace, queue, pair, Change(touching=("index",)), "1")
    worker.start()
    until(lambda: jobs(workspace)[0][0] == "failed")
    assert "DataError: (builtins.Exception) integer out of range" in (jobs(workspace)[0][1] or "")
    with workspace.database.read() as session:
        assert Pairs(session).find(pair).status == "preannotated"
    fix(workspace, queue, pair, Change(touching=("little",)), "2")
    until(lambda: jobs(workspace)[1][0] == "done")


def test_a_full_store_ends_the_worker_and_leaves_the_work_to_the_next(
    workspace: Workspace, queue: JobQueue, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise StorageFull("the disk of the store is full: free some space and repeat the command")

    fix(workspace, queue, pair, Change(touching=("index",)))
    first = JobWorker(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(BlobStore, "put", full)
        first.start()
        assert first.ended.wait(600)
        first.stop()
    assert isinstance(first.trouble, StorageFull)
    with workspace.database.read() as session:
        assert [(job.state, job.tries) for job in session.query(Job)] == [("running", 0)]
    second = JobWorker(workspace)
    second.start()
    until(lambda: jobs(workspace) == [("done", None)])
    second.stop()


def chunk_of(workspace: Workspace, queue: JobQueue, photo: PhotoMaker, names: tuple[str, ...]) -> None:
    service.ingest(workspace, [str(photo(name, shade)) for shade, name in enumerate(names)], progress=Silent())
    bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=len(names))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is done to its end on a slow machine too."""
    monkeypatch.setattr(bulk, "LONG_S", 3600.0)


def reasons(workspace: Workspace) -> dict[str, str | None]:
    with workspace.database.read() as session:
        assert {chunk.state for chunk in session.query(Chunk)} == {"done"}
        assert "pending" not in Photos(session).counts()
        return {photo.name: photo.reason for photo in session.query(Photo)}


@pytest.mark.usefixtures("unhurried")
def test_a_photo_that_the_database_never_takes_fails_and_the_next_is_done(
    workspace: Workspace, queue: JobQueue, photo: PhotoMaker
) -> None:
    chunk_of(workspace, queue, photo, ("a.png", "b.png", "c.png"))

    def perform(task: work.Task) -> work.Outcome:
        if task.name == "a.png":
            raise ProgrammingError("INSERT", {}, Exception("cannot adapt type"))
        if task.name == "b.png":
            with workspace.database.read() as session:
                session.execute(text("SELECT * FROM nowhere"))
        return work.perform(task)

    bulk.BulkJobs(workspace, queue, "me", perform, lambda: False).carry_out(1)
    found = reasons(workspace)
    assert "ProgrammingError: (builtins.Exception) cannot adapt type" in (found["a.png"] or "")
    assert all(word in (found["b.png"] or "") for word in ("ProgrammingError", "nowhere"))
    assert found["c.png"] is None


@pytest.mark.usefixtures("unhurried")
def test_a_pair_whose_name_is_taken_fails_its_photo(
    workspace: Workspace, queue: JobQueue, photo: PhotoMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 bits of a digest: among ten million photos there may be two that share them."""
    chunk_of(workspace, queue, photo, ("a.png", "b.png", "c.png"))
    with workspace.database.read() as session:
        first, second, _ = (photo.sha256 for photo in Photos(session).all())
    name = pairs.public_id

    def shared(sha256: str, index: int) -> str:
        return name(first if sha256 == second else sha256, index)

    monkeypatch.setattr(pairs, "public_id", shared)
    bulk.BulkJobs(workspace, queue, "me", work.perform, lambda: False).carry_out(1)
    found = reasons(workspace)
    assert (found["a.png"], found["c.png"]) == (None, None)
    assert "its pairs cannot be recorded: " in (found["b.png"] or "")
    assert "public_id" in (found["b.png"] or "")


def test_a_chunk_that_cannot_be_read_has_an_end(workspace: Workspace, queue: JobQueue, photo: PhotoMaker) -> None:
    chunk_of(workspace, queue, photo, ("a.png",))
    with workspace.database.write() as session:
        Chunks(session).get(1).recipe = {"is": "another program's"}
    bulk.BulkJobs(workspace, queue, "me", work.perform, lambda: False).carry_out(1)
    assert "TypeError" in (reasons(workspace)["a.png"] or "")


def test_tables_that_were_migrated_under_a_worker_end_it_and_fail_no_photo(
    workspace: Workspace, queue: JobQueue, photo: PhotoMaker
) -> None:
    chunk_of(workspace, queue, photo, ("a.png",))

    def perform(_: work.Task) -> work.Outcome:
        with workspace.database.write() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        raise ProgrammingError("SELECT", {}, Exception("no such column"))

    with pytest.raises(SchemaOutdated, match="9999"):
        bulk.BulkJobs(workspace, queue, "me", perform, lambda: False).carry_out(1)
    with workspace.database.read() as session:
        (only,) = Photos(session).all()
        assert (only.status, only.tries) == ("pending", 0)


def test_work_of_another_version_is_named_and_queued_anew(
    workspace: Workspace, queue: JobQueue, worker: JobWorker, pair: str, photo: PhotoMaker
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("annotator.jobs.queue.VERSION", "1")
        fix(workspace, queue, pair, Change(touching=("index",)))
        chunk_of(workspace, queue, photo, ("a.png", "b.png"))
    (left,) = check(workspace, progress=Silent()).broken
    assert left[0] == "queue"
    assert left[1].startswith("2 entries are for workers of version 1, this program's have version 2: 'hoi-annotate db")
    assert requeue(workspace) == 2
    assert requeue(workspace) == 0
    assert check(workspace, progress=Silent()).broken == []
    worker.start()
    until(lambda: [state for state, _ in jobs(workspace)] == ["superseded", "done"])
    until(lambda: not unfinished_chunks(workspace))
    assert list(reasons(workspace).values()) == [None] * 3


def unfinished_chunks(workspace: Workspace) -> list[int]:
    with workspace.database.read() as session:
        return list(Chunks(session).unfinished())


def test_a_copied_folder_is_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def name(root: Path) -> str:
        file, found = _free_place(root)
        file.close()
        return found

    (tmp_path / "one").mkdir()
    first = name(tmp_path / "one")
    assert name(tmp_path / "one") == first  # also after a crash
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    second = name(tmp_path / "two")
    assert second != first
    assert name(tmp_path / "two") == second
    monkeypatch.setattr("socket.gethostname", lambda: "clone")
    assert name(tmp_path / "one").startswith("clone-0-")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (None, ["0", "1", "0"]),
        ("2,5", ["2", "5", "2"]),
        ("MIG-a, MIG-b", ["MIG-a", "MIG-b", "MIG-a"]),
        ("", [None, None, None]),
    ],
)
def test_each_slot_has_a_gpu_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str | None, expected: list[str | None]
) -> None:
    for device in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / device).touch()
    monkeypatch.setattr(slots, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert [slots.own_gpu(number) for number in range(3)] == expected


@pytest.mark.parametrize("who", ["the end of a chunk", "who queues", "a local run"])
def test_photos_that_are_set_waiting_again_are_not_settled_meanwhile(
    workspace: Workspace, queue: JobQueue, photo: PhotoMaker, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """As by a second run of their chunk, whose worker was taken for dead: what is settled must not be set back."""
    before = 1 if who == "the end of a chunk" else None
    service.ingest(workspace, [str(photo("a.png", 1)), str(photo("b.png", 2))], progress=Silent())
    if before:
        bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=2)
    settled: list[bool] = []

    def settle() -> None:
        with workspace.database.write() as session:
            settled.append(Photos(session).settle(1, before, "done", None, [{"hand": 0, "reason": "it holds nothing"}]))

    other, await_again = threading.Thread(target=settle), Photos.await_again

    def awaited(photos: Photos, ids: Any, chunk_id: int | None) -> None:
        if not other.ident:
            other.start()
            other.join(1)  # it is over by now, or must wait for us
        await_again(photos, ids, chunk_id)

    monkeypatch.setattr(Photos, "await_again", awaited)
    if who == "the end of a chunk":
        bulk.BulkJobs(workspace, queue, "me", work.perform, lambda: True).carry_out(1)
    elif who == "who queues":
        bulk.enqueue(workspace, queue, Recipe.load("cpu"), size=2)
    else:
        take_over(workspace, ("pending",), None)
    other.join()
    with workspace.database.read() as session:
        assert (Photos(session).get(1).status == "done") is settled[0]


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
