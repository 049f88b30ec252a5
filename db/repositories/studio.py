"""What is known of Label Studio: projects, the tasks in them, what was read from annotations, webhook calls."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session, joinedload

from db.models import Job, Pair, Photo, Revision, StudioAnnotation, StudioEvent, StudioProject, StudioTask


class Studio:
    def __init__(self, session: Session) -> None:
        self._session = session

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

    def task(self, project: StudioProject, key: str) -> StudioTask | None:
        return self._session.scalar(
            select(StudioTask).where(StudioTask.project_id == project.id, StudioTask.key == key)
        )

    def claimed(self, project: StudioProject) -> Sequence[StudioTask]:
        """Tasks that were begun and perhaps not made: a process died in between."""
        return self._tasks(project, "claimed")

    def tasks(self, project: StudioProject) -> Sequence[StudioTask]:
        """All tasks of a project that are there as far as we know."""
        return self._tasks(project, "open", "closed")

    def _tasks(self, project: StudioProject, *states: str) -> Sequence[StudioTask]:
        query = select(StudioTask).where(StudioTask.project_id == project.id, StudioTask.state.in_(states))
        return self._session.scalars(query.order_by(StudioTask.id)).all()

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

    def photos_waiting(self) -> Sequence[Photo]:
        """Photos that gave no pair, that no open task shows, and that no job works on."""
        paired = select(Pair.id).where(Pair.photo_id == Photo.id).exists()
        shown = select(StudioTask.id).where(StudioTask.photo_id == Photo.id, _shows()).exists()
        worked_on = select(Job.id).where(Job.photo_id == Photo.id, Job.state.in_(("queued", "running"))).exists()
        query = select(Photo).where(Photo.status == "failed", Photo.width.is_not(None), ~paired, ~shown, ~worked_on)
        return self._session.scalars(query.order_by(Photo.id)).all()

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
