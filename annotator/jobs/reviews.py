"""What a reviewer asked for: one pair again under its edits, or a photo's first pair with their help.

Two steps. `compute` runs the stages the edits invalidate; each finished stage is in the cache of this machine, so after
a crash here it goes on with the stage it died in, and on another machine from the start. `publish` writes the answer,
if the pair is still as it was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from annotator import logs, work
from annotator.jobs.outages import NO_FAULT, Tries, known
from annotator.publishing import publish
from annotator.records import without_name
from annotator.reoptimising import carry_out, plan, plan_first
from annotator.workspace import Workspace
from db.errors import BlobCorrupt, BlobMissing, RevisionConflict, StorageError
from db.models import Job, Revision
from db.repositories import Jobs, Pairs, Revisions
from pipeline.errors import HoiError
from pipeline.recipe import Recipe

log = logs.get_logger(__name__)


class ReviewJobs:
    """The steps of a reviewer's job, in the hands of worker `name`."""

    def __init__(self, workspace: Workspace, name: str, perform: Callable[[work.Task], work.Outcome]) -> None:
        self._workspace, self._name, self._perform = workspace, name, perform
        self._tries = Tries[int](workspace.database, lambda session, job: Jobs(session).forgive(Jobs(session).get(job)))

    def compute(self, job_id: int) -> dict[str, Any] | None:
        """The answer as JSON, its bytes in the store; None when there is nothing to publish.

        Raises what is no fault of the job: no room, no weights, a database or store that does not answer.
        """
        self._tries.tell()
        with self._workspace.database.write() as session:
            job = Jobs(session).get(job_id)
            number = job.tries if Jobs(session).begin(job, self._name) else None
        if number is None:
            return None
        if number > work.MOST_TRIES:
            self.fail(job_id, f"its worker died {work.MOST_TRIES} times while it was carried out")
            return None
        try:
            with self._tries.of(job_id):
                return self._answer(job_id)
        except NO_FAULT:
            raise
        except (HoiError, StorageError) as error:
            self.fail(job_id, str(error))
        except Exception as error:  # a bug must not hold up the others' jobs
            self._fail_by_bug(job_id, error)
        return None

    def _answer(self, job_id: int) -> dict[str, Any]:
        with self._workspace.database.read() as session:
            job = Jobs(session).get(job_id)
            if job.pair is not None:
                planned = plan(self._workspace, session, job.pair)
            else:
                planned = plan_first(self._workspace, job.photo)
        answer, _ = carry_out(planned, self._perform)
        recipe = planned.task.recipe
        return {
            "answer": asdict(answer) | {"npz": self._put(answer.npz)},
            "seen": planned.seen,
            "recipe": [recipe.name, recipe.settings],
        }

    def _put(self, npz: bytes) -> str:
        """Its digest in the store, where a power cut may have left half of it under that name."""
        blobs = self._workspace.blobs
        digest = blobs.put(npz)
        try:
            blobs.get(digest)
        except (BlobMissing, BlobCorrupt):
            blobs.replace(npz)
        return digest

    def publish(self, job_id: int, made: dict[str, Any]) -> bool:
        """Ends the job; False when the pair has moved on meanwhile, or the answer's bytes are lost, and it must be
        computed again. Raises as `compute`."""
        try:
            with known(self._workspace.database):
                self._publish(job_id, made)
        except NO_FAULT:
            raise
        except (RevisionConflict, IntegrityError, BlobMissing, BlobCorrupt) as error:
            log.info("answer is to be computed again", reason=str(error))
            return False
        except Exception as error:
            self._fail_by_bug(job_id, error)
        return True

    def _publish(self, job_id: int, made: dict[str, Any]) -> None:
        npz = self._workspace.blobs.get(made["answer"]["npz"])
        answer = work.Answer(**(made["answer"] | {"npz": npz}))
        with self._workspace.database.write() as session:
            job = Jobs(session).get(job_id)
            if Jobs(session).lock(job):
                revision = _write(session, job, answer, made["seen"], Recipe(*made["recipe"]))
                unchanged = None if revision else "the edits change nothing"
                Jobs(session).end(job, "done", revision_id=revision.id if revision else None, reason=unchanged)

    def _fail_by_bug(self, job_id: int, error: Exception) -> None:
        log.exception("job failed")
        self.fail(job_id, work.unexpected(error))

    def fail(self, job_id: int, reason: str) -> None:
        """The job is over; what it was about waits for a reviewer again, unless one has given a verdict meanwhile."""
        with self._workspace.database.write() as session:
            job = Jobs(session).get(job_id)
            if not Jobs(session).lock(job):
                return
            if job.pair is not None:
                Pairs(session).move(job.pair, "reoptimising", "preannotated")
            else:
                job.photo.reason = without_name(reason, job.photo.name)
            Jobs(session).end(job, "failed", reason=without_name(reason, job.photo.name))


def _write(session: Session, job: Job, answer: work.Answer, seen: int, recipe: Recipe) -> Revision | None:
    """The new revision of the job's pair, or None when it is the old one over again."""
    if job.pair is None:
        pair = Pairs(session).ensure(job.photo, answer.index)
        revision = publish(session, pair, answer, recipe, "review", expected=seen)
        job.pair, job.photo.status, job.photo.reason = pair, "done", None
        return revision
    if Revisions(session).get(job.pair, seen).content_digest == answer.digest:
        Pairs(session).move(job.pair, "reoptimising", "preannotated")
        return None
    return publish(session, job.pair, answer, recipe, "review", expected=seen)
