"""gc takes what no row names and nobody has touched for long, and nothing else, whoever writes meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from engines import fill
from pictures import picture
from typer.testing import CliRunner

from annotator.checking import check
from annotator.cli import app
from annotator.collecting import Collected, collect
from annotator.errors import BadRequest
from annotator.progress import Silent
from annotator.workspace import Workspace
from db.models import Job

DAY = timedelta(days=1)
LONG_AGO = time.time() - 3 * DAY.total_seconds()


@pytest.fixture
def full(workspace: Workspace, photo: Callable[..., Path]) -> Workspace:
    """Everything in it was put, and every job begun, long ago."""
    for name, shade in (("cup.png", 1), ("can.png", 2), ("nohand.png", 3)):
        photo(name, shade)
    fill(workspace, photo("cup.png", 1).parent)
    with workspace.database.write() as session:
        session.query(Job).update({"state": "superseded"})
    age(workspace)
    return workspace


def age(workspace: Workspace) -> None:
    for path in (workspace.root / "store").rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def gc(workspace: Workspace, delete: bool = True) -> Collected:
    return collect(workspace, older_than=DAY, delete=delete, progress=Silent())


def test_only_what_no_row_names_and_only_when_told(full: Workspace) -> None:
    old = full.blobs.put(b"nobody's")
    age(full)
    young = full.blobs.put(b"perhaps somebody's")
    looked = gc(full, delete=False)
    assert (looked.stored, looked.unnamed, looked.unnamed_bytes, looked.young, looked.deleted) == (8, 1, 8, 1, 0)
    assert old in full.blobs
    done = gc(full)
    assert (done.deleted, done.deleted_bytes) == (1, 8)
    assert old not in full.blobs
    assert young in full.blobs
    assert (gc(full).stored, gc(full).unnamed) == (7, 0)
    assert check(full, deep=True, progress=Silent()).broken == [
        (f"pair {pair}", "is reoptimising, but no job works on it") for pair in _reoptimising(full)
    ] + [(f"job {number}", "is over, but not since when") for number in (1, 2)]


def _reoptimising(workspace: Workspace) -> list[str]:
    from db.repositories import Pairs

    with workspace.database.read() as session:
        return [pair.public_id for pair in Pairs(session).all(["reoptimising"])]


def test_what_killed_writers_left_goes_too(full: Workspace) -> None:
    part = full.root / "store" / "ab" / f"{'ab' * 32}#1"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"half a blo")
    assert (gc(full).remains, part.exists()) == (0, True)
    age(full)
    assert (gc(full, delete=False).remains_bytes, part.exists()) == (10, True)
    assert (gc(full).deleted_bytes, part.exists()) == (10, False)


def test_a_part_whose_writer_has_just_put_the_blob_is_none(full: Workspace) -> None:
    part = full.root / "store" / "ab" / f"{'ab' * 32}#1"
    part.parent.mkdir(exist_ok=True)
    part.symlink_to("gone")  # listed, and not there any more
    assert gc(full).remains == 0


def test_what_a_job_in_work_may_have_put_stays(full: Workspace) -> None:
    full.blobs.put(b"computed, not yet published")
    age(full)
    with full.database.write() as session:
        job = session.query(Job).first()
        assert job is not None
        job.state, job.created_at = "running", job.created_at - 4 * DAY
    assert (gc(full).young, gc(full).deleted) == (1, 0)


def test_what_is_put_again_between_the_look_and_the_deletion_stays(
    full: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = full.blobs.put(b"nobody's")
    age(full)
    listed = list(full.blobs.list())
    monkeypatch.setattr(full.blobs, "list", lambda: iter(listed))
    full.blobs.put(b"nobody's")  # somebody is about to name it
    assert gc(full).deleted == 0
    assert digest in full.blobs


def test_another_workspaces_store_is_left_alone(full: Workspace, tmp_path: Path) -> None:
    other = Workspace.create(tmp_path / "other", store_url=full.store_url)
    with pytest.raises(BadRequest, match="names none of the 6 blobs"):
        gc(other)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_store_on_s3(s3: str, tmp_path: Path, photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    team = Workspace.create(tmp_path / "team", store_url=s3)
    photo("can.png", 2)
    photo("nohand.png", 3)
    fill(team, photo("cup.png", 1).parent)
    with team.database.write() as session:
        session.query(Job).update({"state": "superseded"})
    digest = team.blobs.put(b"nobody's")
    time.sleep(1.1)  # S3 counts seconds
    with monkeypatch.context() as patch:
        patch.setattr("db.blobs.obstore.delete", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collect(team, older_than=timedelta(0), delete=True, progress=Silent())
    time.sleep(1.1)
    done = collect(team, older_than=timedelta(0), delete=True, progress=Silent())
    assert (done.unnamed, done.remains, done.deleted) == (1, 1, 1)  # the mark, without which
    assert collect(team, older_than=timedelta(0), delete=True, progress=Silent()).deleted == 1
    assert digest not in team.blobs
    assert list(team.blobs.remains()) == []
    assert check(team, progress=Silent()).blobs["missing"] == 0


WRITER = """
import sys
from pathlib import Path
from annotator import service
from annotator.progress import Silent
from annotator.workspace import Workspace
print("go", flush=True)
done = service.ingest(Workspace(Path(sys.argv[1])), [sys.argv[2]], progress=Silent())
print(len(done.added), flush=True)
"""


def test_nothing_is_lost_while_a_writer_names_what_nobody_named_before(full: Workspace, tmp_path: Path) -> None:
    photos = tmp_path / "again"
    photos.mkdir()
    for shade in range(500, 560):
        data = picture(shade)
        (photos / f"{shade}.png").write_bytes(data)
        full.blobs.put(data)  # as a writer does that dies before it writes the row
    for number in range(20):
        full.blobs.put(b"nobody's %d" % number)
    age(full)
    command = [sys.executable, "-c", WRITER, str(full.root), str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        deleted = 0
        while writer.poll() is None:
            deleted += gc(full).deleted
        assert writer.stdout.read().strip() == "60"
    deleted += gc(full).deleted
    found = check(full, deep=True, progress=Silent())
    assert (found.blobs["named"], found.blobs["missing"], found.blobs["damaged"]) == (66, 0, 0)
    assert deleted >= 20


def test_on_the_command_line(full: Workspace) -> None:
    full.blobs.put(b"nobody's")
    age(full)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["gc", "-w", str(full.root), *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    assert "1 that no row names, 8 B" in run()
    assert "nothing was deleted" in run()
    assert '"deleted": 1' in run("--delete", "--json")
    assert CliRunner().invoke(app, ["gc", "-w", str(full.root), "--older-than", "1"]).exit_code == 2
