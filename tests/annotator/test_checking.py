"""status --check names whatever is in no state or in two, and whatever the store has lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import database_url, fill
from sqlalchemy import text
from typer.testing import CliRunner

from annotator.checking import check
from annotator.cli import app
from annotator.progress import Silent
from annotator.workspace import Workspace

WRONG = {  # what is done to the rows, and what is said of it
    "UPDATE photo SET status = 'pending', reason = NULL WHERE name = 'broken.png'": "photo broken.png: is to be "
    "annotated or was, but could never be read",
    "UPDATE photo SET reason = NULL WHERE name = 'nohand.png'": "photo nohand.png: failed without a reason",
    "UPDATE photo SET status = 'done', notes = '[]' WHERE name = 'nohand.png'": "photo nohand.png: is done without a "
    "pair or a reason",
    "UPDATE photo SET status = 'pending', chunk_id = 7 WHERE name = 'cup.png'": "photo cup.png: waits in a chunk that "
    "is over",
    "UPDATE pair SET revision_number = 2 WHERE id = 1": "pair PAIR1: does not count its revisions right",
    "DELETE FROM job": "pair PAIR2: is reoptimising, but no job works on it",
    "UPDATE pair SET status = 'failed' WHERE id = 1": "pair PAIR1: failed without a reason",
    "UPDATE pair SET status = 'rejected' WHERE id = 1": "pair PAIR1: is rejected, but nobody said so",
    "UPDATE pair SET status = 'accepted' WHERE id = 2": "pair PAIR2: is accepted, but nobody said so",
    "UPDATE pair SET status = 'preannotated' WHERE id = 1": "pair PAIR1: waits for a reviewer, but one has accepted or "
    "rejected it",
    "DELETE FROM revision_artifact WHERE revision_id = 1": "pair PAIR1 revision 1: has a revision without its "
    "reconstruction",
    "UPDATE job SET state = 'running' WHERE id = 1": "job 1: is running, but not since when",
    "UPDATE job SET state = 'superseded' WHERE id = 2": "job 2: is over, but not since when",
}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Workspace, list[str]]]:
    from pictures import picture

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOI_PIPELINE", "fake_pipeline")
        patch.setenv("HOI_JOBS", "0")
        folder = tmp_path_factory.mktemp("checking")
        (folder / "photos").mkdir()
        for shade, name in enumerate(("cup.png", "can.png", "nohand.png")):
            (folder / "photos" / name).write_bytes(picture(shade))
        workspace = Workspace.create(folder / "workspace", database_url=database_url(request.param, request))
        pairs = fill(workspace, folder / "photos")
    yield workspace, pairs
    workspace.close()


def test_a_workspace_in_which_all_is_well(shared: tuple[Workspace, list[str]]) -> None:
    found = check(shared[0], deep=True, progress=Silent())
    assert found.broken == []
    assert found.photos == {"done": 2, "failed": 2}
    assert found.pairs == {"accepted": 1, "reoptimising": 1}
    assert (found.revisions, found.jobs) == (2, {"queued": 2})
    assert (found.blobs["named"], found.blobs["stored"]) == (6, 6)


@pytest.mark.parametrize("change", WRONG)
def test_what_is_wrong_is_named(
    shared: tuple[Workspace, list[str]], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, pairs = shared
    with workspace.database.write() as session:
        session.execute(text(change))
        session.flush()
        with monkeypatch.context() as patch:  # the check sees the change, which is taken back afterwards
            patch.setattr(workspace.database, "snapshot", lambda: _Same(session))
            found = check(workspace, progress=Silent())
        session.rollback()
    says = [f"{what}: {wrong}" for what, wrong in found.broken]
    assert WRONG[change].replace("PAIR1", pairs[0]).replace("PAIR2", pairs[1]) in says
    assert check(workspace, progress=Silent()).broken == []


class _Same:
    def __init__(self, session: Any) -> None:
        self._session = session

    def __enter__(self) -> Any:
        return self._session

    def __exit__(self, *_: object) -> None:
        pass


def test_lost_and_damaged_bytes_are_named(workspace: Workspace, photo: Callable[..., Path]) -> None:
    photo("can.png", 2)
    photo("nohand.png", 3)
    fill(workspace, photo("cup.png", 1).parent)
    paths = sorted(path for path in (workspace.root / "store").rglob("*") if path.is_file())
    largest = max(paths, key=lambda path: path.stat().st_size)  # a reconstruction, whose length rows know
    lost = next(path for path in paths if path != largest)
    changed = next(path for path in paths if path not in (largest, lost))
    lost.unlink()
    largest.write_bytes(largest.read_bytes()[:100])
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")

    def run(*arguments: str) -> list[dict[str, str]]:
        done = CliRunner().invoke(app, ["status", "--json", *arguments, "-w", str(workspace.root)])
        assert done.exit_code == 1
        found = json.loads(done.stdout)["broken"]
        assert isinstance(found, list)
        return found

    missing = {"what": f"blob {lost.name}", "wrong": "is not in the store"}
    cut = {"what": f"blob {largest.name}", "wrong": "is damaged"}
    assert run("--check") == [missing, cut]
    assert run("--deep") == [missing, cut, {"what": f"blob {changed.name}", "wrong": "is damaged"}]
