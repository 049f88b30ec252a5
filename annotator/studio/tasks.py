"""Pairs -> tasks. What has no task gets one; what must come back to a reviewer gets another.

A task is claimed in our database before it is made there. A claim that is left was interrupted: the server is asked
which of those tasks it has, so none is made twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from annotator.progress import Progress
from annotator.records import load_reconstruction
from annotator.studio.alone import Turn, alone
from annotator.studio.connection import Connection, understood
from annotator.studio.errors import StudioError
from annotator.studio.prediction import on_page, photo_task_data, prediction, task_data
from annotator.web.links import Links
from annotator.workspace import Workspace
from db.models import Pair, Photo, StudioProject, StudioTask
from db.repositories import Jobs, Pairs, Studio
from pipeline.recipe import Recipe

CHUNK = 20  # tasks of one request: a task with its masks has some 100 kB


@dataclass
class Pushed:
    """What `push` did."""

    project: int  # the server's number
    added: list[str] = field(default_factory=list)  # keys of the tasks
    adopted: int = 0  # made earlier by a push that died


@dataclass(frozen=True)
class _Wanted:
    key: str
    photo_id: int
    revision_id: int | None
    notice: str


def push(
    workspace: Workspace,
    connection: Connection,
    project: StudioProject,
    *,
    limit: int | None = None,
    min_priority: float | None = None,
    only_returning: bool = False,
    progress: Progress,
) -> Pushed:
    """Makes the missing tasks, the most doubtful pairs first.

    Pairs that are reviewed in another project stay there. `only_returning`: only what belongs to the project already
    and must come back, as a new revision does.
    """
    with alone(workspace, Turn.PUSH):
        done = Pushed(project.external_id, adopted=_adopt(workspace, connection, project))
        with workspace.database.read() as session:
            wanted = list(_wanted(session, project, only_returning, min_priority))[:limit]
        progress.begin(len(wanted))
        links = Links.of(workspace)
        for start in range(0, len(wanted), CHUNK):
            chunk = wanted[start : start + CHUNK]
            _make(workspace, connection, project, chunk, links)
            for item in chunk:
                done.added.append(item.key)
                progress.done(item.key, "pushed")
        return done


def is_anything_returning(workspace: Workspace, project: StudioProject) -> bool:
    """Whether `push` with `only_returning` has something to do; asks only our own database."""
    with workspace.database.read() as session:
        studio = Studio(session)
        return bool(studio.claimed(project)) or next(_wanted(session, project, True, None), None) is not None


def _wanted(
    session: Session, project: StudioProject, only_returning: bool, min_priority: float | None
) -> Iterator[_Wanted]:
    studio = Studio(session)
    for revision in studio.waiting(project if only_returning else None):
        home = studio.project_of(revision.pair)
        if (home is None and only_returning) or (home is not None and home.id != project.id):
            continue
        earlier = studio.tasks_of(project, revision=revision)
        if only_returning and earlier and earlier[-1].state == "gone":
            continue  # a person removed it
        if home is None and min_priority is not None and (revision.review_priority or 0.0) < min_priority:
            continue
        key = f"{revision.pair.public_id}@{revision.number}"
        yield _Wanted(_nth(key, earlier), revision.pair.photo_id, revision.id, _notice(session, revision.pair, earlier))
    for photo in studio.photos_waiting(project if only_returning else None):
        if studio.is_elsewhere(photo, project):
            continue  # like a pair, it stays where it is
        earlier = studio.tasks_of(project, photo=photo)
        is_new = not earlier or earlier[-1].state == "gone"
        if (is_new and not only_returning) or _photo_returns(session, photo, earlier):
            key = f"photo {photo.sha256[:12]}"
            yield _Wanted(_nth(key, earlier), photo.id, None, _unusable(session, earlier))


def _nth(key: str, earlier: Sequence[StudioTask]) -> str:
    """The same thing shown again has another key."""
    return f"{key}.{len(earlier) + 1}" if earlier else key


def _photo_returns(session: Session, photo: Photo, earlier: Sequence[StudioTask]) -> bool:
    """Whether a reviewer's help did not lead to a pair."""
    if not earlier or earlier[-1].state != "closed":
        return False
    job = Jobs(session).last_of(photo=photo)
    return bool(_unusable(session, earlier)) or (job is not None and job.created_at > earlier[-1].created_at)


def _notice(session: Session, pair: Pair, earlier: Sequence[StudioTask]) -> str:
    """What the reviewer is told when a revision comes back."""
    if not earlier:
        return ""
    job = Jobs(session).last_of(pair=pair)
    failed = job.reason if job is not None and job.state in ("done", "failed") else None
    return _unusable(session, earlier) or (f"your fix led to no new revision: {on_page(failed)}" if failed else "")


def _unusable(session: Session, earlier: Sequence[StudioTask]) -> str:
    """What was wrong with the last annotation of the last task; empty when it was of use."""
    read = Studio(session).annotations(earlier[-1]) if earlier else ()
    return f"your last annotation could not be used: {read[-1].note}" if read and read[-1].outcome == "invalid" else ""


def _make(
    workspace: Workspace, connection: Connection, project: StudioProject, wanted: Sequence[_Wanted], links: Links
) -> None:
    """Claims, makes and records one chunk."""
    with workspace.database.write() as session:
        studio = Studio(session)
        for item in wanted:
            studio.add(
                StudioTask(
                    project_id=project.id,
                    key=item.key,
                    photo_id=item.photo_id,
                    revision_id=item.revision_id,
                    notice=item.notice,
                )
            )
    with workspace.database.read() as session:
        studio = Studio(session)
        claimed = studio.claimed(project)
        request = [_task(workspace, task, studio.before(task), links) for task in claimed]
        keys = [task.key for task in claimed]
    with understood(connection.url):
        made = connection.api.projects.import_tasks(
            id=project.external_id,
            request=request,  # type: ignore[arg-type]
            return_task_ids=True,
            request_options={"max_retries": 0},  # it may have them, and its answer was lost
        )
    numbers = dict(zip(keys, getattr(made, "task_ids", None) or (), strict=False))
    if len(numbers) < len(keys):
        raise StudioError(
            f"the Label Studio at {connection.url} does not say which tasks it made: push again in a moment, "
            "what it has made until then is found"
        )
    if request and not getattr(made, "prediction_count", None):
        _add_predictions(connection, request, numbers)
    _record(workspace, project, numbers)


def _add_predictions(connection: Connection, request: list[dict[str, Any]], numbers: dict[str, int]) -> None:
    """Makes up for an import that took the tasks and lost their predictions, as Label Studio's does when its SQLite
    file was locked at first; it says that it took none."""
    with understood(connection.url):
        for task in request:
            for made in task.get("predictions", ()):
                connection.api.predictions.create(task=numbers[task["data"]["key"]], **made)


def _task(workspace: Workspace, task: StudioTask, parent: StudioTask | None, links: Links) -> dict[str, Any]:
    """What Label Studio is given: the revision with its prediction, or the photo alone."""
    if task.revision is None:
        recipe = Recipe.load(workspace.settings.recipe)
        return {"data": photo_task_data(task.photo, links, recipe.max_side, task.notice) | {"key": task.key}}
    made = load_reconstruction(task.revision, workspace.blobs)
    return {
        "data": task_data(task.revision, made, links, task.notice) | {"key": task.key},
        "meta": {"parent_task": None if parent is None else parent.external_id},
        "predictions": [prediction(made, first=task.revision.trigger == "review" or bool(task.notice))],
    }


def _record(workspace: Workspace, project: StudioProject, numbers: dict[str, int]) -> None:
    """The tasks are there."""
    with workspace.database.write() as session:
        for task in Studio(session).claimed(project):
            if task.key not in numbers:
                continue
            task.external_id, task.state = numbers[task.key], "open"
            if task.revision is not None and task.revision.number == task.revision.pair.revision_number:
                Pairs(session).move(task.revision.pair, "preannotated", "in_review")


def _adopt(workspace: Workspace, connection: Connection, project: StudioProject) -> int:
    """Finishes what a push that died had claimed: tasks the server has are ours, the other claims are void."""
    with workspace.database.read() as session:
        claimed = {task.key for task in Studio(session).claimed(project)}
    if not claimed:
        return 0
    with understood(connection.url):
        there: Any = connection.api.tasks.list(project=project.external_id, fields="task_only")
        found = {t.data["key"]: t for t in there if isinstance(t.data, dict) and t.data.get("key") in claimed}
    numbers = {key: task.id for key, task in found.items()}
    with workspace.database.read() as session:
        bare = [t for t in Studio(session).claimed(project) if t.key in found and not found[t.key].total_predictions]
        request = [_task(workspace, task, None, Links.of(workspace)) for task in bare]
    _add_predictions(connection, request, numbers)
    _record(workspace, project, numbers)
    with workspace.database.write() as session:
        Studio(session).unclaim(project)
    return len(numbers)
