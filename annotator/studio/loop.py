"""The review loop as `serve` runs it: annotations come in, new revisions go out, for as long as it lives.

A webhook wakes it; without one it looks by itself every EVERY_S. Whatever goes wrong with Label Studio is said once
and tried again: nothing is lost meanwhile, Label Studio keeps what reviewers did.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from annotator.jobs import JobQueue
from annotator.progress import Silent
from annotator.studio import credentials, projects, reconcile, tasks
from annotator.studio.connection import Connection, open_connection
from annotator.studio.errors import Refused, StudioError, Unreachable
from annotator.web.links import Links
from annotator.web.pictures import Pictures
from annotator.web.secret import workspace_secret
from annotator.workspace import Workspace
from db.errors import StorageError
from db.models import StudioProject
from db.repositories import Studio
from pipeline.errors import HoiError

EVERY_S = 30.0
TICK_S = 1.0

logger = logging.getLogger(__name__)


class ReviewLoop:
    """A thread, from `start` to `stop`. `say` is told what a person at the terminal wants to know."""

    def __init__(self, workspace: Workspace, say: Callable[[str], None], every_s: float = EVERY_S) -> None:
        self._workspace, self._say, self._every = workspace, say, every_s
        self._woken, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="review loop", daemon=True)
        self._trouble: str | None = None
        self._connected: tuple[credentials.Credentials, Connection] | None = None
        self._aside = ThreadPoolExecutor(1, "pictures")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
        self._aside.shutdown(cancel_futures=True)

    def wake(self) -> None:
        """Something has changed in Label Studio."""
        self._woken.set()

    def _run(self) -> None:
        queue: JobQueue | None = None
        looked, sent = -self._every, True
        while not self._ended.is_set():
            looks = self._woken.is_set() or time.monotonic() - looked >= self._every
            self._woken.clear()
            try:
                queue = queue or JobQueue(self._workspace)
                if looks:
                    looked = time.monotonic()
                    self._look(queue)
                if looks or sent:  # what failed is tried again at the next look
                    sent = False
                    self._send_back()
                    sent = True
                if looks:
                    self._make_known()
                    self._tell(None)
            except (HoiError, StorageError) as error:
                self._tell(str(error))
            except Exception as error:  # the loop outlives a bug: the next look may do better
                logger.exception("the review loop")
                self._tell(f"{type(error).__name__}: {error}")
            self._woken.wait(TICK_S)
        if queue is not None:
            queue.close()

    def _look(self, queue: JobQueue) -> None:
        """Everything that changed there; webhook calls that came before are answered by it."""
        with self._workspace.database.read() as session:
            events = [event.id for event in Studio(session).events()]
        for connection, project in self._projects():
            with self._unless_gone(connection, project):
                done = reconcile.sync(self._workspace, connection, queue, project)
                for line in done.invalid:
                    self._say(f"an annotation could not be used: {line}")
        if events:
            with self._workspace.database.write() as session:
                Studio(session).forget(events)

    def _make_known(self) -> None:
        """Projects call us and send us prompts. The loop does without, so this comes last."""
        base = hook_base(self._workspace)
        for connection, project in self._projects():
            with self._unless_gone(connection, project):
                projects.hook(self._workspace, connection, project, base)
                projects.prompts(connection, project, Links(base, workspace_secret(self._workspace.root)).ml())

    def _send_back(self) -> None:
        for connection, project in self._projects():
            if not tasks.is_anything_returning(self._workspace, project):
                continue
            with self._unless_gone(connection, project):
                done = tasks.push(self._workspace, connection, project, only_returning=True, progress=Silent())
                for key in done.added:
                    self._say(f"back to the reviewers: {key}")
                    self._aside.submit(self._prepare_pictures, key)

    @contextmanager
    def _unless_gone(self, connection: Connection, project: StudioProject) -> Iterator[None]:
        """Somebody may delete a project at any moment; it is remembered as gone, and that is no trouble."""
        try:
            yield
        except (Refused, Unreachable):
            raise
        except StudioError:
            if projects.exists(self._workspace, connection, project):
                raise

    def _prepare_pictures(self, key: str) -> None:
        """Somebody will look at it soon: its pictures take seconds to make. What fails here, its page tries again."""
        pair, _, number = key.partition("@")
        if number:
            pictures = Pictures(self._workspace)
            for name in ("photo.jpg", "overlay.jpg", "scene.glb", "turntable-0.jpg"):
                pictures.of_revision(pair, int(number.split(".")[0]), name)

    def _projects(self) -> list[tuple[Connection, StudioProject]]:
        account = credentials.load(credentials.path_of(self._workspace.root))
        if account is None or not account.url:
            return []  # nobody has connected one yet
        if self._connected is None or self._connected[0] != account:
            self._connected = account, open_connection(account.url, account.token)
        connection = self._connected[1]
        with self._workspace.database.read() as session:
            return [(connection, project) for project in Studio(session).projects(connection.url)]

    def _tell(self, trouble: str | None) -> None:
        """Says it once, and once that it is over."""
        if trouble != self._trouble:
            self._say(f"review loop: {trouble}; trying again" if trouble else "review loop: all is well again")
        self._trouble = trouble


def hook_base(workspace: Workspace) -> str:
    """How Label Studio reaches us. Our own runs on this machine, and may not call into private networks."""
    found = credentials.load(credentials.path_of(workspace.root))
    if found is not None and found.ours:
        return f"http://127.0.0.1:{workspace.settings.port}"
    return Links.of(workspace).base_url
