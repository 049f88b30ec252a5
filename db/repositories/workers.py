"""Who works: one row for every slot of a worker, with the time it was last heard of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from db.models import Worker

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Workers:
    def __init__(self, session: Session) -> None:
        self._session = session

    def now(self) -> datetime:
        """The clock all workers share: that of the database server, or of the machine where it is a file."""
        if self._session.get_bind().dialect.name == "sqlite":
            return datetime.now(UTC)
        now: datetime = self._session.execute(select(func.clock_timestamp())).scalar_one()
        return now

    def beat(self, name: str, host: str, pid: int, version: str) -> None:
        """The worker lives, and says so."""
        now = self.now()
        found = self._session.get(Worker, name)
        if found is None:
            self._session.add(Worker(name=name, host=host, pid=pid, started_at=now, seen_at=now, version=version))
        else:
            found.started_at = found.started_at if found.pid == pid else now
            found.host, found.pid, found.seen_at, found.version = host, pid, now, version

    def leave(self, name: str) -> None:
        """The worker ends: what it had begun is for others, at once."""
        self._session.execute(update(Worker).where(Worker.name == name).values(seen_at=_LONG_AGO))

    def silent(self, seconds: float) -> list[str]:
        """Those that were not heard of for so long."""
        since = self.now() - timedelta(seconds=seconds)
        return list(self._session.scalars(select(Worker.name).where(Worker.seen_at < since).order_by(Worker.name)))

    def live(self, seconds: float) -> Sequence[tuple[Worker, float]]:
        """The others, each with the seconds since it was last heard of."""
        now = self.now()
        since = now - timedelta(seconds=seconds)
        found = self._session.scalars(select(Worker).where(Worker.seen_at >= since).order_by(Worker.name)).all()
        return [(worker, max(0.0, (now - _aware(worker.seen_at)).total_seconds())) for worker in found]

    def forget(self, names: Sequence[str], seconds: float) -> None:
        """Takes out those of `names` that are silent for so long."""
        since = self.now() - timedelta(seconds=seconds)
        self._session.execute(delete(Worker).where(Worker.name.in_(names), Worker.seen_at < since))

    def clear(self) -> None:
        """Takes all out."""
        self._session.execute(delete(Worker))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
