"""Revisions of pairs: the newest, the earlier ones, and the digest over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from db.errors import NotFound
from db.models import Artifact, Pair, PairStatus, Revision, RevisionArtifact


class Revisions:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, pair: Pair, number: int | None = None) -> Revision:
        """A revision by number, the newest when none is given. Raises NotFound."""
        wanted = pair.revision_number if number is None else number
        query = select(Revision).where(Revision.pair_id == pair.id, Revision.number == wanted)
        revision = self._session.scalar(query)
        if revision is None:
            has = f"it has 1 to {pair.revision_number}" if pair.revision_number else "it has none"
            raise NotFound(f"pair {pair.public_id}: no revision {wanted}; {has}")
        return revision

    def newest(self, statuses: Sequence[PairStatus] = ()) -> Sequence[Revision]:
        """The newest revision of every pair, in ingest order, with pair and photo."""
        query = (
            select(Revision)
            .join(Revision.pair)
            .where(Revision.number == Pair.revision_number)
            .options(joinedload(Revision.pair).joinedload(Pair.photo), selectinload(Revision.reviews))
            .order_by(Pair.photo_id, Pair.index)
        )
        return self._session.scalars(query.where(Pair.status.in_(statuses)) if statuses else query).all()

    def attach(self, revision: Revision, role: str, artifact: Artifact) -> None:
        self._session.add(RevisionArtifact(revision_id=revision.id, role=role, artifact_id=artifact.id))

    def counts(self) -> dict[str, int]:
        """How many revisions each trigger made."""
        query = select(Revision.trigger, func.count()).group_by(Revision.trigger).order_by(Revision.trigger)
        return dict(self._session.execute(query).tuples().all())

    def digest(self) -> tuple[str, int]:
        """sha256 over the sorted content digests of all revisions, and how many there are."""
        digests = sorted(self._session.scalars(select(Revision.content_digest)))
        return hashlib.sha256("\n".join(digests).encode()).hexdigest(), len(digests)

    def newest_id(self) -> int:
        """The greatest id; 0 without revisions."""
        return self._session.scalar(select(func.max(Revision.id))) or 0

    def seconds(self, recipe_digest: str, limit: int) -> list[float]:
        """What the newest revisions of a recipe took, all stages together."""
        query = select(Revision.seconds).where(Revision.recipe_digest == recipe_digest)
        found = self._session.scalars(query.order_by(Revision.id.desc()).limit(limit))
        return [sum(stages.values()) for stages in found]
