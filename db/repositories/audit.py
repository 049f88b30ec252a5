"""Whether all rows fit together, and which blobs they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, String, cast, func, literal, select, union_all
from sqlalchemy.orm import Session

from db.models import Artifact, Base, Chunk, Job, Pair, Photo, Review, Revision, RevisionArtifact

AT_ONCE = 1000  # rows
_READ = Photo.width.is_not(None)  # the bytes of a file that could not be read are not kept


class Audit:
    def __init__(self, session: Session) -> None:
        self._session = session

    def named(self) -> Iterator[tuple[str, int | None]]:
        """The blobs that rows name, each with its size where rows know it."""
        photos = select(Photo.sha256, literal(None, Artifact.size.type)).where(_READ)
        query = union_all(photos, select(Artifact.sha256, Artifact.size))
        yield from self._session.execute(query, execution_options={"yield_per": AT_ONCE}).tuples()

    def named_among(self, digests: Sequence[str]) -> set[str]:
        """Those of some blobs that rows name."""
        photos = select(Photo.sha256).where(_READ, Photo.sha256.in_(digests))
        artifacts = select(Artifact.sha256).where(Artifact.sha256.in_(digests))
        return {*self._session.scalars(photos), *self._session.scalars(artifacts)}

    def count(self, table: type[Base]) -> int:
        return self._session.scalar(select(func.count()).select_from(table)) or 0

    def counted_revisions(self) -> int:
        """How many revisions there are by what pairs say."""
        return self._session.scalar(select(func.sum(Pair.revision_number))) or 0

    def broken(self, role: str) -> Iterator[tuple[str, str]]:
        """Rows in no state or in two, as (what, what is wrong with it). `role`: the artifact every revision has."""
        for wrong, query in _rules(role).items():
            kind, _, what = wrong.partition(" ")
            for name in self._session.scalars(query):
                yield f"{kind} {name}", what


def _rules(role: str) -> dict[str, Select[Any]]:
    """What must not be: the names of the rows that are so."""
    paired = select(Pair.id).where(Pair.photo_id == Photo.id).exists()
    revisions = select(func.count()).where(Revision.pair_id == Pair.id).scalar_subquery()
    newest = select(func.max(Revision.number)).where(Revision.pair_id == Pair.id).scalar_subquery()
    worked_on = select(Job.id).where(Job.pair_id == Pair.id, Job.state.in_(("queued", "running"))).exists()
    awaited = select(Chunk.id).where(Chunk.id == Photo.chunk_id, Chunk.state != "done").exists()
    kept = select(RevisionArtifact.role).where(
        RevisionArtifact.revision_id == Revision.id, RevisionArtifact.role == role
    )
    revision = select(Pair.public_id + " revision " + cast(Revision.number, String)).join(Revision.pair)

    def said(verdict: str) -> ColumnElement[bool]:
        return select(Review.id).join(Review.revision).where(
            Revision.pair_id == Pair.id, Review.verdict == verdict
        ).exists()  # fmt: skip

    last = select(func.max(Review.id)).join(Review.revision).where(Revision.pair_id == Pair.id).correlate(Pair)
    settled = select(Review.id).join(Review.revision).where(
        Review.id == last.scalar_subquery(), Review.verdict != "fix", Revision.number == Pair.revision_number
    ).correlate(Pair).exists()  # fmt: skip
    photo, pair, job = select(Photo.name), select(Pair.public_id), select(cast(Job.id, String))
    over = Job.state.in_(("done", "superseded", "failed"))
    return {
        "photo is to be annotated or was, but could never be read": photo.where(Photo.status != "failed", ~_READ),
        "photo failed without a reason": photo.where(Photo.status == "failed", Photo.reason.is_(None)),
        "photo is done without a pair or a reason": photo.where(Photo.status == "done", ~paired, Photo.notes == []),
        "photo waits in a chunk that is over": photo.where(
            Photo.status == "pending", Photo.chunk_id.is_not(None), ~awaited
        ),
        "pair does not count its revisions right": pair.where(
            (Pair.revision_number != revisions) | (Pair.revision_number != func.coalesce(newest, 0))
        ),
        "pair has a status but no revision": pair.where(
            Pair.status.not_in(("pending", "failed")), Pair.revision_number == 0
        ),
        "pair failed without a reason": pair.where(Pair.status == "failed", Pair.reason.is_(None)),
        "pair is reoptimising, but no job works on it": pair.where(Pair.status == "reoptimising", ~worked_on),
        "pair is accepted, but nobody said so": pair.where(Pair.status == "accepted", ~said("accept")),
        "pair is rejected, but nobody said so": pair.where(Pair.status == "rejected", ~said("reject")),
        "pair waits for a reviewer, but one has accepted or rejected it": pair.where(
            Pair.status.in_(("preannotated", "in_review")), settled
        ),
        "pair has a revision without its reconstruction": revision.where(~kept.exists()),
        "job is over, but not since when": job.where(over, Job.finished_at.is_(None)),
        "job is not over, but has an end": job.where(~over, Job.finished_at.is_not(None)),
        "job is running, but not since when": job.where(Job.state == "running", Job.started_at.is_(None)),
        "job failed without a reason": job.where(Job.state == "failed", Job.reason.is_(None)),
        "job is done without a revision or a reason": job.where(
            Job.state == "done", Job.revision_id.is_(None), Job.reason.is_(None)
        ),
    }
