"""Says that a worker lives, and finds those that do not."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from importlib.metadata import version

from sqlalchemy.exc import DBAPIError

from annotator.jobs.queue import VERSION
from annotator.workspace import Workspace
from db.errors import StorageError
from db.repositories import Workers

_FORGOTTEN_S = 86400.0

logger = logging.getLogger(__name__)


def version_here() -> str:
    """Of what this machine would run: workers that say the same do the same."""
    torch, _, _built_for = version("torch").partition("+")
    return f"hoi-annotate {version('hoi-annotate')}, jobs {VERSION}, torch {torch}"


class Heartbeat:
    """A thread that beats for worker `name` and hands what silent workers had begun to `take_over`.

    Several may do so for the same worker at once, and the silent one may wake: `take_over` must not mind.
    """

    def __init__(self, workspace: Workspace, name: str, take_over: Callable[[list[str]], None]) -> None:
        self._workspace, self._name, self._take_over = workspace, name, take_over
        self._version = version_here()
        self._silence = workspace.settings.worker_timeout
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """The first beat comes before any work. Raises StorageError."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Ends, and leaves what was begun to others without delay."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            with self._workspace.database.write() as session:
                Workers(session).leave(self._name)
        except (StorageError, DBAPIError) as error:  # they will wait for the timeout then
            logger.warning("%s could not say that it ends: %s", self._name, error)

    def _beat(self) -> None:
        with self._workspace.database.write() as session:
            Workers(session).beat(self._name, socket.gethostname(), os.getpid(), self._version)

    def _run(self) -> None:
        looks_from = time.monotonic()
        while not self._ended.wait(self._silence / 6):
            try:
                self._beat()
                if time.monotonic() >= looks_from:
                    self._reap()
            except (StorageError, DBAPIError) as error:
                logger.warning("heartbeat of %s: %s", self._name, error)
                looks_from = time.monotonic() + self._silence  # the others could not beat either: first let them
            except Exception:
                logger.exception("heartbeat of %s", self._name)

    def _reap(self) -> None:
        with self._workspace.database.read() as session:
            silent = [name for name in Workers(session).silent(self._silence) if name != self._name]
        if silent:
            self._take_over(silent)
            with self._workspace.database.write() as session:
                Workers(session).forget(silent, _FORGOTTEN_S)
