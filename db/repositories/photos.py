"""Photographs, in the order they were ingested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, func, select, update
from sqlalchemy.orm import Session

from db.models import Pair, Photo, PhotoStatus

_AT_ONCE = 500  # ids in one statement


class Photos:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, photo: Photo) -> Photo:
        self._session.add(photo)
        self._session.flush()
        return photo

    def get(self, photo_id: int) -> Photo:
        return self._session.get_one(Photo, photo_id)

    def by_sha256(self, sha256: str) -> Photo | None:
        return self._session.scalar(select(Photo).where(Photo.sha256 == sha256))

    def first(self) -> Photo | None:
        return self._session.scalar(select(Photo).order_by(Photo.id).limit(1))

    def all(self, statuses: Sequence[PhotoStatus] = ()) -> Sequence[Photo]:
        """Photos in ingest order."""
        query = select(Photo).order_by(Photo.id)
        return self._session.scalars(query.where(Photo.status.in_(statuses)) if statuses else query).all()

    def without_pair(self) -> Sequence[Photo]:
        """Failed photos that never gave a pair."""
        paired = select(Pair.id).where(Pair.photo_id == Photo.id).exists()
        query = select(Photo).where(Photo.status == "failed", ~paired).order_by(Photo.id)
        return self._session.scalars(query).all()

    def counts(self) -> dict[str, int]:
        """How many photos are in each status."""
        query = select(Photo.status, func.count()).group_by(Photo.status).order_by(Photo.status)
        return dict(self._session.execute(query).tuples().all())

    # annotating: a photo waits (pending) for a chunk or, without one, for a local run; only who it waits for ends that

    def await_again(self, photos: Sequence[int], chunk_id: int | None) -> None:
        """These photos wait from now on, for this chunk or a local run, whatever was to become of them before."""
        values = {"status": "pending", "reason": None, "tries": 0, "chunk_id": chunk_id}
        for start in range(0, len(photos), _AT_ONCE):
            few = photos[start : start + _AT_ONCE]
            self._session.execute(update(Photo).where(Photo.id.in_(few)).values(**values))

    def readable(
        self,
        statuses: Sequence[PhotoStatus],
        limit: int | None,
        queued: bool = True,
        among: Sequence[int] | None = None,
        lock: bool = False,
    ) -> Sequence[int]:
        """Photos in these states, in ingest order; with or without those that wait in a queue. `among`: of these.
        `lock`: they stay so until the transaction ends."""
        query = select(Photo.id).where(Photo.status.in_(statuses), Photo.width.is_not(None)).order_by(Photo.id)
        if not queued:
            query = query.where((Photo.status != "pending") | Photo.chunk_id.is_(None))
        if among is not None:
            query = query.where(Photo.id.in_(among))
        query = query.with_for_update() if lock else query
        return self._session.scalars(query.limit(limit)).all()

    def some(self, ids: Sequence[int]) -> Sequence[Photo]:
        """These photos, in ingest order."""
        found: list[Photo] = []
        for start in range(0, len(ids), _AT_ONCE):
            query = select(Photo).where(Photo.id.in_(ids[start : start + _AT_ONCE])).order_by(Photo.id)
            found += self._session.scalars(query).all()
        return found

    def waiting(self, chunk_id: int) -> Sequence[Photo]:
        """What is left to do of a chunk; nobody else does it until the transaction ends."""
        query = select(Photo).where(Photo.chunk_id == chunk_id, Photo.status == "pending").order_by(Photo.id)
        return self._session.scalars(query.with_for_update()).all()

    def settled(self, chunks: Sequence[int]) -> Sequence[Photo]:
        """What is done of some chunks, or has failed."""
        found: list[Photo] = []
        for start in range(0, len(chunks), _AT_ONCE):
            few = chunks[start : start + _AT_ONCE]
            query = select(Photo).where(Photo.chunk_id.in_(few), Photo.status != "pending").order_by(Photo.id)
            found += self._session.scalars(query).all()
        return found

    def queued(self) -> int:
        """How many wait in a queue."""
        query = select(func.count()).where(Photo.status == "pending", Photo.chunk_id.is_not(None))
        return self._session.scalar(query) or 0

    def begin(self, photo_id: int, chunk_id: int | None) -> int | None:
        """Counts a try, and says which it is; None when the photo waits for somebody else, or for nobody."""
        if not self._change(photo_id, chunk_id, {"tries": Photo.tries + 1}):
            return None
        return self._session.scalar(select(Photo.tries).where(Photo.id == photo_id))

    def forgive(self, photo_id: int, chunk_id: int | None) -> None:
        """A try that was given up for no fault of the photo does not count."""
        self._change(photo_id, chunk_id, {"tries": Photo.tries - 1}, Photo.tries > 0)

    def settle(
        self, photo_id: int, chunk_id: int | None, status: PhotoStatus, reason: str | None, notes: list[dict[str, Any]]
    ) -> bool:
        """Ends the wait; False when somebody else has ended it, and then nothing may be written for it."""
        return self._change(photo_id, chunk_id, {"status": status, "reason": reason, "notes": notes, "tries": 0})

    def _change(self, photo_id: int, chunk_id: int | None, values: dict[str, Any], *more: ColumnElement[bool]) -> bool:
        mine = Photo.chunk_id.is_(None) if chunk_id is None else Photo.chunk_id == chunk_id
        changed = self._session.execute(
            update(Photo).where(Photo.id == photo_id, Photo.status == "pending", mine, *more).values(**values)
        )
        return cast(CursorResult[object], changed).rowcount == 1
