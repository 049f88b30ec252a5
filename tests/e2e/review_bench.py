"""For the tests of the review loop: a workspace at a real Label Studio, people who review there, and what came of it.

The pipeline is the fake one of tests/annotator: everything else is real.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

sys.path.insert(0, str(Path(__file__).parents[1] / "annotator"))
from ports import free_port
from web_server import Client, running

from annotator import config, service
from annotator.jobs import JobQueue, JobWorker
from annotator.progress import Silent
from annotator.studio import credentials, login, projects, reconcile, tasks
from annotator.studio.connection import Connection, connect
from annotator.studio.credentials import Credentials
from annotator.studio.loop import ReviewLoop
from annotator.studio.masks import to_data_url
from annotator.web import hooks, ml_backend
from annotator.web.app import create_app
from annotator.web.links import Links
from annotator.web.secret import workspace_secret
from annotator.workspace import Workspace
from db.models import Job, Pair, Review, StudioEvent, StudioProject, StudioTask
from db.repositories import Pairs
from pipeline.recipe import Recipe

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio
    from studio_server import Studio

Json = dict[str, Any]
SIZE = (96, 64)  # (W, H) of the photos


def until(true: Callable[[], Any], what: str, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def picture(shade: int) -> bytes:
    """Every shade is another photo."""
    patches = np.random.default_rng(shade).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(patches).resize(SIZE, Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


def block(columns: slice) -> np.ndarray:
    inside = np.zeros(SIZE[::-1], dtype=np.bool_)
    inside[:, columns] = True
    return inside


# what people do


@dataclass(frozen=True)
class Person:
    """Somebody with an account of the server."""

    url: str
    email: str
    token: str = field(repr=False)

    @cached_property
    def client(self) -> LabelStudio:
        from label_studio_sdk import LabelStudio

        return LabelStudio(base_url=self.url, api_key=self.token, timeout=240)

    def submit(self, task: int, verdict: str | None, *regions: Json, **more: Any) -> int:
        """Submits what the page would: the prediction, with `regions` in the place of those of the same id."""
        said = [choice("verdict", verdict)] if verdict else []
        result = [*shown(self.client, task, *regions), *said]
        return int(self.client.annotations.create(id=task, result=result, **more).id or 0)

    def draft(self, task: int, verdict: str) -> None:
        """Begins, and goes to lunch."""
        result = [*shown(self.client, task), choice("verdict", verdict)]
        answer = httpx.post(
            f"{self.url}/api/tasks/{task}/drafts",
            json={"result": result, "lead_time": 1.0},
            headers={"Authorization": f"Token {self.token}"},
            timeout=240,
        )
        assert answer.status_code == 201, answer.text


def shown(client: LabelStudio, task: int, *regions: Json) -> list[Json]:
    """The regions of a task's prediction as a browser hands them in; `regions` replace those of the same id."""
    found: Any = client.tasks.get(id=task).predictions
    ours = [region | {"origin": "prediction"} for prediction in found or () for region in prediction.result]
    new = {region["id"] for region in regions}
    return [*(region for region in ours if region["id"] not in new), *regions]


def choice(control: str, *words: str) -> Json:
    value = {"choices": list(words)}
    region = {"id": control, "from_name": control, "to_name": "image", "type": "choices", "value": value}
    return region | {"origin": "manual"}


def mask(label: str, inside: np.ndarray) -> Json:
    """Our own region of a label, painted over."""
    return {
        "id": f"m_{label}",
        "from_name": "mask",
        "to_name": "image",
        "type": "bitmasklabels",
        "origin": "prediction-changed",
        "original_width": inside.shape[1],
        "original_height": inside.shape[0],
        "image_rotation": 0,
        "value": {"imageDataURL": to_data_url(inside), "bitmasklabels": [label]},
    }


def hand_box(x: float, y: float, width: float, height: float) -> Json:
    """In percent."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["hand"]}
    drawn = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0, "origin": "manual"}
    return {"id": "b", "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": value} | drawn


def sign_up(studio: Studio, email: str) -> Person:
    """A new account, by the owner's invitation."""
    answer = httpx.get(f"{studio.url}/api/invite", headers={"Authorization": f"Token {studio.token}"}, timeout=240)
    (invitation,) = re.findall(r"token=([\w-]+)", answer.text)
    page = f"{studio.url}/user/signup/?token={invitation}"
    with httpx.Client(timeout=240) as browser:
        browser.get(page)
        form = {"email": email, "password": "a-long-password", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post(page, data=form, headers={"Referer": page}).status_code == 302
    token = login.current_token(studio.url, email, "a-long-password")
    assert token is not None
    return Person(studio.url, email, token)


class Bench:
    """A workspace that is reviewed in a Label Studio."""

    def __init__(self, root: Path, account: Credentials, **settings: str) -> None:
        self.port = free_port()
        root.mkdir()
        lines = [f"port = {self.port}", *(f"{name} = {json.dumps(value)}" for name, value in settings.items())]
        (root / config.FILE).write_text("\n".join(lines) + "\n")
        self.workspace = Workspace.create(root)
        credentials.save(credentials.path_of(root), account)
        self.queue = JobQueue(self.workspace)
        self.said: list[str] = []
        self.printed = root / "serve.log"  # what a process of ours said
        self._shades = 0
        self._log = io.StringIO()
        self._handler = logging.StreamHandler(self._log)
        logging.getLogger().addHandler(self._handler)

    @cached_property
    def connection(self) -> Connection:
        return connect(self.workspace)

    @property
    def client(self) -> LabelStudio:
        return self.connection.api

    def close(self) -> str:
        """Lets go of everything; what was said and logged."""
        logging.getLogger().removeHandler(self._handler)
        self.queue.close()
        self.workspace.close()
        printed = self.printed.read_text() if self.printed.exists() else ""
        return "\n".join(self.said) + printed + self._log.getvalue()

    def secrets(self) -> list[str]:
        """What nobody may read in a log."""
        account = credentials.load(credentials.path_of(self.workspace.root))
        assert account is not None
        links = Links.of(self.workspace)
        keys = [re.split("[/=]", address)[-1] for address in (links.ml(), links.gallery())]
        kept = [workspace_secret(self.workspace.root).decode(), projects.hook_secret(self.workspace)]
        return [secret for secret in (account.token, account.password, *keys, *kept) if secret]

    # the tool

    def photos(self, count: int, name: str = "cup") -> list[str]:
        """Takes in so many photos and annotates them; the pairs."""
        folder = self.workspace.root / "photos" / f"{self._shades}"
        folder.mkdir(parents=True)
        for _ in range(count):
            self._shades += 1
            (folder / f"{name}-{self._shades:03d}.png").write_bytes(picture(self._shades))
        service.ingest(self.workspace, [str(folder)], progress=Silent())
        return service.preannotate(self.workspace, Recipe.load("cpu"), progress=Silent()).published

    def project(self, title: str | None = None) -> StudioProject:
        return projects.ensure(self.workspace, self.connection, title)

    def push(self, title: str | None = None, **more: Any) -> list[str]:
        """The keys of the new tasks."""
        return tasks.push(self.workspace, self.connection, self.project(title), progress=Silent(), **more).added

    def sync(self) -> reconcile.Synced:
        return reconcile.sync(self.workspace, self.connection, self.queue, self.project())

    @contextmanager
    def loop(self, every_s: float = 0.5, begins: bool = True) -> Iterator[ReviewLoop]:
        loop = ReviewLoop(self.workspace, self.said.append, every_s)
        if begins:
            loop.start()
        try:
            yield loop
        finally:
            loop.stop()

    @contextmanager
    def answering(self, loop: ReviewLoop) -> Iterator[Client]:
        """Our server, where Label Studio looks for it."""
        links = Links.of(self.workspace)
        routers = [hooks.router(self.workspace, loop.wake), ml_backend.router(self.workspace, links)]
        with running(create_app(self.workspace, routers=routers), self.port) as client:
            yield client

    @contextmanager
    def serving(self, every_s: float = 0.5) -> Iterator[ReviewLoop]:
        """Server and loop, as `serve` runs them: the loop begins when the server answers."""
        with self.loop(every_s, begins=False) as loop, self.answering(loop):
            loop.start()
            try:
                yield loop
            finally:
                loop.stop()

    @contextmanager
    def worker(self) -> Iterator[None]:
        worker = JobWorker(self.workspace)
        worker.start()
        try:
            yield
        finally:
            worker.stop()

    # what came of it

    def there(self) -> dict[str, int]:
        """Key -> number of all tasks that the server has in our project, which are as many."""
        listed: Any = list(self.client.tasks.list(project=self.project().external_id, fields="task_only"))
        found = {str(task.data["key"]): int(task.id) for task in listed}
        assert len(found) == len(listed), "a key is there twice"
        return found

    def task(self, key: str) -> int:
        return self.there()[key]

    def data(self, key: str) -> Json:
        data = self.client.tasks.get(id=self.task(key)).data
        assert isinstance(data, dict)
        return data

    def status(self, pair: str) -> tuple[str, int]:
        """Its status and newest revision."""
        with self.workspace.database.read() as session:
            found = Pairs(session).find(pair)
            return found.status, found.revision_number

    def reviews(self, pair: str | None = None) -> list[tuple[int, str]]:
        """(revision, verdict), oldest first."""
        with self.workspace.database.read() as session:
            found = session.query(Review).order_by(Review.id)
            return [(r.revision.number, r.verdict) for r in found if pair is None or r.revision.pair.public_id == pair]

    def reviewers(self) -> list[str]:
        return self.column(lambda session: session.query(Review.reviewer).order_by(Review.id))

    def jobs(self) -> list[str]:
        return self.column(lambda session: session.query(Job.state).order_by(Job.id))

    def events(self) -> list[str]:
        return self.column(lambda session: session.query(StudioEvent.action).order_by(StudioEvent.id))

    def states(self) -> dict[str, str]:
        """Key -> state of all our tasks, those of projects that are gone left out."""
        with self.workspace.database.read() as session:
            found = session.query(StudioTask).join(StudioProject).filter(StudioProject.state == "active")
            return {task.key: task.state for task in found}

    def pairs(self) -> list[str]:
        return self.column(lambda session: session.query(Pair.public_id).order_by(Pair.id))

    def column(self, query: Callable[[Session], Any]) -> list[Any]:
        with self.workspace.database.read() as session:
            return [row[0] for row in query(session)]
