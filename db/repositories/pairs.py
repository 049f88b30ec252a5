"""Hand-object pairs: their names, their status, and the one way to give them a new revision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session, joinedload

from db.errors import NotFound, RevisionConflict
from db.models import Pair, PairStatus, Photo, Revision

SHA_DIGITS = 12  # of the photo's digest in a pair's name: a collision needs millions of photos


def public_id(sha256: str, index: int) -> str:
    """The name of a pair: the same for the same photo and hand, in every workspace."""
    return f"{sha256[:SHA_DIGITS]}-{index}"


class Pairs:
    def __init__(self, session: Session) -> None:
        self._session = session

    def ensure(self, photo: Photo, index: int) -> Pair:
        """The pair of this hand, made when it is not there yet."""
        pair = self._session.scalar(select(Pair).where(Pair.photo_id == photo.id, Pair.index == index))
        if pair is None:
            pair = Pair(photo=photo, index=index, public_id=public_id(photo.sha256, index))
            self._session.add(pair)
            self._session.flush()
        return pair

    def find(self, name: str) -> Pair:
        """The pair with this public id, or with the only one that begins so. Raises NotFound."""
        exact = self._session.scalar(select(Pair).where(Pair.public_id == name))
        if exact is not None:
            return exact
        begin = Pair.public_id.startswith(name, autoescape=True)
        found = self._session.scalars(select(Pair).where(begin).limit(2)).all() if name else []
        if len(found) == 1:
            return found[0]
        why = "several pairs begin like this" if found else "no such pair"
        raise NotFound(f"pair '{name}': {why}; 'hoi-annotate list' names them")

    def lock(self, pair: Pair) -> Pair:
        """The pair as it is now, and stays until the transaction ends."""
        self._session.refresh(pair, with_for_update=True)
        return pair

    def all(self, statuses: Sequence[PairStatus] = ()) -> Sequence[Pair]:
        """Pairs in ingest order, with their photo."""
        query = select(Pair).options(joinedload(Pair.photo)).order_by(Pair.photo_id, Pair.index)
        return self._session.scalars(query.where(Pair.status.in_(statuses)) if statuses else query).all()

    def counts(self) -> dict[str, int]:
        """How many pairs are in each status."""
        query = select(Pair.status, func.count()).group_by(Pair.status).order_by(Pair.status)
        return dict(self._session.execute(query).tuples().all())

    def move(self, pair: Pair, before: PairStatus, after: PairStatus) -> bool:
        """Changes the status of a pair that has the status `before` now, whatever was read earlier."""
        moved = self._session.execute(
            update(Pair).where(Pair.id == pair.id, Pair.status == before).values(status=after)
        )
        self._session.refresh(pair)
        return cast(CursorResult[object], moved).rowcount == 1

    def publish(self, pair: Pair, revision: Revision, expected: int, status: PairStatus) -> None:
        """Makes `revision` the newest of the pair, if `expected` still is. Raises RevisionConflict otherwise."""
        number = expected + 1
        moved = self._session.execute(
            update(Pair)
            .where(Pair.id == pair.id, Pair.revision_number == expected)
            .values(revision_number=number, status=status, reason=None)
        )
        if cast(CursorResult[object], moved).rowcount != 1:
            raise RevisionConflict(f"pair {pair.public_id}: another revision was published meanwhile; look at it first")
        revision.pair_id, revision.number = pair.id, number
        self._session.add(revision)
        self._session.flush()
        self._session.refresh(pair)
