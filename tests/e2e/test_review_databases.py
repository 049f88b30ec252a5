"""The review loop on SQLite and on PostgreSQL with a real Label Studio: by its commands, and by several processes or
machines that do the same at the same moment."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from review_bench import Bench, Person, block, choice, hand_box, mask, until
from sqlalchemy import text
from typer.testing import CliRunner

from annotator.cli import app
from annotator.progress import Silent
from annotator.studio import projects, reconcile, tasks
from db.session import Database

if TYPE_CHECKING:
    from studio_server import Studio

pytest_plugins = ["studio_server", "review_fixtures"]
pytestmark = [pytest.mark.studio, pytest.mark.slow, pytest.mark.usefixtures("fake_pipeline")]

AT_ONCE = 4


def empty(url: str) -> str:
    """The same database with nothing in it."""
    database = Database(url)
    with database.write() as session:
        session.execute(text("DROP SCHEMA public CASCADE"))
        session.execute(text("DROP SCHEMA IF EXISTS dbos CASCADE"))
        session.execute(text("CREATE SCHEMA public"))
    database.dispose()
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def bench(
    request: pytest.FixtureRequest,
    studio: Studio,
    new_bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    """A workspace on each database; the server's clock is not that of Label Studio."""
    if request.param == "sqlite":
        return new_bench(studio.server.credentials)
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    return new_bench(studio.server.credentials, database_url=empty(request.getfixturevalue("postgres_server")))


def command(bench: Bench, *words: str) -> Any:
    """The JSON of a command that must succeed."""
    done = CliRunner().invoke(app, [*words, "--json", "-w", str(bench.workspace.root)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_push_review_sync_and_fix(bench: Bench, ann: Person, bo: Person) -> None:
    accepted, rejected, fixed, painted, unclear = bench.photos(5)
    bench.photos(1, "nohand")
    pushed = command(bench, "studio", "push")
    assert len(pushed["added"]) == 6
    assert command(bench, "studio", "push")["added"] == []
    (photo,) = (key for key in pushed["added"] if key.startswith("photo"))

    ann.submit(bench.task(f"{accepted}@1"), "accept")
    bo.submit(bench.task(f"{rejected}@1"), "reject")
    ann.submit(bench.task(f"{unclear}@1"), None)
    (first,) = command(bench, "studio", "sync").values()
    assert (first["reviews"], len(first["unusable"])) == (2, 1)
    ann.submit(bench.task(f"{fixed}@1"), "fix", choice("touching", "thumb", "index"))
    bo.submit(bench.task(f"{painted}@1"), "fix", mask("object", block(slice(50, 80))))
    ann.submit(bench.task(photo), "fix", hand_box(5, 10, 40, 80), mask("object", block(slice(60, 90))))
    (second,) = command(bench, "studio", "sync").values()
    assert (second["reviews"], second["unusable"]) == (3, [])
    assert bench.jobs() == ["queued"] * 3

    with bench.worker():
        until(lambda: bench.jobs() == ["done"] * 3, "the jobs were not carried out")
    (new,) = set(bench.pairs()) - {accepted, rejected, fixed, painted, unclear}
    again = {f"{fixed}@2", f"{painted}@2", f"{new}@1", f"{unclear}@1.2"}
    assert set(command(bench, "studio", "push")["added"]) == again
    ann.submit(bench.task(f"{painted}@2"), "accept")
    command(bench, "studio", "sync")
    assert {pair: bench.status(pair) for pair in bench.pairs()} == {
        accepted: ("accepted", 1),
        rejected: ("rejected", 1),
        fixed: ("in_review", 2),
        painted: ("accepted", 2),
        new: ("in_review", 1),
        unclear: ("in_review", 1),
    }
    found = command(bench, "studio", "status")
    assert found["reviews"] == {"accept": 2, "fix": 2, "reject": 1}
    assert {name: counts["last_hour"] for name, counts in found["reviewers"].items()} == {ann.email: 3, bo.email: 2}
    assert found["jobs"] == {"done": 3}
    assert found["unusable"] == 1
    assert found["projects"][0]["tasks"] == {"closed": 7, "open": 3}


def test_a_deleted_project_and_serve(bench: Bench, ann: Person) -> None:
    done, waiting = bench.photos(2)
    bench.push()
    with bench.serving(), bench.worker():
        ann.submit(bench.task(f"{done}@1"), "fix", choice("touching", "thumb", "index"))
        until(lambda: bench.said == [f"back to the reviewers: {done}@2"], "the revision did not come back")
        assert bench.status(done) == ("in_review", 2)
        bench.client.projects.delete(id=bench.project().external_id)
        until(lambda: not bench.states(), "the project is still known")
        assert set(bench.push()) == {f"{done}@2", f"{waiting}@1"}
        ann.submit(bench.task(f"{done}@2"), "accept")
        until(lambda: bench.status(done) == ("accepted", 2), "the review was not read")
        assert bench.said == [f"back to the reviewers: {done}@2"]


def test_text_that_json_can_say_and_postgresql_cannot_keep(bench: Bench, ann: Person) -> None:
    (pair,) = bench.photos(1)
    (key,) = bench.push()
    strange = {"image": "http://127.0.0.1:1/x.jpg", "viewer_html": "", "figures_html": "", "turntable_html": ""}
    bench.client.tasks.create(project=bench.project().external_id, data=strange | {"key": "a\0b"})
    comment = {"id": "c", "from_name": "comment", "to_name": "image", "type": "textarea", "origin": "manual"}
    ann.submit(bench.task(key), "accept", comment | {"value": {"text": ["too\0 dark!"]}})
    assert bench.sync().reviews == 1
    assert command(bench, "show", pair)["history"][0]["reviews"][0]["comment"] == "too dark!"
    assert not bench.sync().anything


# at the same moment


@pytest.fixture
def machines(bench: Bench, studio: Studio, new_bench: Callable[..., Bench]) -> Iterator[list[Bench]]:
    """Four processes of one workspace; with PostgreSQL, of four workspaces that share database and store."""
    if bench.workspace.database.is_sqlite:
        yield [bench] * AT_ONCE
        return
    shared = {"database_url": bench.workspace.database_url, "store_url": bench.workspace.store_url}
    yield [bench, *(new_bench(studio.server.credentials, **shared) for _ in range(AT_ONCE - 1))]


def at_once(machines: list[Bench], do: Callable[[Bench], Any]) -> list[Any]:
    together = threading.Barrier(len(machines))

    def begin(machine: Bench) -> Any:
        together.wait()
        return do(machine)

    with ThreadPoolExecutor(len(machines)) as pool:
        return list(pool.map(begin, machines))


def test_several_that_push_for_the_first_time_make_one_project(bench: Bench, machines: list[Bench]) -> None:
    bench.photos(30)
    title = f"together {bench.port}"

    def push(machine: Bench) -> list[str]:
        project = projects.ensure(machine.workspace, machine.connection, title)
        return tasks.push(machine.workspace, machine.connection, project, progress=Silent()).added

    added = at_once(machines, push)
    assert sorted(len(keys) for keys in added) == [0, 0, 0, 30]
    (project,) = [found for found in bench.client.projects.list() if found.title == title]
    assert project.task_number == 30
    assert len(bench.there()) == 30  # no key is there twice
    assert set(bench.states().values()) == {"open"}


def test_several_that_read_the_same_reviews_count_them_once(bench: Bench, machines: list[Bench], ann: Person) -> None:
    accepted, *fixed = bench.photos(6)
    bench.push()
    ann.submit(bench.task(f"{accepted}@1"), "accept")
    for pair in fixed:
        ann.submit(bench.task(f"{pair}@1"), "fix", choice("touching", "thumb", "index"))
    project = bench.project()

    def sync(machine: Bench) -> int:
        return reconcile.sync(machine.workspace, machine.connection, machine.queue, project).reviews

    assert sum(at_once(machines, sync)) == 6
    assert sorted(bench.reviews()) == [(1, "accept"), *[(1, "fix")] * 5]
    assert bench.jobs() == ["queued"] * 5
