"""Photographs, in the order they were ingested."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import Pair, Photo, PhotoStatus


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
