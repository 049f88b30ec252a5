"""The review loop under faults, with a real Label Studio: no review is lost, none counts twice, and what went wrong is
said once, in words that give nothing away."""

from __future__ import annotations

import http.server
import io
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image
from review_bench import Bench, Person, block, choice, hand_box, mask, sign_up, until
from typer.testing import CliRunner

from annotator.cli import app
from annotator.jobs import JobQueue
from annotator.progress import Silent
from annotator.studio import credentials, projects, reconcile, tasks
from annotator.studio.connection import open_connection
from annotator.studio.credentials import Credentials
from annotator.studio.errors import Unreachable
from annotator.studio.loop import ReviewLoop
from annotator.studio.projects import HOOK_PATH, SECRET_HEADER
from annotator.studio.status import review_status
from db.repositories import Pairs, Reviews, Revisions

if TYPE_CHECKING:
    from studio_server import Studio

pytest_plugins = ["studio_server", "review_fixtures"]
pytestmark = [pytest.mark.studio, pytest.mark.slow, pytest.mark.usefixtures("fake_pipeline")]

Answer = tuple[int, bytes]


# calls that are lost, doubled, late


def test_a_review_made_while_nobody_listened_is_found_by_sync(bench: Bench, ann: Person) -> None:
    (pair,) = bench.photos(1)
    (key,) = bench.push()
    projects.hook(bench.workspace, bench.connection, bench.project(), f"http://127.0.0.1:{bench.port}")
    ann.submit(bench.task(key), "accept")
    assert bench.events() == []
    assert bench.sync().reviews == 1
    assert not bench.sync().anything
    assert (bench.reviews(pair), bench.reviewers()) == ([(1, "accept")], [ann.email])
    assert bench.status(pair) == ("accepted", 1)


@contextmanager
def recording(port: int) -> Iterator[list[tuple[bytes, str]]]:
    """Somebody in our place who only writes down: bodies and the secret that came with them."""
    posted: list[tuple[bytes, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.rfile.read(int(self.headers["Content-Length"])), self.headers[SECRET_HEADER]))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield posted
        server.shutdown()


def test_calls_that_come_twice_and_in_the_wrong_order_are_one_review(bench: Bench, ann: Person) -> None:
    accepted, fixed = bench.photos(2)
    bench.push()
    with bench.loop(every_s=3600, begins=False) as loop:
        with bench.answering(loop):
            loop.start()
            project = bench.project().external_id
            until(lambda: bench.client.webhooks.list(project=project), "no webhook")
            until(lambda: bench.client.ml.list(project=project), "no prompts")
            until(lambda: len(bench.client.webhooks.list(project=project)) == 1, "a webhook without our secret")
        with recording(bench.port) as posted:
            first = ann.submit(bench.task(f"{accepted}@1"), "accept")
            found = ann.client.annotations.get(id=first)
            ann.client.annotations.update(id=first, result=found.result)  # the same again
            ann.submit(bench.task(f"{fixed}@1"), "fix", choice("touching", "thumb", "index"))
            until(lambda: len(posted) == 3, "the calls did not come")
        assert bench.reviews() == []
        with bench.answering(loop) as call:
            assert call(HOOK_PATH, "POST", posted[0][0], X_Hoi_Secret="guessed").status == 401
            for body, secret in [*posted, *posted][::-1]:
                assert call(HOOK_PATH, "POST", body, X_Hoi_Secret=secret).status == 202
            until(lambda: len(bench.reviews()) == 2 and not bench.events(), "the calls led to nothing")
    assert not bench.sync().anything
    assert (bench.reviews(accepted), bench.reviews(fixed)) == ([(1, "accept")], [(1, "fix")])
    assert bench.jobs() == ["queued"]


def test_without_being_reachable_the_loop_still_reads_reviews(bench: Bench, ann: Person) -> None:
    (pair,) = bench.photos(1)
    (key,) = bench.push()
    with bench.loop():
        until(lambda: bench.said, "it does not say that it cannot be reached")
        ann.submit(bench.task(key), "reject")
        until(lambda: bench.reviews(pair), "the review was not read")
        ann.submit(bench.task(key), "accept")
        until(lambda: len(bench.reviews(pair)) == 2, "the second review was not read")
    (line,) = bench.said
    assert f"cannot reach us at http://127.0.0.1:{bench.port}:" in line
    assert "\n" not in line


SERVE = """
import sys, time
from pathlib import Path
from annotator import service
from annotator.studio import reconcile
from annotator.web import serving
from annotator.workspace import Workspace

def stuck(*_args, **_more):
    print("stuck", flush=True)
    time.sleep(600)

if sys.argv[2] == "before the job":
    service.submit_fix = stuck
else:
    reconcile._Reading._remember = stuck
opened = Workspace(Path(sys.argv[1]))
serving.serve(opened, serving.listen("127.0.0.1", opened.settings.port), print, lambda: print("ready", flush=True))
"""


@pytest.mark.parametrize("when", ["before the job", "after the job"])
def test_serve_killed_in_the_middle_of_a_review_goes_on_at_the_next_start(
    bench: Bench, ann: Person, tmp_path: Path, when: str
) -> None:
    (pair,) = bench.photos(1)
    (key,) = bench.push()
    (tmp_path / "serve.py").write_text(SERVE)
    root = str(bench.workspace.root)
    with subprocess.Popen([sys.executable, tmp_path / "serve.py", root, when], stdout=subprocess.PIPE) as first:
        project = bench.project().external_id
        until(lambda: bench.client.webhooks.list(project=project), "no webhook")
        ann.submit(bench.task(key), "fix", choice("touching", "thumb", "index"))
        assert first.stdout is not None
        while b"stuck" not in first.stdout.readline():
            assert first.poll() is None
        until(bench.events, "the call was not kept")
        first.send_signal(signal.SIGKILL)
    begun = when == "after the job"
    assert (len(bench.reviews(pair)), bench.jobs()) == ((1, ["queued"]) if begun else (0, []))
    assert bench.events()

    command = [sys.executable, "-m", "annotator", "serve", "-w", root]
    with (
        bench.printed.open("w") as printed,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=printed) as second,
    ):
        until(lambda: not bench.events(), "the event was not looked at")
        second.send_signal(signal.SIGINT)
        second.wait(240)
    assert (bench.reviews(pair), bench.jobs()) == ([(1, "fix")], ["queued"])
    assert bench.states() == {key: "closed"}
    with bench.worker():
        until(lambda: bench.jobs() == ["done"], "the job was not carried out")
    assert bench.status(pair) == ("preannotated", 2)
    assert not bench.sync().anything


# a server that goes, a token that is refused, a database that is busy


def test_label_studio_stopped_and_started_again(
    new_studio: Callable[[], Studio], new_bench: Callable[[Credentials], Bench]
) -> None:
    mine = new_studio()
    owner = Person(mine.url, mine.user, mine.token)
    bench = new_bench(mine.server.credentials)
    first, second = bench.photos(2)
    bench.push()
    with bench.serving(every_s=0.3):
        owner.submit(bench.task(f"{first}@1"), "accept")
        until(lambda: bench.reviews(first), "the first review was not read")
        mine.server.stop()
        until(lambda: bench.said, "it does not say that Label Studio is gone")
        until_looked_again(bench)
        mine.server.start()
        owner.submit(bench.task(f"{second}@1"), "accept")
        until(lambda: bench.reviews(second), "it did not go on")
        until(lambda: len(bench.said) > 1, "it does not say that all is well")
    assert bench.said == [
        f"review loop: the Label Studio at {mine.url} does not answer: is it running?; trying again",
        "review loop: all is well again",
    ]
    assert len(bench.reviews()) == 2


def until_looked_again(bench: Bench, times: int = 3) -> None:
    """Until the loop has tried a few times more."""
    tried = []
    real = projects.exists

    def exists(*args: Any) -> bool:
        tried.append(1)
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "exists", exists)
        until(lambda: len(tried) >= times, "the loop does not try again")


def test_a_revoked_token_is_one_clear_line_until_another_is_given(
    studio: Studio, ann: Person, new_bench: Callable[[Credentials], Bench]
) -> None:
    tool = sign_up(studio, f"tool-{random.randrange(10**9)}@example.org")
    bench = new_bench(Credentials(studio.url, tool.token, tool.email))
    (pair,) = bench.photos(1)
    (key,) = bench.push()
    task = bench.task(key)
    with bench.serving(every_s=0.3):
        until(lambda: bench.client.webhooks.list(project=bench.project().external_id), "no webhook")
        fresh = tool.client.users.reset_token().token
        until(lambda: bench.said, "it does not say that the token is refused")
        ann.submit(task, "accept")
        until_looked_again(bench)
        said = CliRunner().invoke(
            app,
            ["studio", "connect", "--url", studio.url, "-w", str(bench.workspace.root)],
            env={"HOI_STUDIO_TOKEN": fresh},
        )
        assert (said.exit_code, said.stdout) == (0, f"connected to {studio.url} as {tool.email}\n")
        until(lambda: bench.reviews(pair), "it did not go on")
        until(lambda: len(bench.said) > 1, "it does not say that all is well")
    refused = "refuses our token: give it a valid one with 'hoi-annotate studio connect'"
    assert bench.said == [
        f"review loop: the Label Studio at {studio.url} {refused}; trying again",
        "review loop: all is well again",
    ]
    assert tool.token not in "".join(bench.said)


def test_the_loop_outlives_a_start_on_a_busy_database(
    bench: Bench, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pair,) = bench.photos(1)
    (key,) = bench.push()
    ann.submit(bench.task(key), "accept")
    real, tried = JobQueue, []

    def busy(*args: Any) -> JobQueue:
        tried.append(1)
        if len(tried) == 1:
            raise OSError("the engine's tables are being made by another process")
        return real(*args)

    monkeypatch.setattr("annotator.studio.loop.JobQueue", busy)
    with bench.serving():
        until(lambda: bench.reviews(pair), "the loop is dead")
    assert "tables are being made" in bench.said[0]


# what people do to projects, tasks and annotations


def test_a_project_deleted_by_hand_is_forgotten_and_its_pairs_wait_again(bench: Bench, ann: Person) -> None:
    done, fixed, waiting = bench.photos(3)
    bench.push()
    old = bench.project()
    with bench.serving():
        ann.submit(bench.task(f"{done}@1"), "accept")
        ann.submit(bench.task(f"{fixed}@1"), "fix", choice("touching", "thumb", "index"))
        until(lambda: len(bench.reviews()) == 2, "the reviews were not read")
        until(lambda: bench.client.ml.list(project=old.external_id), "no prompts")
        bench.client.projects.delete(id=old.external_id)
        until(lambda: not bench.states(), "the project is still known")
        with bench.worker():
            until(lambda: bench.jobs() == ["done"], "the job was not carried out")
        assert [bench.status(pair) for pair in (done, fixed, waiting)] == [
            ("accepted", 1),
            ("preannotated", 2),
            ("preannotated", 1),
        ]
        new = bench.project()
        assert new.external_id != old.external_id
        until(lambda: bench.client.webhooks.list(project=new.external_id), "no webhook")
        assert set(bench.push()) == {f"{fixed}@2", f"{waiting}@1"}
        assert bench.there().keys() == {f"{fixed}@2", f"{waiting}@1"}
        ann.submit(bench.task(f"{waiting}@1"), "accept")
        until(lambda: bench.status(waiting) == ("accepted", 1), "the review was not read")
    assert bench.said == []


def test_a_task_deleted_by_hand_waits_until_somebody_pushes(bench: Bench, ann: Person) -> None:
    kept, deleted, done = bench.photos(3)
    bench.push()
    ann.submit(bench.task(f"{done}@1"), "accept")
    bench.sync()
    project, numbers = bench.project(), bench.there()
    strange = {"image": "http://127.0.0.1:1/x.jpg", "viewer_html": "", "figures_html": "", "turntable_html": ""}
    for _ in range(2):  # somebody's own tasks: as many as ours that go
        bench.client.tasks.create(project=project.external_id, data=strange | {"key": None})
    for pair in (deleted, done):
        bench.client.tasks.delete(id=str(numbers[f"{pair}@1"]))
    bench.client.tasks.create(project=project.external_id, data=strange | {"key": None})
    assert bench.sync().gone == 2
    assert not bench.sync().anything
    assert bench.states() == {f"{kept}@1": "open", f"{deleted}@1": "gone", f"{done}@1": "gone"}
    assert [bench.status(pair) for pair in (kept, deleted, done)] == [
        ("in_review", 1),
        ("preannotated", 1),
        ("accepted", 1),
    ]
    assert bench.push(only_returning=True) == []
    assert bench.push() == [f"{deleted}@1.2"]


def test_an_annotation_deleted_and_made_again(bench: Bench, ann: Person, bo: Person) -> None:
    (pair,) = bench.photos(1)
    (key,) = bench.push()
    task = bench.task(key)
    first = ann.submit(task, "accept")
    assert bench.sync().reviews == 1
    ann.client.annotations.delete(id=first)
    assert bench.sync().withdrawn == 1
    assert (bench.status(pair), bench.states()) == (("in_review", 1), {key: "open"})
    assert not bench.sync().anything
    assert bench.push() == []
    second = ann.submit(task, "accept")
    assert bench.sync().reviews == 1
    assert bench.status(pair) == ("accepted", 1)
    ann.client.annotations.delete(id=second)
    assert bench.sync().withdrawn == 1
    bo.submit(task, "reject")
    assert bench.sync().reviews == 1
    assert bench.status(pair) == ("rejected", 1)
    assert bench.reviews() == [(1, "accept"), (1, "accept"), (1, "reject")]  # what was said stays


def test_skipping_and_drafts_are_no_reviews(bench: Bench, ann: Person) -> None:
    skipped, drafted = bench.photos(2)
    bench.push()
    ann.submit(bench.task(f"{skipped}@1"), "accept", was_cancelled=True)
    ann.draft(bench.task(f"{drafted}@1"), "accept")
    done = bench.sync()
    assert (done.skipped, done.reviews, done.invalid) == (1, 0, [])
    assert not bench.sync().anything
    assert bench.reviews() == []
    assert {bench.status(skipped), bench.status(drafted)} == {("in_review", 1)}
    assert bench.push() == []
    ann.submit(bench.task(f"{drafted}@1"), "accept")
    assert bench.sync().reviews == 1
    assert bench.status(drafted) == ("accepted", 1)


def test_what_cannot_be_used_comes_back_with_a_notice(bench: Bench, ann: Person) -> None:
    undecided, unchanged = bench.photos(2)
    bench.push()
    ann.submit(bench.task(f"{undecided}@1"), None)
    ann.submit(bench.task(f"{unchanged}@1"), "fix")
    with bench.serving():
        until(lambda: len(bench.there()) == 4, "they did not come back")
        until(lambda: len(bench.said) == 4, "it does not say so")
    assert (bench.reviews(), bench.jobs()) == ([], [])
    assert "no verdict was chosen" in bench.data(f"{undecided}@1.2")["figures_html"]
    assert "nothing was changed" in bench.data(f"{unchanged}@1.2")["figures_html"]
    assert bench.states()[f"{undecided}@1"] == "closed"
    assert any(f"{undecided}@1: no verdict was chosen" in line for line in bench.said)
    ann.submit(bench.task(f"{undecided}@1.2"), "accept")
    ann.submit(bench.task(f"{unchanged}@1.2"), "fix", choice("touching", "thumb", "index"))
    assert bench.sync().reviews == 2
    assert (bench.status(undecided), bench.status(unchanged)) == (("accepted", 1), ("reoptimising", 1))
    assert review_status(bench.workspace)["unusable"] == 2


def test_two_reviewers_on_one_revision(bench: Bench, ann: Person, bo: Person) -> None:
    agreed, argued = bench.photos(2)
    bench.push()
    for person, verdict in ((ann, "reject"), (bo, "accept")):
        person.submit(bench.task(f"{agreed}@1"), "accept")
        person.submit(bench.task(f"{argued}@1"), verdict)
    assert bench.sync().reviews == 4
    found = review_status(bench.workspace)
    assert found["agreement"] == {"revisions": 2, "same": 1, "share": 0.5}
    assert found["reviewers"] == {person.email: {"all": 2, "last_hour": 2} for person in (ann, bo)}
    assert (bench.status(agreed), bench.status(argued)) == (("accepted", 1), ("accepted", 1))  # the last one counts


def test_a_verdict_on_an_old_revision_changes_nothing(bench: Bench, ann: Person, bo: Person) -> None:
    (pair,) = bench.photos(1)
    (old,) = bench.push()
    with bench.serving(), bench.worker():
        ann.submit(bench.task(old), "fix", choice("touching", "thumb", "index"))
        until(lambda: len(bench.there()) == 2, "the new revision did not come back")
        until(lambda: bench.status(pair) == ("in_review", 2), "the new revision is not shown")
        bo.submit(bench.task(old), "accept")
        until(lambda: len(bench.reviews(pair)) == 2, "the late verdict was not read")
    assert bench.reviews(pair) == [(1, "fix"), (1, "accept")]
    assert bench.status(pair) == ("in_review", 2)
    assert bench.data(f"{pair}@2")["touching"] == ["index", "thumb"]
    new = bench.client.tasks.get(id=bench.task(f"{pair}@2"))
    assert new.meta == {"parent_task": bench.task(old)}
    assert bench.jobs() == ["done"]


def test_task_data_edited_by_hand_reviews_no_other_pair(bench: Bench, ann: Person) -> None:
    mine, other = bench.photos(2)
    bench.push()
    task, data = bench.task(f"{mine}@1"), bench.data(f"{mine}@1")
    bench.client.tasks.update(id=str(task), data=data | {"pair_id": other, "revision": 99})
    ann.submit(task, "accept")
    assert bench.sync().reviews == 1
    assert (bench.reviews(mine), bench.reviews(other)) == ([(1, "accept")], [])


def test_a_photo_that_was_rejected_stays_away(bench: Bench, ann: Person) -> None:
    """Also from the next project, when somebody deletes the one it was rejected in, or its task."""
    bench.photos(3, "nohand")
    rejected, lost, waiting = bench.push()
    for key in (rejected, lost):
        ann.submit(bench.task(key), "reject")
    assert bench.sync().reviews == 2
    assert bench.push() == []
    bench.client.tasks.delete(id=str(bench.task(lost)))
    assert bench.sync().gone == 1
    assert bench.push() == []
    bench.client.projects.delete(id=bench.project().external_id)
    assert bench.push() == [waiting]
    assert bench.there().keys() == {waiting}
    bench.client.projects.delete(id=bench.project().external_id)
    assert bench.push("another one") == [waiting]


def test_a_photo_comes_back_when_its_rejection_was_taken_back(bench: Bench, ann: Person, bo: Person) -> None:
    bench.photos(2, "nohand")
    undone, argued = bench.push()
    mine = ann.submit(bench.task(undone), "reject")
    ann.submit(bench.task(argued), "reject")
    his = bo.submit(bench.task(argued), "reject")
    assert bench.sync().reviews == 3
    ann.client.annotations.delete(id=mine)
    bo.client.annotations.delete(id=his)
    assert bench.sync().withdrawn == 2
    assert bench.states() == {undone: "open", argued: "closed"}
    assert bench.push() == []  # it is still there
    bench.client.projects.delete(id=bench.project().external_id)
    assert bench.push() == [undone]


def test_numbers_of_tasks_that_are_used_again(bench: Bench, ann: Person) -> None:
    pairs = bench.photos(3)
    bench.push()
    before = bench.there()
    for task in before.values():
        ann.submit(task, "accept")
    bench.sync()
    for pair in pairs:  # accepted once; a person wants to see them again
        with bench.workspace.database.write() as session:
            Pairs(session).find(pair).status = "preannotated"
    bench.client.tasks.delete_all_tasks(id=bench.project().external_id)
    assert bench.sync().gone == 3
    assert set(bench.push()) == {f"{pair}@1.2" for pair in pairs}
    after = bench.there()
    assert not bench.sync().anything
    assert {bench.status(pair) for pair in pairs} == {("in_review", 1)}
    ann.submit(after[f"{pairs[0]}@1.2"], "reject")
    assert bench.sync().reviews == 1
    assert [bench.status(pair)[0] for pair in pairs] == ["rejected", "in_review", "in_review"]


# pushing


def test_pushing_twice_adds_nothing(bench: Bench) -> None:
    bench.photos(3)
    bench.photos(1, "nohand")
    assert len(bench.push()) == 4
    assert bench.push() == []
    (more,) = bench.photos(1)
    assert bench.push() == [f"{more}@1"]
    assert bench.push("another project") == []
    assert len(bench.states()) == 5


class Between(http.server.BaseHTTPRequestHandler):
    """On the way to Label Studio: hands on what is asked and answered, and now and then loses some of it."""

    target: str
    lose: str = ""  # 'request' or 'answer' of the next import

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_import = self.command == "POST" and "/import" in self.path
        if is_import and self.lose == "request":
            return self._drop()
        status, answer = self._ask(body)
        if is_import and self.lose == "answer":
            return self._drop()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.do_POST()

    def _drop(self) -> None:
        type(self).lose = ""
        self.close_connection = True

    def _ask(self, body: bytes) -> Answer:
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if self.headers[name]}
        asked = urllib.request.Request(self.target + self.path, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(asked, timeout=240) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("lost", "adopted"), [("answer", 20), ("request", 0)])
def test_a_push_that_broke_off_is_finished_without_a_double(bench: Bench, lost: str, adopted: int) -> None:
    bench.photos(25)
    project = bench.project()
    account = credentials.load(credentials.path_of(bench.workspace.root))
    assert account is not None
    handler = type("Handler", (Between,), {"target": account.url, "lose": lost})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        way = replace(open_connection(f"http://127.0.0.1:{server.server_port}", account.token), url=account.url)
        with pytest.raises(Unreachable):
            tasks.push(bench.workspace, way, project, progress=Silent())
        server.shutdown()
    assert len(bench.there()) == adopted
    assert Counter(bench.states().values()) == {"claimed": 20}
    done = tasks.push(bench.workspace, bench.connection, project, progress=Silent())
    assert (done.adopted, len(done.added)) == (adopted, 25 - adopted)
    assert len(bench.there()) == 25
    assert Counter(bench.states().values()) == {"open": 25}
    assert {bench.status(pair) for pair in bench.pairs()} == {("in_review", 1)}
    assert not bench.sync().anything


def test_predictions_are_there_even_when_the_servers_database_was_locked(bench: Bench, studio: Studio) -> None:
    bench.photos(2)
    bench.photos(1, "nohand")
    project = bench.project()
    locked = sqlite3.connect(studio.server.data_dir / "label_studio.sqlite3", check_same_thread=False)
    locked.isolation_level = None
    locked.execute("BEGIN IMMEDIATE")
    release = threading.Timer(7, locked.execute, ["ROLLBACK"])  # it waits for 5 s, and then begins again
    release.start()
    added = tasks.push(bench.workspace, bench.connection, project, progress=Silent()).added
    release.join()
    locked.close()
    assert len(added) == len(bench.there()) == 3
    for key, number in bench.there().items():
        found = bench.client.predictions.list(task=number)
        versions = [] if key.startswith("photo") else ["hoi-annotate"]
        assert [prediction.model_version for prediction in found] == versions


def test_predictions_that_somebody_asks_label_studio_for_change_nothing(bench: Bench, studio: Studio) -> None:
    """It asks us for them by the address that is meant for prompts."""
    bench.photos(1)
    bench.photos(1, "nohand")
    bench.push()
    project = bench.project().external_id
    with bench.serving():
        until(lambda: bench.client.ml.list(project=project), "no prompts")
        asked = httpx.post(
            f"{bench.connection.url}/api/dm/actions",
            params={"id": "retrieve_tasks_predictions", "project": project},
            json={"selectedItems": {"all": True, "excluded": []}},
            headers={"Authorization": f"Token {studio.token}"},
            timeout=240,
        )
        assert (asked.status_code, asked.json()["processed_items"]) == (200, 2), asked.text
    for key, number in bench.there().items():
        found = bench.client.predictions.list(task=number)
        versions = [] if key.startswith("photo") else ["hoi-annotate"]
        assert [prediction.model_version for prediction in found] == versions


def test_a_photo_without_a_hand_gets_its_first_revision_in_the_same_project(bench: Bench, ann: Person) -> None:
    bench.photos(1, "nohand")
    (key,) = bench.push()
    assert ">no hand found<" in bench.data(key)["figures_html"]  # without the flags of a command
    painted = block(slice(60, 90))
    with bench.serving(), bench.worker():
        ann.submit(bench.task(key), "fix", hand_box(5, 10, 40, 80), mask("object", painted))
        until(lambda: len(bench.there()) == 2, "no first revision")
        (pair,) = bench.pairs()
        until(lambda: bench.status(pair) == ("in_review", 1), "it is not shown")
        ann.submit(bench.task(f"{pair}@1"), "accept")
        until(lambda: bench.status(pair) == ("accepted", 1), "the verdict was not read")
    assert bench.states() == {key: "closed", f"{pair}@1": "closed"}
    assert bench.client.tasks.get(id=bench.task(f"{pair}@1")).meta == {"parent_task": bench.task(key)}
    with bench.workspace.database.read() as session:
        found = Pairs(session).find(pair)
        given = found.photo.hints
        assert given["hands"][0]["box"] == pytest.approx([0.05 * 96, 0.1 * 64, 0.45 * 96, 0.9 * 64])
        kept = Image.open(io.BytesIO(bench.workspace.blobs.get(given["edits"]["0"]["object_mask"])))
        assert np.array_equal(np.asarray(kept), painted)
        assert Revisions(session).get(found).metrics["object_iou"] == pytest.approx(30 / 96)
    assert bench.said == [f"back to the reviewers: {pair}@1"]


# many people at once


def test_reviews_that_come_in_while_pages_are_read(bench: Bench, ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = bench.photos(6)
    bench.push()
    made = {pair: ann.submit(bench.task(f"{pair}@1"), "accept") for pair in pairs}
    monkeypatch.setattr(reconcile, "PAGE", 2)
    read, touched = reconcile._Reading.read_task, []

    def read_task(self: Any, task: Any) -> None:
        read(self, task)
        if not touched:  # the tasks of the first page change, and are the newest now
            touched.extend(made[pair] for pair in pairs[:2])
            for annotation in touched:
                ann.client.annotations.update(id=annotation, result=[choice("verdict", "reject")])

    monkeypatch.setattr(reconcile._Reading, "read_task", read_task)
    bench.sync()
    bench.sync()
    assert {pair: bench.reviews(pair)[-1] for pair in pairs} == {
        pair: (1, "reject" if pair in pairs[:2] else "accept") for pair in pairs
    }
    assert len(bench.reviews()) <= 8


def test_two_processes_that_read_at_the_same_time(bench: Bench, ann: Person) -> None:
    pairs = bench.photos(8)
    for key in bench.push():
        ann.submit(bench.task(key), "fix", choice("touching", "thumb", "index"))
    project, connection = bench.project(), bench.connection
    with ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(lambda _: reconcile.sync(bench.workspace, connection, bench.queue, project).reviews, range(4))
        )
    assert sum(done) == 8
    assert bench.reviews() == [(1, "fix")] * 8
    assert bench.jobs() == ["queued"] * 8
    assert {bench.status(pair) for pair in pairs} == {("reoptimising", 1)}


def test_forty_reviews_by_four_people_among_two_hundred_tasks(
    bench: Bench, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReviewLoop, "_prepare_pictures", lambda *_: None)  # half a minute of drawing, tested elsewhere
    pairs = bench.photos(200)
    rng = random.Random(4)
    plan = dict(zip(pairs[:40], ["accept", "fix", "reject", "mask"] * 10, strict=True))
    inside = block(slice(52, 80))

    def review(person: Person, mine: list[str], numbers: dict[str, int]) -> None:
        for pair in mine:
            task, verdict = numbers[f"{pair}@1"], plan[pair]
            if verdict == "fix":
                person.submit(task, "fix", choice("touching", "thumb", "index"))
            elif verdict == "mask":
                person.submit(task, "fix", mask("object", inside))
            else:
                person.submit(task, verdict)

    with bench.serving(), bench.worker():
        assert len(bench.push()) == 200
        numbers = bench.there()
        assert len(numbers) == 200
        todo = list(plan)
        rng.shuffle(todo)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: review(people[n], todo[n::4], numbers), range(4)))
        until(lambda: len(bench.reviews()) >= 40, "reviews are missing")
        until(lambda: bench.jobs() == ["done"] * 20, "jobs are missing")
        until(lambda: list(bench.states().values()).count("open") == 180, "revisions did not come back")
        until(lambda: not bench.events(), "events are left")
    assert not bench.sync().anything
    fixed = [pair for pair, verdict in plan.items() if verdict in ("fix", "mask")]
    assert {pair: bench.reviews(pair) for pair in pairs} == {
        pair: [(1, {"mask": "fix"}.get(plan[pair], plan[pair]))] if pair in plan else [] for pair in pairs
    }
    assert Counter(bench.reviewers()) == {person.email: 10 for person in people}
    there = bench.there()
    assert there.keys() == {f"{pair}@1" for pair in pairs} | {f"{pair}@2" for pair in fixed}
    assert there.keys() == bench.states().keys()
    after = {"accept": ("accepted", 1), "reject": ("rejected", 1), "fix": ("in_review", 2), "mask": ("in_review", 2)}
    assert {pair: bench.status(pair) for pair in pairs} == {
        pair: after[plan[pair]] if pair in plan else ("in_review", 1) for pair in pairs
    }
    with bench.workspace.database.read() as session:
        for pair in fixed:
            found = Pairs(session).find(pair)
            (review_row,) = Reviews(session).of_pair(found)
            newest = Revisions(session).get(found)
            if plan[pair] == "mask":
                kept = Image.open(io.BytesIO(bench.workspace.blobs.get(review_row.edits["object_mask"])))
                assert np.array_equal(np.asarray(kept), inside)
                assert newest.metrics["object_iou"] == pytest.approx(28 / 96)
            else:
                assert newest.contacts["touching"] == ["index", "thumb"]
    assert sorted(bench.said) == sorted(f"back to the reviewers: {pair}@2" for pair in fixed)
