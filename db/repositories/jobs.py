"""Work reviewers asked for. A job moves forward only: queued, running, then done, superseded or failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from db.models import Job, JobState, Pair, Photo

_UNFINISHED: tuple[JobState, ...] = ("queued", "running")


class Jobs:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, job: Job) -> Job:
        self._session.add(job)
        self._session.flush()
        return job

    def get(self, job_id: int) -> Job:
        return self._session.get_one(Job, job_id)

    def unfinished(self, *, pair: Pair | None = None, photo: Photo | None = None) -> Sequence[Job]:
        """Jobs that may still change something: all, or those of a pair or of a photo without one."""
        query = select(Job).where(Job.state.in_(_UNFINISHED)).order_by(Job.id)
        if pair is not None:
            query = query.where(Job.pair_id == pair.id)
        if photo is not None:
            query = query.where(Job.photo_id == photo.id, Job.pair_id.is_(None))
        return self._session.scalars(query).all()

    def last_of(self, *, pair: Pair | None = None, photo: Photo | None = None) -> Job | None:
        """The newest job of a pair, or of a photo without one."""
        of = Job.pair_id == pair.id if pair is not None else Job.pair_id.is_(None)
        query = select(Job).where(of).order_by(Job.id.desc()).limit(1)
        return self._session.scalar(query if photo is None else query.where(Job.photo_id == photo.id))

    def begin(self, job: Job, worker: str) -> bool:
        """Marks it as running and counts the try, also again after a crash; False when it is over."""
        begun = {"state": "running", "started_at": datetime.now(UTC), "worker": worker, "tries": Job.tries + 1}
        return self._move(job, begun)

    def forgive(self, job: Job) -> None:
        """A try that was given up for no fault of the job does not count."""
        if job.tries:
            self._move(job, {"tries": Job.tries - 1})

    def lock(self, job: Job) -> bool:
        """Keeps newer edits from ending it until the transaction ends; False when it is over."""
        return self._move(job, {"state": "running"})

    def end(self, job: Job, state: JobState, *, revision_id: int | None = None, reason: str | None = None) -> bool:
        """Ends it; False when it had ended already, and then nothing else may be written for it."""
        ended = {"state": state, "revision_id": revision_id, "reason": reason, "finished_at": datetime.now(UTC)}
        return self._move(job, ended)

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        return dict(self._session.execute(select(Job.state, func.count()).group_by(Job.state)).tuples().all())

    def newest(self, state: JobState, limit: int) -> Sequence[Job]:
        """The newest jobs in a state, newest first."""
        return self._session.scalars(select(Job).where(Job.state == state).order_by(Job.id.desc()).limit(limit)).all()

    def running(self) -> Sequence[Job]:
        return self._session.scalars(select(Job).where(Job.state == "running").order_by(Job.id)).all()

    def _move(self, job: Job, values: dict[str, Any]) -> bool:
        moved = self._session.execute(update(Job).where(Job.id == job.id, Job.state.in_(_UNFINISHED)).values(**values))
        self._session.refresh(job)
        return cast(CursorResult[object], moved).rowcount == 1
