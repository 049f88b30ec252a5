"""Bulk work: chunks of photos that wait for a worker. What became of each photo is told by the photo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from db.models import Chunk, ChunkState, Photo
from db.repositories.photos import Photos

_UNFINISHED: tuple[ChunkState, ...] = ("queued", "running")


class Chunks:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, chunk: Chunk, photos: Sequence[int]) -> Chunk:
        """A chunk of these photos, whatever chunk they were in before; they wait from now on."""
        chunk.photos = len(photos)
        self._session.add(chunk)
        self._session.flush()
        Photos(self._session).await_again(photos, chunk.id)
        return chunk

    def get(self, chunk_id: int) -> Chunk:
        return self._session.get_one(Chunk, chunk_id)

    def begin(self, chunk_id: int, worker: str) -> None:
        """Marks it as running, also again after a crash."""
        values = {"state": "running", "worker": worker, "started_at": datetime.now(UTC)}
        self._session.execute(update(Chunk).where(Chunk.id == chunk_id, Chunk.state != "done").values(**values))

    def end(self, chunk_id: int) -> bool:
        """Marks it as done unless one of its photos waits."""
        waits = select(Photo.id).where(Photo.chunk_id == chunk_id, Photo.status == "pending").exists()
        ended = self._session.execute(
            update(Chunk).where(Chunk.id == chunk_id, ~waits).values(state="done", finished_at=datetime.now(UTC))
        )
        return cast(CursorResult[object], ended).rowcount == 1

    def dissolve(self) -> None:
        """Ends all chunks: their photos that wait, wait for a local run, as in a restored workspace without a queue."""
        waits = update(Photo).where(Photo.status == "pending", Photo.chunk_id.is_not(None))
        self._session.execute(waits.values(chunk_id=None, tries=0))
        unfinished = update(Chunk).where(Chunk.state.in_(_UNFINISHED))
        self._session.execute(unfinished.values(state="done", finished_at=datetime.now(UTC)))

    def unfinished(self) -> Sequence[int]:
        return self._session.scalars(select(Chunk.id).where(Chunk.state.in_(_UNFINISHED)).order_by(Chunk.id)).all()

    def after(self, chunk_id: int) -> Sequence[int]:
        """Those made later, in whatever state."""
        return self._session.scalars(select(Chunk.id).where(Chunk.id > chunk_id).order_by(Chunk.id)).all()

    def running(self) -> Sequence[Chunk]:
        return self._session.scalars(select(Chunk).where(Chunk.state == "running").order_by(Chunk.id)).all()

    def counts(self) -> dict[str, int]:
        """How many chunks are in each state."""
        return dict(self._session.execute(select(Chunk.state, func.count()).group_by(Chunk.state)).tuples().all())
