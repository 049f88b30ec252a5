"""The use cases, one function each. They raise the errors a user should see and print nothing.

ingest (ingestion.py) -> preannotate -> submit_review (accept, reject), fix (at once), submit_fix (as a job) or
submit_help (a photo without a pair) -> publish_dataset
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from annotator import work
from annotator.annotating import Annotated, annotate, take_over, wanted
from annotator.datasets import entries
from annotator.errors import BadRequest
from annotator.ingestion import Ingested, ingest
from annotator.progress import Progress
from annotator.publishing import publish
from annotator.reoptimising import carry_out, photo_task, plan, unmet
from annotator.reviewing import Change, fingerprint, first_hand
from annotator.workspace import Workspace
from db.errors import NotFound
from db.models import Export, Job, Pair, PairStatus, Review, Revision, Verdict
from db.repositories import Artifacts, Exports, Pairs, Photos, Reviews, Revisions
from exports.base import ExportSummary, get_format
from pipeline import requirements
from pipeline.recipe import Recipe

if TYPE_CHECKING:
    from annotator.jobs import JobQueue

__all__ = ["Ingested", "fix", "ingest", "preannotate", "publish_dataset", "submit_fix", "submit_help", "submit_review"]


def preannotate(
    workspace: Workspace,
    recipe: Recipe,
    *,
    limit: int | None = None,
    redo: bool = False,
    retry: bool = False,
    jobs: int | None = None,
    progress: Progress,
) -> Annotated:
    """Runs the pipeline on every photo that waits for it, in ingest order, here.

    `retry` also takes the photos that failed, `redo` all photos. What waits in the queue is taken over from there.

    Each photo is recorded when it is done, so an interrupted run goes on where it was. Pairs a person has
    reviewed keep what was reviewed.
    """
    result = Annotated()
    with workspace.claimed("preannotate"):
        photos = take_over(workspace, wanted(retry=retry, redo=redo), limit)
        if not photos:
            return result
        workers = requirements.processes(recipe, workspace.settings.jobs if jobs is None else jobs)
        log = workspace.root / "worker.log"
        log.unlink(missing_ok=True)
        progress.begin(len(photos))
        tasks = [photo_task(workspace, photo, recipe) for photo in photos]
        run = partial(work.run, jobs=workers, log=log)
        annotate(workspace, tasks, run, "redo" if redo else "preannotate", result, progress)
    return result


@dataclass(frozen=True)
class Reviewed:
    """What a verdict changed."""

    pair: str
    revision: int  # the one the reviewer saw
    status: PairStatus
    recorded: bool  # False: the same verdict was the last one already


def submit_review(
    workspace: Workspace,
    name: str,
    verdict: Verdict,
    *,
    reviewer: str,
    comment: str = "",
    number: int | None = None,
    source: str = "cli",
    external_id: str | None = None,
) -> Reviewed:
    """Records accept or reject on the revision the reviewer saw (the newest when `number` is None).

    The pair's status follows only when that is still its newest revision. Repeating a verdict changes nothing.
    """
    with workspace.database.write() as session:
        pair = Pairs(session).lock(Pairs(session).find(name))
        revision = Revisions(session).get(pair, number)
        recorded = (
            add_review(session, pair, revision, verdict, reviewer, comment, {}, source, {}, external_id) is not None
        )
        if recorded and revision.number == pair.revision_number:
            pair.status = "accepted" if verdict == "accept" else "rejected"
        return Reviewed(pair.public_id, revision.number, pair.status, recorded)


def add_review(
    session: Session,
    pair: Pair,
    revision: Revision,
    verdict: Verdict,
    reviewer: str,
    comment: str,
    edits: dict[str, Any],
    source: str,
    masks: dict[str, bytes],
    external_id: str | None = None,
) -> Review | None:
    """The recorded review with its masks (in the store already), or None when it is the pair's last one over again.

    A review from outside is known by its external id. One from the command line is known by what it follows: a
    person may accept, reject, and accept again.
    """
    content = [pair.public_id, revision.number, verdict, reviewer, comment, edits, source]
    earlier = Reviews(session).of_pair(pair)
    if external_id is None and earlier:
        last = earlier[-1]
        if [verdict, reviewer, comment, edits] == [last.verdict, last.reviewer, last.comment, last.edits] and (
            last.revision_id == revision.id
        ):
            return None
    digest = fingerprint(*content, external_id or (earlier[-1].digest if earlier else None))
    if Reviews(session).by_digest(digest) is not None:
        return None
    review = Review(
        revision_id=revision.id,
        digest=digest,
        verdict=verdict,
        reviewer=reviewer,
        comment=comment,
        edits=edits,
        source=source,
        external_id=external_id,
    )
    Reviews(session).add(review)
    for role, data in masks.items():
        Reviews(session).attach(review, role, Artifacts(session).ensure(edits[role], "image/png", len(data)))
    return review


@dataclass(frozen=True)
class Fixed:
    """What a fix made of a pair."""

    pair: str
    before: int
    revision: int  # the newest one now; equal to `before` when the edits change nothing
    reused: tuple[str, ...]  # stages the cache answered
    seconds: dict[str, float]
    metrics: dict[str, tuple[float | None, float | None]]  # before, after; how well the edits are met among them
    unmet: tuple[str, ...]  # what was asked for and could not be done


def fix(
    workspace: Workspace,
    name: str,
    change: Change,
    *,
    reviewer: str,
    comment: str = "",
    recipe: str | None = None,
) -> Fixed:
    """Re-optimises a pair under all edits so far and this one; review and revision are recorded together.

    Only the stages an edit invalidates are run again. Nothing is recorded when the edits cannot be carried out.
    """
    with workspace.database.read() as session:
        pair = Pairs(session).find(name)
        edits = change.checked((pair.photo.height or 0, pair.photo.width or 0))
        for data in change.masks.values():
            workspace.blobs.put(data)
        planned = plan(workspace, session, pair, edits, recipe)
        before = Revisions(session).get(pair)
    workers = min(1, workspace.settings.jobs)
    answer, satisfied = carry_out(planned, lambda task: next(work.run([task], workers, workspace.root / "worker.log")))
    workspace.blobs.put(answer.npz)
    with workspace.database.write() as session:
        pair = Pairs(session).find(name)
        now = Revisions(session).get(pair, planned.seen)
        add_review(session, pair, now, "fix", reviewer, comment, edits, "cli", change.masks)
        if answer.digest != now.content_digest:
            now = publish(session, pair, answer, planned.task.recipe, "review", expected=planned.seen)
        changed = {key: (before.metrics.get(key), value) for key, value in now.metrics.items()} | satisfied
        return Fixed(
            pair.public_id,
            planned.seen,
            now.number,
            answer.reused,
            answer.seconds,
            changed,
            unmet(planned.edits, before, now),
        )


def submit_fix(
    workspace: Workspace,
    queue: JobQueue,
    name: str,
    change: Change,
    *,
    reviewer: str,
    comment: str = "",
    number: int | None = None,
    source: str = "cli",
    external_id: str | None = None,
) -> Reviewed:
    """Records a fix on the revision the reviewer saw, and with it the job that carries it out.

    The same fix a second time changes nothing. Raises BadEdit or EmptyMask, and then nothing is recorded.
    """
    with workspace.database.read() as session:
        photo = Pairs(session).find(name).photo
        edits = change.checked((photo.height or 0, photo.width or 0))
    for data in change.masks.values():
        workspace.blobs.put(data)
    with workspace.database.write() as session:
        pair = Pairs(session).find(name)
        revision = Revisions(session).get(pair, number)
        review = add_review(session, pair, revision, "fix", reviewer, comment, edits, source, change.masks, external_id)
        if review is not None:
            queue.add(session, Job(kind="reoptimise", photo=pair.photo, pair=pair, review_id=review.id))
            pair.status = "reoptimising"
        return Reviewed(pair.public_id, revision.number, pair.status, review is not None)


def submit_help(workspace: Workspace, queue: JobQueue, sha256: str, change: Change) -> bool:
    """Takes what a person drew on a photo that gave no pair, and queues its first revision; False when it has one.

    Where the hand is comes from keypoints, a box or the hand's mask. Raises BadEdit or EmptyMask.
    """
    with workspace.database.read() as session:
        photo = Photos(session).by_sha256(sha256)
        if photo is None:
            raise NotFound(f"photo {sha256[:12]}: not in this workspace")
        edits = change.checked((photo.height or 0, photo.width or 0))
        hand = first_hand(change, (photo.height or 0, photo.width or 0))
    for data in change.masks.values():
        workspace.blobs.put(data)
    with workspace.database.write() as session:
        photo = Photos(session).get(photo.id)
        if any(pair.revision_number for pair in photo.pairs):
            return False
        edits.pop("box", None)
        photo.hints = {"hands": [hand], "edits": {"0": edits}}
        for role, data in change.masks.items():
            Artifacts(session).ensure(edits[role], "image/png", len(data))
        queue.add(session, Job(kind="annotate", photo=photo))
    return True


def publish_dataset(
    workspace: Workspace,
    format_name: str,
    out: Path,
    *,
    statuses: Sequence[PairStatus] = ("accepted",),
    licences: Sequence[str] = (),
    jobs: int | None = None,
    settings: dict[str, Any] | None = None,
    progress: Progress,
) -> ExportSummary:
    """Writes the newest revisions of all pairs in `statuses` as a dataset, and remembers that it did.

    `licences` keeps photos under these licences only; `settings` are those of `exports.writing.write` and of the
    format. Raises ExportError, BadRequest when nothing is left.
    """
    format = get_format(format_name)
    with workspace.database.read() as session:
        found = list(Revisions(session).newest(statuses))
        said = " or ".join(statuses)
        if not found:
            remedy = ": accept some with 'hoi-annotate review accept PAIR'" if "accepted" in statuses else ""
            raise BadRequest(f"no pair is {said}{remedy}")
        under = [revision.pair.photo.licence or "unknown" for revision in found]
        revisions = [r for r, licence in zip(found, under, strict=True) if not licences or licence in licences]
        if not revisions:
            others = ", ".join(sorted(set(under)))
            raise BadRequest(f"no pair that is {said} is under {' or '.join(licences)}: theirs are {others}")
        records = entries(revisions, workspace.blobs)
    progress.begin(len(records))

    def told(pair: str, reason: str | None) -> None:
        progress.done(pair, "written") if reason is None else progress.done(pair, f"left out: {reason}")

    workers = workspace.settings.jobs if jobs is None else jobs
    summary = format.write(records, out, jobs=workers, progress=told, **(settings or {}))
    filters = {"statuses": list(statuses), "licences": list(licences), "options": settings or {}}
    with workspace.database.write() as session:
        row = Export(
            format=format_name,
            filters=filters,
            snapshot_digest=summary.digest,
            records=summary.count,
            path=str(out.absolute()),
        )
        Exports(session).add(row)
    return summary
