"""One process at a time does what two at once would do twice: it asks what is there, then makes what is missing."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from annotator.workspace import Workspace
from db.repositories import Studio


class Turn(IntEnum):
    """What is done by one at a time; different things do not wait for each other."""

    PUSH = 1  # projects and tasks are made
    SYNC = 2  # annotations are read


@contextmanager
def alone(workspace: Workspace, turn: Turn) -> Iterator[None]:
    """Waits for its turn: on this machine by a file, among machines by the PostgreSQL server they share.

    Whoever dies in between lets go of it.
    """
    with (workspace.root / f".studio-{turn.name.lower()}.lock").open("a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if workspace.database.is_sqlite:  # a transaction would keep everybody else from writing
            yield
            return
        with workspace.database.read() as session:
            Studio(session).take_turn(turn)
            yield
