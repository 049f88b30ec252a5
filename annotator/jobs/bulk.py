"""Photos in chunks: enqueue, carry out, watch. A chunk is LONG_S of work, so that a reviewer's job, which comes before
the next one, need not wait longer; what is not done by then is queued again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median

from sqlalchemy.orm import Session

from annotator import logs, telling, work
from annotator.annotating import Annotated, annotate, begun, said, wanted
from annotator.jobs.outages import NO_FAULT, Tries, known
from annotator.jobs.queue import JobQueue
from annotator.progress import Progress
from annotator.workspace import Workspace
from db.models import Photo
from db.repositories import Chunks, Photos, Revisions, Workers
from pipeline.recipe import Recipe

LONG_S = 30.0
USUAL_S = 20.0  # what a new chunk is meant to take
UNKNOWN_S = 5.0  # a photo, before any was annotated
QUICK_S = 1.0  # the same where there are MANY: if it takes longer, what a chunk leaves is cut to size
MANY = 1000  # photos
MOST_PHOTOS = 100
_START = (
    "'hoi-annotate worker' starts one, here or on a machine with the same database_url; one just started counts when "
    "it is ready, in some seconds"
)
_AT_ONCE = 20  # chunks in one transaction

log = logs.get_logger(__name__)


def enqueue(
    workspace: Workspace,
    queue: JobQueue,
    recipe: Recipe,
    *,
    limit: int | None = None,
    retry: bool = False,
    redo: bool = False,
    size: int | None = None,
) -> int:
    """Queues every photo that waits for a local run, in chunks of `size`; how many photos that were.

    `retry` also takes the photos that failed, `redo` all. Interrupted, it goes on with what is not queued yet.
    """
    with workspace.database.read() as session:
        photos = Photos(session).readable(wanted(retry=retry, redo=redo), limit, queued=redo)
        taken = Revisions(session).seconds(recipe.digest, 50) or [QUICK_S if len(photos) >= MANY else UNKNOWN_S]
        size = size or _photos_in(USUAL_S, taken)
    trigger, count = "redo" if redo else "preannotate", 0
    for start in range(0, len(photos), size * _AT_ONCE):
        with workspace.database.write() as session:
            few = photos[start : start + size * _AT_ONCE]  # without those that somebody else has queued meanwhile
            few = Photos(session).readable(wanted(retry=retry, redo=redo), None, queued=redo, among=few, lock=True)
            for at in range(0, len(few), size):
                queue.add_chunk(session, recipe, trigger, few[at : at + size])
        count += len(few)
    return count


def _photos_in(seconds: float, taken: Sequence[float]) -> int:
    return max(1, min(MOST_PHOTOS, int(seconds / max(median(taken), 1e-3))))


class BulkJobs:
    """Carries chunks out, in the hands of worker `name`, until `stopping` says that it ends."""

    def __init__(
        self,
        workspace: Workspace,
        queue: JobQueue,
        name: str,
        perform: Callable[[work.Task], work.Outcome],
        stopping: Callable[[], bool],
    ) -> None:
        self._workspace, self._queue, self._name = workspace, queue, name
        self._perform, self._stopping = perform, stopping
        self._tries = Tries[Photo](workspace.database, lambda session, p: Photos(session).forgive(p.id, p.chunk_id))

    def carry_out(self, chunk_id: int) -> None:
        """Annotates the chunk's photos that wait; what is left when time is up or the worker ends is a new chunk.

        Raises what is no fault of a photo: no room, no weights, a database or store that does not answer.
        """
        database = self._workspace.database
        try:
            with known(database):
                self._carry_out(chunk_id)
        except NO_FAULT:
            raise
        except Exception as error:  # a bug: a chunk must have an end, or its photos wait for ever
            log.exception("chunk failed")
            with database.write() as session:
                for photo in Photos(session).waiting(chunk_id):
                    Photos(session).settle(photo.id, chunk_id, "failed", work.unexpected(error), [])
                Chunks(session).end(chunk_id)

    def _carry_out(self, chunk_id: int) -> None:
        self._tries.tell()
        with self._workspace.database.write() as session:
            Chunks(session).begin(chunk_id, self._name)
            chunk = Chunks(session).get(chunk_id)
            recipe, trigger = Recipe(**chunk.recipe), chunk.trigger
            photos = Photos(session).waiting(chunk_id)
            session.expunge_all()
        with telling.told_chunk(chunk_id, len(photos), recipe.name) as over:
            took: list[float] = []
            began = time.monotonic()
            for photo in photos:
                if self._stopping() or time.monotonic() > began + LONG_S:
                    break
                self._annotate(photo, recipe, trigger)
                took.append(time.monotonic() - began - sum(took))
            over(len(took), self._end(chunk_id, recipe, trigger, took))

    def _end(self, chunk_id: int, recipe: Recipe, trigger: str, took: Sequence[float]) -> int:
        """Ends the chunk; how many photos it leaves to new ones, which are as large as what was done `took`."""
        with self._workspace.database.write() as session:
            if Chunks(session).end(chunk_id):
                return 0
            left = [photo.id for photo in Photos(session).waiting(chunk_id)]
            size = _photos_in(USUAL_S, took or [UNKNOWN_S])
            for start in range(0, len(left), size):
                self._queue.add_chunk(session, recipe, trigger, left[start : start + size])
            Chunks(session).end(chunk_id)
        return len(left)

    def _annotate(self, photo: Photo, recipe: Recipe, trigger: str) -> None:
        def run(tasks: Iterable[work.Task]) -> Iterator[work.Outcome]:
            return map(self._perform, tasks)

        tasks, tell = begun(self._workspace, recipe, [photo]), telling.OfPhoto()
        with logs.bound(photo=photo.name):
            try:
                with self._tries.of(photo):
                    annotate(self._workspace, tasks, run, trigger, Annotated(), tell)
            except NO_FAULT:
                raise
            except Exception as error:  # a bug, or a recipe this program does not know, must not stop the queue
                log.exception("photo failed")
                with self._workspace.database.write() as session:
                    Photos(session).settle(photo.id, photo.chunk_id, "failed", work.unexpected(error), [])


def watch(
    workspace: Workspace, progress: Progress, say: Callable[[str], None] = lambda _: None, *, every_s: float = 1.0
) -> Annotated:
    """Tells how far the queue is until nothing waits in it, from our rows alone. Interrupt it whenever you like.

    `say` is told when no worker lives, or none any more: then nothing will become of what waits.
    """
    result, had, alone = Annotated(), False, False
    with workspace.database.read() as session:
        newest, total = Revisions(session).newest_id(), Photos(session).queued()
        known = set(Chunks(session).unfinished())
        told = {photo.id for photo in Photos(session).settled(sorted(known & _running(session)))}
    last = max(known, default=0)
    progress.begin(total)
    while known:
        looked = time.monotonic()
        with workspace.database.read() as session:  # in this order: what ends meanwhile is told of now or next time
            waits = Photos(session).queued()
            known |= set(Chunks(session).after(last))
            last = max(known)
            running, open_chunks = _running(session), set(Chunks(session).unfinished())
            over = known - open_chunks
            for photo in Photos(session).settled(sorted(over | running)):
                if photo.id not in told:
                    _tell(photo, newest, result, progress)
                told.add(photo.id)
                if photo.chunk_id in over:  # is not asked for again
                    told.discard(photo.id)
            known = open_chunks if waits else set()
            lives = bool(Workers(session).live(workspace.settings.worker_timeout))
        if known and not lives and not alone:
            say(f"{'the last worker has ended, and said why where it ran' if had else 'no worker lives'}: {_START}")
        had, alone = had or lives, not lives
        if known:
            time.sleep(max(every_s, 5 * (time.monotonic() - looked)))  # a long queue is not looked at all the time
    return result


def _running(session: Session) -> set[int]:
    return {chunk.id for chunk in Chunks(session).running()}


def _tell(photo: Photo, newest: int, result: Annotated, progress: Progress) -> None:
    result.photos += 1
    if photo.status == "failed":
        result.failed.append((photo.name, photo.reason or ""))
        progress.failed(photo.name, photo.reason or "")
        return
    taken = []
    for pair in photo.pairs:
        made = [revision for revision in pair.revisions if revision.number == pair.revision_number]
        taken += [revision.seconds for revision in made]
        for revision in made:
            (result.published if revision.id > newest else result.unchanged).append(pair.public_id)
    progress.done(photo.name, said(len(taken), taken))
