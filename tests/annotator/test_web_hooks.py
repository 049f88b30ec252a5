"""Calls of the webhook: who may make them, what is kept of them, what junk does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from ports import free_port
from web_server import Answered, Client, running

from annotator.studio.projects import HOOK_PATH, SECRET_HEADER, hook_secret
from annotator.web import hooks
from annotator.web.app import create_app
from annotator.web.secret import workspace_secret
from annotator.workspace import Workspace
from db.models import StudioEvent
from db.repositories import Studio

MOST = 20_000
REAL: dict[str, Any] = {  # what a real server sends, shortened
    "action": "ANNOTATION_CREATED",
    "annotation": {"id": 5, "result": [], "was_cancelled": False, "task": 9, "project": 3},
    "project": {"id": 3, "title": "hoi-annotate"},
    "task": {"id": 9, "data": {"pair_id": "p"}},
}
Event = tuple[str, int | None, int | None]


@dataclass
class Hook:
    workspace: Workspace
    send: Client
    woken: list[int] = field(default_factory=list)  # how many events there were each time

    def __call__(self, body: Any, secret: str | None = None) -> Answered:
        """Posts it; anything but bytes or an iterator is sent as JSON."""
        headers = {SECRET_HEADER: self.secret if secret is None else secret}
        data = body if isinstance(body, bytes | Iterator) else json.dumps(body).encode()
        return self.send(HOOK_PATH, "POST", data, **headers)

    @property
    def secret(self) -> str:
        return hook_secret(self.workspace)

    def events(self) -> list[Event]:
        return [(event.action, event.project, event.task) for event in _events(self.workspace)]

    def new(self, body: Any) -> Event:
        """What was kept of a call that must be taken."""
        before = len(self.events())
        assert self(body).status == 202
        *_, event = self.events()
        assert len(self.events()) == before + 1
        return event


def _events(workspace: Workspace) -> list[StudioEvent]:
    with workspace.database.read() as session:
        return list(Studio(session).events())


@pytest.fixture
def hook(workspace: Workspace) -> Iterator[Hook]:
    woken: list[int] = []
    routers = [hooks.router(workspace, lambda: woken.append(len(_events(workspace))))]
    with running(create_app(workspace, routers=routers, most_bytes=MOST), free_port()) as send:
        yield Hook(workspace, send, woken)


def test_a_call_is_kept_and_wakes_the_loop(hook: Hook) -> None:
    answer = hook(REAL)
    assert (answer.status, answer.body) == (202, b"")
    assert hook.events() == [("ANNOTATION_CREATED", 3, 9)]
    assert hook.woken == [1]  # the event was there when the loop was woken
    deleted = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 5}], "project": {"id": 3}}
    assert hook.new(deleted) == ("ANNOTATIONS_DELETED", 3, None)  # it names no task
    assert hook.woken == [1, 2]


def test_without_the_secret_nothing_happens(hook: Hook) -> None:
    signing = workspace_secret(hook.workspace.root).decode()
    for wrong in ("", "x", hook.secret[:-1], hook.secret + "0", hook.secret.upper(), signing, "\xff" * 64):
        answer = hook(REAL, wrong)
        assert answer.status == 401, wrong
        assert answer.json == {"detail": "wrong secret"}
    assert hook.send(HOOK_PATH, "POST", json.dumps(REAL)).status == 401  # no header at all
    assert hook.send(f"{HOOK_PATH}?{SECRET_HEADER}={hook.secret}", "POST", b"{}").status == 401  # addresses are logged
    assert hook(b"not JSON", "wrong").status == 401  # strangers learn nothing about bodies
    assert (hook.events(), hook.woken) == ([], [])


def test_the_secret_is_not_told(hook: Hook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture) -> None:
    answers = [hook(REAL), hook(REAL, hook.secret[:-1]), hook(b"{", hook.secret), hook([]), hook(b"x" * MOST * 2)]
    answers += [hook.send(path) for path in ("/openapi.json", "/docs", "/metrics", "/healthz", HOOK_PATH)]
    said = "".join(f"{answer.headers}{answer.text}" for answer in answers) + caplog.text + "".join(capfd.readouterr())
    assert hook.secret[:-1] not in said
    assert [answer.status for answer in answers] == [202, 401, 400, 202, 413, 200, 200, 200, 200, 405]


def test_what_is_not_json(hook: Hook) -> None:
    for body in (b"", b"{", b"\xff\xfe\x00", b"[" * 9000, b'{"a": ' * 3000, b"1" * 5000):
        answer = hook(body)
        assert (answer.status, answer.json) == (400, {"detail": "not JSON"}), body[:9]
    assert (hook.events(), hook.woken) == ([], [])


def test_json_that_says_nothing_still_makes_us_look(hook: Hook) -> None:
    bodies = [None, [], "ANNOTATION_CREATED", 7, {}, [REAL], {"action": None, "task": "9"}]
    assert [hook.new(body) for body in bodies] == [("", None, None)] * len(bodies)
    assert len(hook.woken) == len(bodies)


def test_actions_nobody_asked_for_are_not_kept(hook: Hook) -> None:
    for action in ("x" * 5000, "STH", "a\0b", "\ud800", 7, True, ["TASKS_DELETED"], {"id": 1}, float("nan")):
        assert hook.new(REAL | {"action": action}) == ("", 3, 9), action


def test_numbers_no_column_holds_are_not_kept(hook: Hook) -> None:
    for number in (-1, 2**31, 2**63, 10**400, True, 1.5, "9", None, [9], {"id": 9}, float("inf")):
        assert hook.new(REAL | {"task": {"id": number}}) == ("ANNOTATION_CREATED", 3, None), number
        assert hook.new(REAL | {"project": {"id": number}}) == ("ANNOTATION_CREATED", None, 9), number
    assert hook.new(REAL | {"task": {"id": 2**31 - 1}}) == ("ANNOTATION_CREATED", 3, 2**31 - 1)  # the largest that fits


def test_bodies_have_a_limit(hook: Hook) -> None:
    fits = json.dumps(REAL | {"padding": "x" * (MOST // 2)}).encode()
    large = json.dumps(REAL | {"padding": "x" * MOST}).encode()
    assert [hook(fits).status, hook(iter([fits[:9], fits[9:]])).status] == [202, 202]
    assert [hook(large).status, hook(iter([large[:9], large[9:]])).status] == [413, 413]  # announced, and found out
    assert len(hook.events()) == 2


def test_of_many_at_once_none_is_lost(hook: Hook) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: hook(REAL | {"task": {"id": n}}), range(40)))
    assert {answer.status for answer in answers} == {202}
    assert sorted(task for _, _, task in hook.events()) == list(range(40))
    assert len(hook.woken) == 40
