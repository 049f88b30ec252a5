"""Work that waits for workers of another version: none of this version takes it until it is queued anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sqlalchemy import String, column, select
from sqlalchemy.orm import Session

from annotator.jobs.queue import BULK, REVIEW, VERSION, JobQueue, engine_table
from annotator.workspace import Workspace
from db.models import Chunk, Job
from db.repositories import Chunks, Jobs, Photos
from pipeline.recipe import Recipe

_REMEDY = "'hoi-annotate db upgrade' queues that anew"
_AT_ONCE = 20  # entries in one transaction


def left_behind(session: Session) -> Iterator[tuple[str, str]]:
    """What and why, for each other version that there is work for."""
    for version, count in sorted(Counter(version for _, version in _entries(session)).items()):
        wait = "1 entry is" if count == 1 else f"{count} entries are"
        yield "queue", f"{wait} for workers of version {version}, this program's have version {VERSION}: {_REMEDY}"


def requeue(workspace: Workspace) -> int:
    """Queues it anew; how many entries of the queue that were. Interrupted, the same again goes on."""
    with workspace.database.read() as session:
        names = [name for name, _ in _entries(session)]
    if not names:
        return 0
    queue = JobQueue(workspace)
    try:
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            with workspace.database.write() as session:
                for name in some:
                    _again(session, queue, name)
            queue.cancel(some)
    finally:
        queue.close()
    return len(names)


def _entries(session: Session) -> Sequence[tuple[str, str]]:
    """(name, version) of the engine's unfinished entries for earlier versions; newer ones are for newer programs."""
    entries = engine_table(session)
    if entries is None:
        return []  # nothing was ever queued
    name, version = column("workflow_uuid", String), column("application_version", String)
    ours = column("name").in_((REVIEW, BULK)) & column("status").in_(("ENQUEUED", "PENDING"))
    found = select(name, version).select_from(entries).where(ours, version != VERSION)
    unlike = session.execute(found.order_by(name)).tuples()
    return [(entry, its) for entry, its in unlike if its.isdecimal() and int(its) < int(VERSION)]


def _again(session: Session, queue: JobQueue, name: str) -> None:
    kind, _, number = name.partition("-")
    if kind == "chunk" and (chunk := session.get(Chunk, int(number))):
        left = [photo.id for photo in Photos(session).waiting(chunk.id)]
        if left:
            queue.add_chunk(session, Recipe(**chunk.recipe), chunk.trigger, left)
        Chunks(session).end(chunk.id)
    job = session.get(Job, int(number)) if kind == "job" else None
    if job and Jobs(session).end(job, "superseded", reason="queued anew for workers of another version"):
        queue.add(session, Job(kind=job.kind, photo=job.photo, pair=job.pair, review_id=job.review_id))
