"""What is known of Label Studio: projects, the tasks in them, what was read from annotations, webhook calls."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session, aliased, joinedload

from db.models import Job, Outcome, Pair, Photo, Revision, StudioAnnotation, StudioEvent, StudioProject, StudioTask

TURNS = 0x686F69  # of all advisory locks of a PostgreSQL server, those of this tool
REJECTED = "rejected"  # the note of a review that says so of a photo without a pair: a photo has no status for it


class Studio:
    def __init__(self, session: Session) -> None:
        self._session = session

    def take_turn(self, number: int) -> None:
        """Waits until no other transaction has this turn, and has it until the end of this one. PostgreSQL only."""
        self._session.execute(select(func.pg_advisory_xact_lock(TURNS, number)))

    # projects

    def projects(self, url: str | None = None) -> Sequence[StudioProject]:
        """The projects that are still there, oldest first."""
        query = select(StudioProject).where(StudioProject.state == "active").order_by(StudioProject.id)
        return self._session.scalars(query if url is None else query.where(StudioProject.url == url)).all()

    def project(self, url: str, external_id: int) -> StudioProject | None:
        return self._session.scalar(
            select(StudioProject).where(StudioProject.url == url, StudioProject.external_id == external_id)
        )

    def get(self, project_id: int) -> StudioProject:
        return self._session.get_one(StudioProject, project_id)

    # tasks

    def get_task(self, task_id: int) -> StudioTask:
        return self._session.get_one(StudioTask, task_id)

    def numbered(self, project: StudioProject, external_id: int) -> Sequence[StudioTask]:
        """Tasks that have or had this number on the server; they differ in their keys."""
        query = select(StudioTask).where(StudioTask.project_id == project.id, StudioTask.external_id == external_id)
        return self._session.scalars(query.order_by(StudioTask.id)).all()

    def newest_task(self, pair: Pair) -> StudioTask | None:
        """The newest task of a pair that the server has."""
        query = select(StudioTask).join(Revision).where(Revision.pair_id == pair.id, _is_there())
        return self._session.scalar(query.order_by(StudioTask.id.desc()).limit(1))

    def counts(self, project: StudioProject) -> dict[str, int]:
        """How many tasks of a project are in each state."""
        query = select(StudioTask.state, func.count()).where(StudioTask.project_id == project.id)
        return dict(self._session.execute(query.group_by(StudioTask.state)).tuples().all())

    def claimed(self, project: StudioProject) -> Sequence[StudioTask]:
        """Tasks that were begun and perhaps not made: a process died in between."""
        return self._tasks(project, StudioTask.state == "claimed")

    def tasks(self, project: StudioProject) -> Sequence[StudioTask]:
        """All tasks of a project that are there as far as we know."""
        return self._tasks(project, _is_there())

    def _tasks(self, project: StudioProject, which: ColumnElement[bool]) -> Sequence[StudioTask]:
        query = select(StudioTask).where(StudioTask.project_id == project.id, which).order_by(StudioTask.id)
        return self._session.scalars(query).all()

    def tasks_of(
        self, project: StudioProject, *, revision: Revision | None = None, photo: Photo | None = None
    ) -> Sequence[StudioTask]:
        """A project's tasks of a revision, or of a photo without a pair, oldest first."""
        query = select(StudioTask).where(StudioTask.project_id == project.id).order_by(StudioTask.id)
        if revision is not None:
            query = query.where(StudioTask.revision_id == revision.id)
        if photo is not None:
            query = query.where(StudioTask.photo_id == photo.id, StudioTask.revision_id.is_(None))
        return self._session.scalars(query).all()

    def before(self, task: StudioTask) -> StudioTask | None:
        """The task of this photo and project that came before, whose annotation led to this one."""
        query = select(StudioTask).where(
            StudioTask.project_id == task.project_id, StudioTask.photo_id == task.photo_id, StudioTask.id < task.id
        )
        if task.revision is not None:
            same = select(Revision.id).where(Revision.pair_id == task.revision.pair_id)
            query = query.where(StudioTask.revision_id.in_(same) | StudioTask.revision_id.is_(None))
        return self._session.scalar(query.order_by(StudioTask.id.desc()).limit(1))

    def project_of(self, pair: Pair) -> StudioProject | None:
        """Where a pair is reviewed: the project of its newest task, or of the one its photo had before it."""
        of_pair = select(StudioTask).join(Revision).where(Revision.pair_id == pair.id)
        of_photo = select(StudioTask).where(StudioTask.photo_id == pair.photo_id, StudioTask.revision_id.is_(None))
        for query in (of_pair, of_photo):
            task = self._session.scalar(query.order_by(StudioTask.id.desc()).limit(1))
            if task is not None:
                return task.project if task.project.state == "active" else None
        return None

    def waiting(self, known_in: StudioProject | None = None) -> Sequence[Revision]:
        """Newest revisions of pairs that wait for a reviewer and that no open task shows, the doubtful first.

        `known_in`: only of photos that had a task in this project.
        """
        shown = select(StudioTask.id).where(StudioTask.revision_id == Revision.id, _shows()).exists()
        query = (
            select(Revision)
            .join(Revision.pair)
            .where(Revision.number == Pair.revision_number, Pair.status == "preannotated", ~shown)
            .options(joinedload(Revision.pair).joinedload(Pair.photo))
            .order_by(Revision.review_priority.desc(), Revision.id)
        )
        if known_in is not None:
            had = select(StudioTask.id).where(
                StudioTask.photo_id == Pair.photo_id, StudioTask.project_id == known_in.id
            )
            query = query.where(had.exists())
        return self._session.scalars(query).all()

    def photos_waiting(self, known_in: StudioProject | None = None) -> Sequence[Photo]:
        """Photos that gave no pair, that no open task shows, that no job works on, and that nobody has rejected.

        `known_in`: only those that had a task in this project.
        """
        paired = select(Pair.id).where(Pair.photo_id == Photo.id).exists()
        shown = select(StudioTask.id).where(StudioTask.photo_id == Photo.id, _shows()).exists()
        worked_on = select(Job.id).where(Job.photo_id == Photo.id, Job.state.in_(("queued", "running"))).exists()
        query = select(Photo).where(Photo.status == "failed", Photo.width.is_not(None), ~paired, ~shown, ~worked_on)
        if known_in is not None:
            had = select(StudioTask.id).where(StudioTask.photo_id == Photo.id, StudioTask.project_id == known_in.id)
            query = query.where(had.exists())
        return self._session.scalars(query.where(~_is_rejected()).order_by(Photo.id)).all()

    def is_elsewhere(self, photo: Photo, project: StudioProject) -> bool:
        """Whether a photo has tasks in another project."""
        query = select(StudioTask.id).join(StudioTask.project).where(StudioTask.photo_id == photo.id)
        others = query.where(StudioProject.state == "active", StudioProject.id != project.id)
        return self._session.scalar(others.limit(1)) is not None

    def unclaim(self, project: StudioProject) -> None:
        """Claims of tasks that were never made."""
        self._session.execute(
            delete(StudioTask).where(StudioTask.project_id == project.id, StudioTask.state == "claimed")
        )

    # annotations

    def annotations(self, task: StudioTask) -> Sequence[StudioAnnotation]:
        """What was read from a task's annotations, oldest first."""
        query = select(StudioAnnotation).where(StudioAnnotation.task_id == task.id).order_by(StudioAnnotation.id)
        return self._session.scalars(query).all()

    def read_as(self, outcome: Outcome) -> int:
        """How many annotations this was made of."""
        query = select(func.count()).select_from(StudioAnnotation).where(StudioAnnotation.outcome == outcome)
        return self._session.scalar(query) or 0

    def add(self, row: StudioProject | StudioTask | StudioAnnotation | StudioEvent) -> None:
        self._session.add(row)
        self._session.flush()

    # webhook calls

    def events(self) -> Sequence[StudioEvent]:
        return self._session.scalars(select(StudioEvent).order_by(StudioEvent.id)).all()

    def forget(self, event_ids: Sequence[int]) -> None:
        """They have been looked at."""
        self._session.execute(delete(StudioEvent).where(StudioEvent.id.in_(event_ids)))


def _shows() -> ColumnElement[bool]:
    """Tasks a reviewer can find."""
    return StudioTask.state.in_(("claimed", "open"))


def _is_there() -> ColumnElement[bool]:
    """Tasks the server has, as far as we know."""
    return StudioTask.state.in_(("open", "closed"))


def _is_rejected() -> ColumnElement[bool]:
    """Whether the last word on a photo without a pair, in any project, is that it is of no use."""
    read, newer = aliased(StudioAnnotation), aliased(StudioAnnotation)
    of_read, of_newer = aliased(StudioTask), aliased(StudioTask)
    outdone = (
        select(newer.id)
        .join(of_newer, newer.task_id == of_newer.id)
        .where(of_newer.photo_id == of_read.photo_id, newer.id > read.id, _is_standing(newer))
    )
    rejection = (
        select(read.id)
        .join(of_read, read.task_id == of_read.id)
        .where(of_read.photo_id == Photo.id, of_read.revision_id.is_(None), read.note == REJECTED, _is_standing(read))
    )
    return rejection.where(~outdone.exists()).exists()


def _is_standing(read: type[StudioAnnotation]) -> ColumnElement[bool]:
    """What an annotation says now: it was not changed or deleted since, and says something."""
    later = aliased(StudioAnnotation)
    same = (later.task_id == read.task_id, later.external_id == read.external_id, later.id > read.id)
    changed = select(later.id).where(*same, later.outcome != "skipped").exists()
    return read.outcome.in_(("review", "invalid")) & ~changed
