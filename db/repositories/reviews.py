"""Verdicts; the same verdict on the same revision counts once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, contains_eager

from db.models import Artifact, Pair, Review, ReviewArtifact, Revision


class Reviews:
    def __init__(self, session: Session) -> None:
        self._session = session

    def by_digest(self, digest: str) -> Review | None:
        return self._session.scalar(select(Review).where(Review.digest == digest))

    def add(self, review: Review) -> Review:
        self._session.add(review)
        self._session.flush()
        return review

    def attach(self, review: Review, role: str, artifact: Artifact) -> None:
        """An edited mask."""
        self._session.add(ReviewArtifact(review_id=review.id, role=role, artifact_id=artifact.id))

    def of_pair(self, pair: Pair) -> Sequence[Review]:
        """All reviews of a pair's revisions, oldest first."""
        query = select(Review).join(Review.revision).where(Revision.pair_id == pair.id).order_by(Review.id)
        return self._session.scalars(query).all()

    def all(self) -> Sequence[Review]:
        """All reviews, oldest first, with recipe and confidence of the revisions they are about."""
        about = contains_eager(Review.revision).load_only(Revision.recipe, Revision.confidence)
        query = select(Review).join(Review.revision).options(about).order_by(Review.id)
        return self._session.scalars(query).all()

    def counts(self) -> dict[str, int]:
        """How many reviews came to each verdict."""
        query = select(Review.verdict, func.count()).group_by(Review.verdict).order_by(Review.verdict)
        return {str(verdict): number for verdict, number in self._session.execute(query).tuples()}
