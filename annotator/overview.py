"""What is in a workspace, to be shown: plain values in the shapes that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from annotator.records import METRICS, load_photo, load_reconstruction, provenance
from annotator.workspace import Workspace
from db.models import Pair, PairStatus, Revision
from db.repositories import Chunks, Jobs, Pairs, Photos, Reviews, Revisions, Workers
from exports.text import counted

if TYPE_CHECKING:
    from annotator.report.view import PairView


def status(workspace: Workspace) -> dict[str, Any]:
    """{"photos", "pairs", "by_status", "jobs", "failed": [{"photo", "reason"}]}; `failed`: photos without a pair."""
    with workspace.database.read() as session:
        by_status = Pairs(session).counts()
        return {
            "photos": sum(Photos(session).counts().values()),
            "pairs": sum(by_status.values()),
            "by_status": by_status,
            "jobs": Jobs(session).counts(),
            "failed": [{"photo": p.name, "reason": p.reason} for p in Photos(session).without_pair()],
        }


def waiting(workspace: Workspace) -> int:
    """How many photos have not been annotated yet."""
    with workspace.database.read() as session:
        return Photos(session).counts().get("pending", 0)


def work(workspace: Workspace) -> dict[str, Any]:
    """Who works, on what, and what waits: {"workers", "waiting", "chunks", "jobs", "stuck"}.

    `waiting`: photos in the queue; `stuck`: what a worker began that no longer lives, or what is begun ever again.
    """
    with workspace.database.read() as session:
        live = Workers(session).live(workspace.settings.worker_timeout)
        begun: dict[str | None, list[str]] = {worker.name: [] for worker, _ in live}
        stuck: list[str] = []
        for chunk in Chunks(session).running():
            doing = f"chunk {chunk.id} of {counted(chunk.photos, 'photo')}"
            begun[chunk.worker].append(doing) if chunk.worker in begun else stuck.append(f"{doing}, {chunk.worker}")
        for job in Jobs(session).running():
            doing = f"job {job.id} ({job.kind} {job.pair.public_id if job.pair else job.photo.name})"
            begun[job.worker].append(doing) if job.worker in begun else stuck.append(f"{doing}, {job.worker}")
        return {
            "workers": [
                {
                    "name": w.name,
                    "host": w.host,
                    "pid": w.pid,
                    "version": w.version,
                    "seen_s": round(s, 1),
                    "doing": begun[w.name],
                }
                for w, s in live
            ],
            "waiting": Photos(session).queued(),
            "chunks": Chunks(session).counts(),
            "jobs": Jobs(session).counts(),
            "stuck": stuck,
        }


def notes(workspace: Workspace) -> list[tuple[str, str]]:
    """Hands that gave no pair in photos that gave others: (photo, reason)."""
    with workspace.database.read() as session:
        return [(photo.name, note["reason"]) for photo in Photos(session).all(["done"]) for note in photo.notes]


def pairs(workspace: Workspace, statuses: Sequence[PairStatus] = ()) -> list[dict[str, Any]]:
    """One entry for every pair: pair, photo, side, status, revision, confidence, metrics, seconds."""
    with workspace.database.read() as session:
        newest = {revision.pair_id: revision for revision in Revisions(session).newest(statuses)}
        return [_entry(pair, newest.get(pair.id)) for pair in Pairs(session).all(statuses)]


def _entry(pair: Pair, revision: Revision | None) -> dict[str, Any]:
    metrics = {} if revision is None else revision.metrics
    return {
        "pair": pair.public_id,
        "photo": pair.photo.name,
        "side": pair.side,
        "status": pair.status,
        "revision": pair.revision_number,
        "confidence": None if revision is None else revision.confidence,
        "metrics": {name: metrics.get(name) for name in METRICS},
        "seconds": {} if revision is None else revision.seconds,
    }


def details(workspace: Workspace, name: str, number: int | None = None) -> dict[str, Any]:
    """Everything the rows know of one pair's revision (the newest when `number` is None)."""
    with workspace.database.read() as session:
        pair = Pairs(session).find(name)
        revision = Revisions(session).get(pair, number)
        return _entry(pair, revision) | {
            "revision": revision.number,
            "reason": pair.reason,
            "trigger": revision.trigger,
            "camera": revision.camera,
            "hand": revision.hand,
            "object": revision.object,
            "contacts": revision.contacts,
            "metrics": revision.metrics,
            "diagnostics": revision.diagnostics,
            "provenance": provenance(revision),
            "history": _history(pair, Reviews(session)),
        }


def digest(workspace: Workspace) -> tuple[str, int]:
    """sha256 over the sorted digests of all revisions, and their number: equal for equal work."""
    with workspace.database.read() as session:
        return Revisions(session).digest()


def state(workspace: Workspace) -> list[Any]:
    """What a report depends on; equal states give equal reports."""
    with workspace.database.read() as session:
        shown = [
            [r.pair.public_id, r.content_digest, r.number, r.pair.status, [review.digest for review in r.reviews]]
            for r in Revisions(session).newest()
        ]
        return [shown, [[photo.name, photo.reason] for photo in Photos(session).without_pair()]]


def views(workspace: Workspace, statuses: Sequence[PairStatus] = ()) -> Iterator[PairView]:
    """What a report shows of every pair, one at a time: pictures and meshes are read as they are asked for."""
    from annotator.report import PairView

    with workspace.database.read() as session:
        for revision in Revisions(session).newest(statuses):
            made = load_reconstruction(revision, workspace.blobs)
            yield PairView(
                pair_id=revision.pair.public_id,
                photo_name=revision.pair.photo.name,
                photo=load_photo(revision.pair.photo, made, workspace.blobs),
                reconstruction=made,
                status=revision.pair.status,
                revision=revision.number,
                verdict=revision.reviews[-1].verdict if revision.reviews else None,
                confidence=revision.confidence or 0.0,
                seconds=revision.seconds,
                history=_history(revision.pair, Reviews(session)),
            )


def _history(pair: Pair, reviews: Reviews) -> list[dict[str, Any]]:
    """The pair's revisions and the reviews each was given, oldest first."""
    given: dict[int, list[dict[str, Any]]] = {}
    for review in reviews.of_pair(pair):
        said = {"verdict": review.verdict, "reviewer": review.reviewer, "comment": review.comment}
        given.setdefault(review.revision_id, []).append(said | {"edits": review.edits})
    return [
        {"revision": r.number, "trigger": r.trigger, "confidence": r.confidence, "reviews": given.get(r.id, [])}
        for r in pair.revisions
    ]
