"""What reviewers did in Label Studio -> reviews, jobs and help in our database.

Webhooks are hints; this is the truth. It reads every task that changed since it last looked, so it does not matter
which calls were lost, late, doubled or out of order: what was read before is known by the digest of its content.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy.orm import Session

from annotator import service
from annotator.jobs import JobQueue
from annotator.studio.alone import Turn, alone
from annotator.studio.connection import Connection, understood
from annotator.studio.projects import exists
from annotator.studio.reviews import ForeignTask, ReadReview, read_annotation
from annotator.workspace import Workspace
from db.models import Outcome, StudioAnnotation, StudioProject, StudioTask
from db.repositories import Pairs, Studio
from db.repositories.studio import REJECTED
from pipeline.errors import BadEdit, EmptyMask

OVERLAP = timedelta(seconds=10)  # what was committed late carries an earlier time
PAGE = 50  # tasks of one request, with their masks
SOURCE = "label-studio"
NOTHING_CHANGED = "'fix' was chosen but nothing was changed: paint a mask, mark a finger, move a joint or set the side"


Said = tuple[Outcome, str]
Fields = Literal["all", "task_only"]
Filter = dict[str, str | int]


@dataclass
class Synced:
    """What was new."""

    reviews: int = 0
    skipped: int = 0
    withdrawn: int = 0
    gone: int = 0  # tasks somebody deleted
    invalid: list[str] = field(default_factory=list)  # 'task: why', one line each

    @property
    def anything(self) -> bool:
        return bool(self.reviews or self.skipped or self.withdrawn or self.gone or self.invalid)


def sync(workspace: Workspace, connection: Connection, queue: JobQueue, project: StudioProject) -> Synced:
    """Reads what changed in a project. Raises StudioError; what was read until then is recorded."""
    with alone(workspace, Turn.SYNC):
        return _sync(workspace, connection, queue, project)


def _sync(workspace: Workspace, connection: Connection, queue: JobQueue, project: StudioProject) -> Synced:
    if not exists(workspace, connection, project):
        return Synced()
    with workspace.database.read() as session:
        cursor = Studio(session).get(project.id).cursor
    cursor = None if cursor is None else _utc(cursor)
    newest = _newest_change(connection, project)  # asked first: what changes while we read is read again next time
    reading = _Reading(workspace, connection, queue, project)
    for task in _changed(connection, project, cursor):
        reading.read_task(task)
    reading.find_deleted()
    if newest is not None and newest != cursor:
        with workspace.database.write() as session:
            Studio(session).get(project.id).cursor = newest
    return reading.done


def _newest_change(connection: Connection, project: StudioProject) -> datetime | None:
    """By the server's clock; None for a project without tasks."""
    found = _page(connection, project, "task_only", "-tasks:updated_at", [], page_size=1)
    return _utc(found[0].updated_at) if found else None


def _changed(connection: Connection, project: StudioProject, cursor: datetime | None) -> Iterator[Any]:
    """Tasks that changed since the cursor, with their annotations."""
    if cursor is None:
        return _all(connection, project, "all", [])
    since = (cursor - OVERLAP).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return _all(connection, project, "all", [_filter("updated_at", "greater_or_equal", "Datetime", since)])


def _all(connection: Connection, project: StudioProject, fields: Fields, filters: list[Filter]) -> Iterator[Any]:
    """Every page of a query, by the tasks' numbers. A page begins behind the last number of the one before it: what
    reviewers do meanwhile moves no task over its edge."""
    last = 0
    while found := _page(connection, project, fields, "tasks:id", [*filters, _filter("id", "greater", "Number", last)]):
        yield from found
        last = found[-1].id


def _filter(column: str, operator: str, kind: str, value: str | int) -> Filter:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _page(
    connection: Connection,
    project: StudioProject,
    fields: Fields,
    ordering: str,
    filters: list[Filter],
    page_size: int = PAGE,
) -> list[Any]:
    """The first tasks of a query of the Data Manager."""
    query = json.dumps({"filters": {"conjunction": "and", "items": filters}, "ordering": [ordering]})
    with understood(connection.url):
        listed: Any = connection.api.tasks.list(
            project=project.external_id, fields=fields, query=query, page=1, page_size=page_size
        )
        return list(listed.items or ())


def _utc(time: datetime | str) -> datetime:
    """SQLite gives back times without a zone, PostgreSQL in the server's, the SDK sometimes text."""
    at = datetime.fromisoformat(time) if isinstance(time, str) else time
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


class _Reading:
    """One look at one project."""

    def __init__(self, workspace: Workspace, connection: Connection, queue: JobQueue, project: StudioProject) -> None:
        self._workspace, self._connection, self._queue, self._project = workspace, connection, queue, project
        self._emails: dict[int, str] | None = None
        self.done = Synced()

    def read_task(self, task: Any) -> None:
        data = task.data if isinstance(task.data, dict) else {}
        with self._workspace.database.read() as session:
            had = Studio(session).numbered(self._project, task.id)
            row = next((row for row in had if row.key == data.get("key")), None)
            if row is None:
                return  # somebody else's task in our project, or a number that was used again
            data = data | _shown(row)
            original = (row.photo.height or 0, row.photo.width or 0)
            read_before = Studio(session).annotations(row)
        there = [a if isinstance(a, dict) else a.model_dump() for a in task.annotations or ()]
        for annotation in sorted(there, key=lambda a: int(a["id"])):
            try:
                read = read_annotation(annotation, data, original)
            except ForeignTask:
                return
            if read.digest not in {before.digest for before in read_before}:
                outcome, note = self._take(row, data, annotation, read)
                self._remember(row, annotation["id"], read.digest, outcome, note)
        still = {int(annotation["id"]) for annotation in there}
        if any(before.external_id not in still for before in read_before):
            self._find_withdrawn(row, still)

    def find_deleted(self) -> None:
        """Tasks that somebody deleted; their pairs wait again."""
        with self._workspace.database.read() as session:
            ours = {task.external_id: task.id for task in Studio(session).tasks(self._project)}
        with understood(self._connection.url):
            count = self._connection.api.projects.get(id=self._project.external_id).task_number or 0
        if count == len(ours):
            return
        there = {task.id for task in _all(self._connection, self._project, "task_only", [])}
        with self._workspace.database.write() as session:
            studio = Studio(session)
            for task in studio.tasks(self._project):
                if task.external_id in ours and task.external_id not in there:  # others were pushed meanwhile
                    if task.state == "open" and task.revision is not None:
                        _wait_again(session, task)
                    task.state = "gone"
                    self.done.gone += 1

    def _take(self, row: StudioTask, data: dict[str, Any], annotation: dict[str, Any], read: ReadReview) -> Said:
        """Does what an annotation asks for, once; says what it was, and what is wrong with it."""
        if read.skipped:
            return "skipped", ""
        if read.verdict is None:
            return "invalid", "no verdict was chosen"
        if read.verdict != "reject" and read.problems:  # what is rejected need not be right
            return "invalid", "; ".join(read.problems)
        try:
            if row.revision_id is None:
                return self._take_photo(data, read)
            return self._take_pair(data, read, f"{row.id}/{read.digest}", self._reviewer(annotation))
        except (BadEdit, EmptyMask) as error:
            return "invalid", str(error)

    def _take_pair(self, data: dict[str, Any], read: ReadReview, external_id: str, reviewer: str) -> Said:
        about: dict[str, Any] = {
            "reviewer": reviewer,
            "comment": read.comment,
            "number": int(data["revision"]),
            "source": SOURCE,
            "external_id": external_id,
        }
        pair = str(data["pair_id"])
        assert read.verdict is not None
        if read.verdict == "reject" or (read.verdict == "accept" and not read.changed):
            service.submit_review(self._workspace, pair, read.verdict, **about)
            return "review", ""
        if not read.changed:
            return "invalid", NOTHING_CHANGED + (f" (your comment: {read.comment})" if read.comment else "")
        service.submit_fix(self._workspace, self._queue, pair, read.change, **about)
        return "review", ""

    def _take_photo(self, data: dict[str, Any], read: ReadReview) -> Said:
        if read.verdict == "reject":
            return "review", REJECTED
        service.submit_help(self._workspace, self._queue, str(data["photo_sha256"]), read.change)
        return "review", ""

    def _remember(self, row: StudioTask, external_id: int, digest: str, outcome: Outcome, note: str) -> None:
        with self._workspace.database.write() as session:
            studio = Studio(session)
            task = studio.get_task(row.id)
            if any(annotation.digest == digest for annotation in studio.annotations(task)):
                return  # somebody else looked at the same time
            studio.add(
                StudioAnnotation(task_id=task.id, external_id=external_id, digest=digest, outcome=outcome, note=note)
            )
            if outcome != "skipped":
                task.state = "closed"
            if outcome == "invalid" and task.revision is not None:
                _wait_again(session, task)
        match outcome:
            case "review":
                self.done.reviews += 1
            case "skipped":
                self.done.skipped += 1
            case _:
                self.done.invalid.append(f"{row.key}: {note}")

    def _find_withdrawn(self, row: StudioTask, there: set[int]) -> None:
        """Annotations that were read and then deleted. What they said stays; the task is open to a reviewer again."""
        with self._workspace.database.write() as session:
            studio = Studio(session)
            task = studio.get_task(row.id)
            read = studio.annotations(task)
            gone = {a.external_id for a in read} - {a.external_id for a in read if a.outcome == "withdrawn"} - there
            for external_id in sorted(gone):
                digest = f"withdrawn {external_id}"
                studio.add(
                    StudioAnnotation(task_id=task.id, external_id=external_id, digest=digest, outcome="withdrawn")
                )
                self.done.withdrawn += 1
            if gone and not there and task.state == "closed":
                task.state = "open"
                revision = task.revision
                if revision is not None and revision.pair.revision_number == revision.number:
                    for verdict in ("accepted", "rejected"):
                        Pairs(session).move(revision.pair, verdict, "in_review")

    def _reviewer(self, annotation: dict[str, Any]) -> str:
        """The e-mail address of who submitted it."""
        by = annotation.get("completed_by")
        if isinstance(by, dict):
            return str(by.get("email") or by.get("id"))
        if self._emails is None or (isinstance(by, int) and by not in self._emails):
            with understood(self._connection.url):
                self._emails = {user.id: user.email or "" for user in self._connection.api.users.list()}
        known = self._emails.get(by) if isinstance(by, int) else None
        return known or f"user {by}"


def _shown(task: StudioTask) -> dict[str, Any]:
    """What a task is about, from our own rows: people may edit its data there."""
    about = {"pair_id": None, "revision": 0, "photo_sha256": task.photo.sha256}
    revision = task.revision
    return about if revision is None else about | {"pair_id": revision.pair.public_id, "revision": revision.number}


def _wait_again(session: Session, task: StudioTask) -> None:
    """The revision a task showed waits for a reviewer, unless it is not the newest or something else was decided."""
    assert task.revision is not None
    if task.revision.pair.revision_number == task.revision.number:
        Pairs(session).move(task.revision.pair, "in_review", "preannotated")
