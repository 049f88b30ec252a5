"""Photos -> pairs, in bulk: the one function every engine runs, here, in a worker's chunk or on a Ray cluster.

A photo waits in its row (`pending`) for a local run or for the chunk it is queued in. Its answer is written in the
transaction that ends the wait, so it counts once however often it was computed, and not at all when somebody else was
faster or the photo was queued again meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.exc import IntegrityError

from annotator import logs
from annotator.progress import Progress
from annotator.publishing import publish_answer, retire
from annotator.records import without_name
from annotator.reoptimising import photo_task
from annotator.work import MOST_TRIES, Outcome, Task
from annotator.workspace import Workspace
from db.errors import RevisionConflict
from db.models import Photo, PhotoStatus
from db.repositories import Photos
from exports.text import counted
from pipeline import requirements
from pipeline.recipe import Recipe

_MOST_MOVES = 5  # of a pair under our hands

_TAKEN: tuple[PhotoStatus, ...] = ("pending", "failed", "done")  # by a plain run, also by retry, also by redo

log = logs.get_logger(__name__)

Run = Callable[[Iterable[Task]], Iterator[Outcome]]


@dataclass
class Annotated:
    """What a run of `preannotate` did."""

    photos: int = 0
    published: list[str] = field(default_factory=list)  # pairs that got a new revision
    unchanged: list[str] = field(default_factory=list)  # pairs whose newest revision came out again
    failed: list[tuple[str, str]] = field(default_factory=list)  # (photo, reason)


def wanted(*, retry: bool, redo: bool) -> tuple[PhotoStatus, ...]:
    """States of the photos to take: `retry` also takes those that failed, `redo` all."""
    return _TAKEN[: 3 if redo else 2 if retry else 1]


def costs(
    workspace: Workspace, recipe: Recipe, *, limit: int | None = None, retry: bool = False, redo: bool = False
) -> list[str]:
    """What paid services will ask for the photos such a run takes, if each shows one object."""
    with workspace.database.read() as session:
        photos = len(Photos(session).readable(wanted(retry=retry, redo=redo), limit))
    return requirements.costs(recipe, photos) if photos else []


def take_over(workspace: Workspace, statuses: Sequence[PhotoStatus], limit: int | None) -> Sequence[Photo]:
    """The readable photos in these states, in ingest order; from now on they wait for this run and in no queue."""
    with workspace.database.write() as session:
        ids = Photos(session).readable(statuses, limit, lock=True)
        Photos(session).await_again(ids, None)
    with workspace.database.read() as session:
        return Photos(session).some(ids)


def annotate(
    workspace: Workspace, tasks: Iterable[Task], run: Run, trigger: str, result: Annotated, progress: Progress
) -> None:
    """Carries the tasks out and records each photo when it is done: bytes first, then all its rows at once."""
    for outcome in run(tasks):
        for answer in outcome.answers:
            if answer.npz:
                workspace.blobs.put(answer.npz)
        _record(workspace, outcome, trigger, result, progress)


def begun(workspace: Workspace, recipe: Recipe, photos: Sequence[Photo]) -> Iterator[Task]:
    """The photos' tasks, each counted as a try when it is asked for. One that ended MOST_TRIES workers fails here."""
    for photo in photos:
        with workspace.database.write() as session:
            number = Photos(session).begin(photo.id, photo.chunk_id)
            if number is not None and number > MOST_TRIES:
                reason = f"its worker died {MOST_TRIES} times while it was annotated"
                Photos(session).settle(photo.id, photo.chunk_id, "failed", reason, [])
                log.warning("photo failed", photo=photo.name, reason=reason)
        if number is not None and number <= MOST_TRIES:
            yield photo_task(workspace, photo, recipe)


def _record(workspace: Workspace, outcome: Outcome, trigger: str, result: Annotated, progress: Progress) -> None:
    for _ in range(_MOST_MOVES):
        try:
            written = _write(workspace, outcome, trigger)
            break
        except (RevisionConflict, IntegrityError) as error:  # a reviewer's job published one of its pairs meanwhile
            why: Exception = error
    else:
        written = _write(workspace, replace(outcome, answers=(), failure=_why_never(why)), trigger)
    if written is None:
        return
    reason, published, unchanged = written
    name = outcome.task.name
    result.photos += 1
    result.published += published
    result.unchanged += unchanged
    if reason is not None:
        result.failed.append((name, reason))
        progress.failed(name, reason)
        return
    progress.done(name, said(len(published) + len(unchanged), [answer.seconds for answer in outcome.answers]))


def _why_never(error: Exception) -> str:
    """As when another photo's pair has the name of one of its pairs."""
    why = str(error.orig).strip().splitlines()[0] if isinstance(error, IntegrityError) else "they kept changing"
    return f"its pairs cannot be recorded: {why}; 'hoi-annotate preannotate --retry' tries again"


def said(pairs: int, seconds: Sequence[dict[str, float]]) -> str:
    """The line about a photo that is done."""
    took = max((sum(stages.values()) for stages in seconds), default=0.0)
    return f"{counted(pairs, 'pair')}, {took:.1f} s"


def _write(workspace: Workspace, outcome: Outcome, trigger: str) -> tuple[str | None, list[str], list[str]] | None:
    """(why it failed, pairs with a new revision, pairs as before); None when the photo did not wait for us."""
    task = outcome.task
    reason = None if outcome.failure is None else without_name(outcome.failure, task.name)
    notes = [{"hand": a.index, "reason": without_name(a.reason, task.name)} for a in outcome.answers if a.reason]
    published: list[str] = []
    unchanged: list[str] = []
    with workspace.database.write() as session:
        photos = Photos(session)
        if not photos.settle(task.photo_id, task.chunk_id, "done" if reason is None else "failed", reason, notes):
            return None
        if reason is None:
            photo = photos.get(task.photo_id)
            made = [answer for answer in outcome.answers if answer.npz]
            for answer in made:
                pair, is_new = publish_answer(session, photo, answer, task.recipe, trigger)
                (published if is_new else unchanged).append(pair.public_id)
            retire(session, photo, {answer.index for answer in made})
    return reason, published, unchanged
