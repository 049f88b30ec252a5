"""Figures that a monitor watches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from db.models import Artifact, Job


class Measures:
    def __init__(self, session: Session) -> None:
        self._session = session

    def job_seconds(self) -> Sequence[tuple[str, int, float]]:
        """Of every kind of job: how many came to an end, and how long all of them took."""
        took = self._seconds(Job.finished_at) - self._seconds(Job.started_at)
        query = select(Job.kind, func.count(), func.sum(took)).group_by(Job.kind).order_by(Job.kind)
        ended = query.where(Job.started_at.is_not(None), Job.finished_at.is_not(None))
        return [(kind, count, float(seconds)) for kind, count, seconds in self._session.execute(ended).tuples()]

    def longest_wait(self) -> float:
        """Seconds since the oldest job was queued that nobody has begun; 0 when there is none."""
        since = func.min(self._seconds(Job.created_at))
        found = self._session.scalar(select(self._now() - since).where(Job.state == "queued"))
        return max(0.0, float(found or 0.0))

    def bytes(self) -> dict[str, int]:
        """Of the artifacts, by media type. What photos take, rows do not know."""
        query = select(Artifact.media_type, func.sum(Artifact.size)).group_by(Artifact.media_type)
        return {kind: int(size) for kind, size in self._session.execute(query).tuples()}

    def _now(self) -> ColumnElement[Any]:
        return self._seconds("now" if self._is_sqlite else func.now())

    def _seconds(self, time: Any) -> ColumnElement[Any]:
        return func.julianday(time) * 86400.0 if self._is_sqlite else func.extract("epoch", time)

    @property
    def _is_sqlite(self) -> bool:
        return self._session.get_bind().dialect.name == "sqlite"
