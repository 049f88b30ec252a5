"""A backup is a whole, whatever goes on meanwhile; a restore gives back every row and byte, on either engine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from engines import database_url, fill, rows
from pictures import picture
from sqlalchemy import text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from annotator import service
from annotator.backup import MANIFEST, Copied, backup, repair, restore
from annotator.checking import check
from annotator.cli import app
from annotator.errors import BadRequest, WorkspaceError
from annotator.jobs import JobQueue, JobWorker, bulk
from annotator.progress import Silent
from annotator.web.links import Links
from annotator.workspace import Workspace
from db import copying
from db.blobs import BlobStore
from db.models import Job
from db.repositories import Chunks, Pairs, Photos, Revisions
from db.session import Database
from pipeline.recipe import Recipe

PhotoMaker = Callable[..., Path]


@pytest.fixture
def photos(photo: PhotoMaker) -> Path:
    for name, shade in (("cup.png", 1), ("can.png", 2), ("nohand.png", 3)):
        photo(name, shade)
    return photo("cup.png", 1).parent


@pytest.fixture
def full(workspace: Workspace, photos: Path) -> Workspace:
    fill(workspace, photos)
    return workspace


def stored(workspace: Workspace) -> list[Path]:
    return sorted(path for path in (workspace.root / "store").rglob("*") if path.is_file())


def clean(workspace: Workspace) -> bool:
    found = check(workspace, deep=True, progress=Silent())
    assert found.broken == []
    return bool(found.blobs["named"])


def to(folder: Path, **flags: Any) -> Callable[[Path], Copied]:
    return lambda source: restore(source, folder, progress=Silent(), **flags)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("sqlite", "sqlite"),
        pytest.param("sqlite", "postgresql", marks=pytest.mark.postgres),
        pytest.param("postgresql", "sqlite", marks=pytest.mark.postgres),
    ],
)
def test_every_row_and_byte_comes_back(
    source: str, target: str, request: pytest.FixtureRequest, tmp_path: Path, photos: Path
) -> None:
    url = database_url(source, request)
    if url is not None:
        url += "?options=-c%20timezone%3DAsia/Kolkata"  # where a server's times are not UTC
    old = Workspace.create(tmp_path / "old", database_url=url)
    fill(old, photos)
    before, link = rows(old), Links.of(old).revision("x", 1, "photo.jpg")
    done = backup(old, tmp_path / "backup", progress=Silent())
    assert (done.rows["photo"], done.blobs, done.lost) == (4, 6, [])  # 3 photos, 2 reconstructions, 1 mask
    old.close()

    new_url = database_url(target, request)
    restored = to(tmp_path / "new", database_url=new_url)(tmp_path / "backup")
    assert (restored.blobs, restored.copied, restored.requeued) == (6, 6, 2)
    new = Workspace(tmp_path / "new", database_url=new_url)
    assert clean(new)
    assert Links.of(new).revision("x", 1, "photo.jpg") == link
    after = rows(new)
    jobs = after.pop("job")
    assert after == {name: kept for name, kept in before.items() if name != "job"}
    assert [job["state"] for job in jobs] == ["superseded", "superseded", "queued", "queued"]
    later = picture(77)
    (photos / "later.png").write_bytes(later)
    assert service.ingest(new, [str(photos / "later.png")], progress=Silent()).added == ["later.png"]  # ids go on
    new.close()


def test_what_reviewers_had_asked_for_is_done_where_it_was_restored(full: Workspace, tmp_path: Path) -> None:
    backup(full, tmp_path / "backup", progress=Silent())
    to(tmp_path / "new")(tmp_path / "backup")
    new = Workspace(tmp_path / "new")
    worker = JobWorker(new, 1)
    worker.start()
    try:
        end = time.monotonic() + 240
        while any(job["state"] in ("queued", "running") for job in rows(new)["job"]):
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        worker.stop()
    with new.database.read() as session:
        assert [job.state for job in session.query(Job).order_by(Job.id)][2:] == ["done", "done"]
        assert sorted(Revisions(session).get(pair).number for pair in Pairs(session).all()) == [1, 1, 2]
    assert clean(new)
    new.close()


def test_photos_in_the_queue_wait_for_a_local_run_where_they_were_restored(full: Workspace, tmp_path: Path) -> None:
    queue = JobQueue(full)
    assert bulk.enqueue(full, queue, Recipe.load("cpu"), redo=True, size=2) == 3  # of 4, one cannot be read
    queue.close()
    with full.database.write() as session:
        first = Chunks(session).unfinished()[0]
        Chunks(session).begin(first, "somebody")
        Photos(session).begin(Photos(session).waiting(first)[0].id, first)
    backup(full, tmp_path / "backup", progress=Silent())
    to(tmp_path / "new")(tmp_path / "backup")
    new = Workspace(tmp_path / "new")
    assert clean(new)
    found = rows(new)
    assert [(c["state"], c["finished_at"] is not None) for c in found["chunk"]] == [("done", True)] * 2
    assert [(p["chunk_id"], p["tries"]) for p in found["photo"] if p["status"] == "pending"] == [(None, 0)] * 3
    assert [chunk["state"] for chunk in rows(full)["chunk"]] == ["running", "queued"]  # the old one goes on
    assert service.preannotate(new, Recipe.load("cpu"), progress=Silent()).photos == 3
    assert clean(new)
    new.close()


def test_a_backup_is_renewed_by_what_is_new(full: Workspace, photo: PhotoMaker, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    first = backup(full, folder, progress=Silent())
    service.ingest(full, [str(photo("new.png", 50))], progress=Silent())
    again = backup(full, folder, progress=Silent())
    assert (first.copied, again.copied, again.rows["photo"]) == (6, 1, 5)
    assert len(list(folder.glob("database-*.sqlite"))) == 1
    assert to(tmp_path / "new")(folder).rows["photo"] == 5


def test_a_backup_is_for_its_owner_only(full: Workspace, tmp_path: Path) -> None:
    Links.of(full)  # makes the secret
    backup(full, tmp_path / "backup", progress=Silent())
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    for name in ("hoi-annotate.toml", ".secret", MANIFEST):
        assert (tmp_path / "backup" / name).stat().st_mode & 0o777 == 0o600


def test_settings_come_back_but_not_where_the_old_workspace_was(tmp_path: Path) -> None:
    old = Workspace.create(tmp_path / "old")
    (old.root / "hoi-annotate.toml").write_text(
        f'database_url = "sqlite:///{old.root}/hoi.sqlite"\nreviewer = "cy"\n', encoding="utf-8"
    )
    backup(Workspace(old.root), tmp_path / "backup", progress=Silent())
    to(tmp_path / "new")(tmp_path / "backup")
    assert Workspace(tmp_path / "new").database_url == f"sqlite:///{tmp_path}/new/hoi.sqlite"
    assert 'reviewer = "cy"' in (tmp_path / "new" / "hoi-annotate.toml").read_text()


def test_nothing_is_written_over(full: Workspace, workspace: Workspace, photo: PhotoMaker, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup(full, folder, progress=Silent())
    with pytest.raises(BadRequest, match="is not empty"):
        to(full.root)(folder)
    other = Workspace.create(tmp_path / "other")
    service.ingest(other, [str(photo("other.png", 60))], progress=Silent())
    with pytest.raises(BadRequest, match="another workspace"):
        backup(other, folder, progress=Silent())
    with pytest.raises(BadRequest, match="no backup and not empty"):
        backup(full, tmp_path / "other", progress=Silent())
    with pytest.raises(BadRequest, match="no backup"):
        to(tmp_path / "new")(tmp_path / "other")
    assert to(tmp_path / "new")(folder).rows["photo"] == 4


def test_a_damaged_backup_is_told_from_a_whole_one(full: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup(full, folder, progress=Silent())
    blob = next(path for path in (folder / "store").rglob("*") if path.is_file())
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(BadRequest, match=f"1 of 6 blobs .* no row was written.*{blob.name}"):
        to(tmp_path / "new")(folder)
    assert not (tmp_path / "new" / ".restore-part").exists()
    done = restore(folder, tmp_path / "new", anyway=True, progress=Silent())
    assert len(done.lost) == 1
    assert [what for what, _ in check(Workspace(tmp_path / "new"), progress=Silent()).broken] == [f"blob {blob.name}"]

    assert backup(full, folder, progress=Silent()).copied == 1  # renewing mends what has lost a part
    assert blob.name in {path.name for path in stored(full)}
    assert to(tmp_path / "new1")(folder).lost == []
    (database,) = folder.glob("database-*.sqlite")
    database.write_bytes(database.read_bytes()[:-1])
    with pytest.raises(BadRequest, match="missing or damaged: use another backup"):
        to(tmp_path / "new2")(folder)


def test_what_the_workspace_has_lost_is_told_and_can_be_put_back(full: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup(full, folder, progress=Silent())
    gone, cut, *_ = stored(full)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    broken = backup(full, tmp_path / "second", progress=Silent())
    assert sorted(path.name in " ".join(broken.lost) for path in (gone, cut)) == [True, True]
    assert backup(full, folder, progress=Silent()).lost == []  # an earlier backup has them
    assert repair(folder, full, progress=Silent()) == ([gone.name, cut.name], [])
    assert clean(full)


def test_two_backups_into_one_folder_do_not_meet(
    full: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"
    backup(full, folder, progress=Silent())

    def meanwhile() -> None:
        with pytest.raises(WorkspaceError, match=f"the backup {folder} is in use by process {os.getpid()}"):
            backup(full, folder, progress=Silent())

    monkeypatch.setattr(os, "sync", meanwhile)  # before the first has written its manifest
    assert backup(full, folder, progress=Silent()).rows["photo"] == 4
    assert to(tmp_path / "new")(folder).rows["photo"] == 4


def test_a_backup_that_was_stopped_before_its_first_word_can_be_repeated(full: Workspace, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / ".lock").touch()
    assert backup(full, tmp_path / "backup", progress=Silent()).rows["photo"] == 4


def test_a_file_is_no_folder_for_a_backup(full: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match=r"cannot write the backup .*file: .*name another folder"):
        backup(full, tmp_path / "file", progress=Silent())


def test_fewer_rows_than_the_manifest_tells_of_are_no_backup(full: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup(full, folder, progress=Silent())
    manifest = json.loads((folder / MANIFEST).read_bytes())
    database = Database(f"sqlite:///{folder / manifest['database']}")
    with database.write() as session:
        session.execute(text("DELETE FROM job"))
    database.dispose()
    manifest["sha256"] = hashlib.sha256((folder / manifest["database"]).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BadRequest, match=f"has not the rows that {MANIFEST} tells of"):
        to(tmp_path / "new")(folder)
    assert backup(full, folder, progress=Silent()).rows == manifest["rows"]  # renewing mends it
    assert to(tmp_path / "new")(folder).rows == manifest["rows"]


def test_bytes_that_are_there_already_are_read_too(full: Workspace, tmp_path: Path) -> None:
    folder, new = tmp_path / "backup", Workspace.create(tmp_path / "new")
    backup(full, folder, progress=Silent())
    whole, rotten, *_ = (path.read_bytes() for path in stored(full))
    new.blobs.put(whole)
    new.blobs.put(rotten)
    path = next(path for path in stored(new) if path.read_bytes() == rotten)
    path.write_bytes(rotten[:-1] + bytes([rotten[-1] ^ 1]))
    done = to(new.root)(folder)
    assert (done.blobs, done.copied, done.lost) == (6, 5, [])
    assert clean(new)


def beside(full: Workspace, url: str | None, photo: PhotoMaker, tmp_path: Path) -> tuple[Workspace, Path]:
    """Beside a backup: an empty workspace to restore it to, and a photo that somebody takes in there meanwhile."""
    backup(full, tmp_path / "backup", progress=Silent())
    return Workspace.create(tmp_path / "new", database_url=url), photo("later.png", 77)


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_what_comes_while_bytes_are_copied_is_not_written_over(
    engine: str,
    full: Workspace,
    photo: PhotoMaker,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = database_url(engine, request)
    new, later = beside(full, url, photo, tmp_path)
    put = BlobStore.put

    def ingesting(store: BlobStore, data: bytes) -> str:
        monkeypatch.setattr(BlobStore, "put", put)
        assert service.ingest(new, [str(later)], progress=Silent()).added == ["later.png"]
        return put(store, data)

    monkeypatch.setattr(BlobStore, "put", ingesting)
    with pytest.raises(BadRequest, match=r"is not empty \(it has photo\)"):
        to(new.root, database_url=url)(tmp_path / "backup")
    assert [photo["name"] for photo in rows(new)["photo"]] == ["later.png"]
    new.close()


@pytest.mark.postgres
def test_who_writes_during_the_last_step_of_a_restore_comes_after_it(
    full: Workspace,
    photo: PhotoMaker,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = database_url("postgresql", request)
    new, later = beside(full, url, photo, tmp_path)
    copy = copying.copy_rows
    with ThreadPoolExecutor() as threads:
        ingested: list[Future[Any]] = []

        def waits() -> int | None:
            with new.database.read() as session:
                return session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        def ingesting(source: Session, target: Session) -> dict[str, int]:
            ingested.append(threads.submit(service.ingest, new, [str(later)], progress=Silent()))
            while not waits() and not ingested[0].done():
                time.sleep(0.05)
            return copy(source, target)

        monkeypatch.setattr("annotator.backup.copy_rows", ingesting)
        assert to(new.root, database_url=url)(tmp_path / "backup").rows["photo"] == 4
        assert ingested[0].result().added == ["later.png"]
    assert len(rows(new)["photo"]) == 5
    new.close()


@pytest.mark.postgres
def test_work_that_an_earlier_workspace_left_in_the_engine_is_noticed(
    full: Workspace, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = database_url("postgresql", request)
    backup(full, tmp_path / "backup", progress=Silent())
    old = Workspace.create(tmp_path / "old", database_url=url)
    fill(old, photos)
    with old.database.write() as session:
        session.execute(text("DROP SCHEMA public CASCADE"))
        session.execute(text("CREATE SCHEMA public"))
    old.close()
    with pytest.raises(
        BadRequest, match=r"is not empty \(it has the job engine's work, on PostgreSQL in the schema dbos"
    ):
        to(tmp_path / "new", database_url=url)(tmp_path / "backup")
    again = Workspace.create(tmp_path / "again", database_url=url)
    with pytest.raises(WorkspaceError, match="had a job-1 before, of a workspace whose tables are gone"):
        fill(again, photos)
    assert rows(again)["job"] == []  # and what the engine would not carry out is not queued
    with again.database.write() as session:
        for name in ("dbos", "public"):
            session.execute(text(f"DROP SCHEMA {name} CASCADE"))
        session.execute(text("CREATE SCHEMA public"))
    again.close()
    assert to(tmp_path / "new", database_url=url)(tmp_path / "backup").requeued == 2


def test_a_store_on_s3(s3: str, tmp_path: Path, photos: Path) -> None:
    team = Workspace.create(tmp_path / "team", store_url=s3)
    fill(team, photos)
    assert clean(team)
    backup(team, tmp_path / "backup", progress=Silent())
    to(tmp_path / "new", store_url=f"{s3}-again")(tmp_path / "backup")
    assert clean(Workspace(tmp_path / "new", store_url=f"{s3}-again"))


KILLED = """
import os, signal, sys
from pathlib import Path
from annotator import backup
from annotator.progress import Silent
from annotator.workspace import Workspace
from db.blobs import BlobStore
put, left = BlobStore.put, [2]
def dying(store, data):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(store, data)
BlobStore.put = dying
if sys.argv[1] == "backup":
    backup.backup(Workspace(Path(sys.argv[2])), Path(sys.argv[3]), progress=Silent())
else:
    backup.restore(Path(sys.argv[2]), Path(sys.argv[3]), progress=Silent())
"""


def killed(*arguments: object) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL


def test_an_end_before_the_last_word_is_no_backup_yet(
    full: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(os, "sync", away)
        with pytest.raises(OSError, match="power"):
            backup(full, tmp_path / "backup", progress=Silent())
    with pytest.raises(BadRequest, match="no backup"):
        to(tmp_path / "new")(tmp_path / "backup")
    assert backup(full, tmp_path / "backup", progress=Silent()).copied == 0
    assert to(tmp_path / "new")(tmp_path / "backup").copied == 6


def test_killed_in_the_middle_both_go_on_where_they_were(
    full: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "backup", tmp_path / "temporary"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    killed("backup", full.root, folder)
    with pytest.raises(BadRequest, match="no backup"):
        to(tmp_path / "new")(folder)
    done = backup(full, folder, progress=Silent())
    assert (done.blobs, done.copied) == (6, 4)
    killed("restore", folder, tmp_path / "new")
    restored = to(tmp_path / "new")(folder)
    assert (restored.blobs, restored.copied, restored.rows["photo"]) == (6, 4, 4)
    assert clean(Workspace(tmp_path / "new"))
    assert not (tmp_path / "new" / ".restore-part").exists()
    assert list(elsewhere.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from pictures import picture
from annotator import service
from annotator.progress import Silent
from annotator.workspace import Workspace
from pipeline.recipe import Recipe
workspace, photos = Workspace(Path(sys.argv[2])), Path(sys.argv[3])
for shade in range(1000, 100000):
    path = photos / f"{shade}.png"
    path.write_bytes(picture(shade))
    service.ingest(workspace, [str(path)], progress=Silent())
    service.preannotate(workspace, Recipe.load("cpu"), progress=Silent())
    print(shade, flush=True)
"""


@pytest.fixture
def writer(shared: Workspace, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that takes photos in and annotates them, until it is killed."""
    (tmp_path / "many").mkdir()
    here = Path(__file__).parent
    command = [sys.executable, "-c", WRITER, str(here), str(shared.root), str(tmp_path / "many")]
    environment = os.environ | {"PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=here.parents[1]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace that knows its own database, as other processes open it."""
    url = database_url(request.param, request)
    workspace = Workspace.create(tmp_path / "shared", database_url=url)
    if url is not None:
        (workspace.root / "hoi-annotate.toml").write_text(f'database_url = "{url}"\n', encoding="utf-8")
    yield workspace
    workspace.close()


def test_a_backup_while_somebody_writes_is_a_whole(
    shared: Workspace, writer: subprocess.Popen[str], tmp_path: Path
) -> None:
    before = 0
    for turn in range(3):
        while _revisions(shared) <= before:
            assert writer.poll() is None
            time.sleep(0.05)
        done = backup(shared, tmp_path / "backup", progress=Silent())
        assert done.lost == []
        assert done.rows["revision"] > before
        before = done.rows["revision"]
        to(tmp_path / f"new{turn}")(tmp_path / "backup")
        assert clean(Workspace(tmp_path / f"new{turn}"))
    assert writer.poll() is None


def _revisions(workspace: Workspace) -> int:
    with workspace.database.read() as session:
        return sum(Revisions(session).counts().values())


def test_on_the_command_line(full: Workspace, tmp_path: Path) -> None:
    def run(*arguments: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == code, done.output
        return done.output

    assert "6 blobs, 6 of them new" in run("backup", tmp_path / "b", "-w", full.root)
    assert "2 jobs queued anew" in run("restore", tmp_path / "b", tmp_path / "new")
    assert "is not empty" in run("restore", tmp_path / "b", tmp_path / "new", code=1)
    stored(Workspace(tmp_path / "new"))[0].unlink()
    assert "wrong: 1" in run("status", "--check", "-w", tmp_path / "new", code=1)
    assert "blobs put back: 1, lost: 0" in run("restore", tmp_path / "b", tmp_path / "new", "--repair")
    assert "every blob was read" in run("status", "--deep", "-w", tmp_path / "new")
