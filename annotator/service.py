"""The use cases, one function each. They raise the errors a user should see and print nothing.

ingest (ingestion.py) -> preannotate -> submit_review (accept, reject) or fix -> publish_dataset
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from annotator import work
from annotator.errors import BadRequest
from annotator.ingestion import Ingested, ingest
from annotator.progress import Progress
from annotator.publishing import publish, publish_answer, retire
from annotator.records import jsonable, load_photo, load_reconstruction, near_duplicates, provenance, without_name
from annotator.reviewing import Change, fingerprint, merged, to_edits
from annotator.workspace import Workspace
from db.models import Export, Pair, PairStatus, Photo, PhotoStatus, Review, Revision, Verdict
from db.repositories import Artifacts, Exports, Pairs, Photos, Reviews, Revisions
from exports.base import ExportSummary, Record, get_format
from pipeline.errors import PipelineError
from pipeline.recipe import Recipe, UnknownRecipe
from pipeline.types import Edits, Reconstruction

__all__ = ["Ingested", "fix", "ingest", "preannotate", "publish_dataset", "submit_review"]

_TAKEN: tuple[PhotoStatus, ...] = ("pending", "failed", "done")  # by a plain run, also by retry, also by redo


@dataclass
class Annotated:
    """What a run of `preannotate` did."""

    photos: int = 0
    published: list[str] = field(default_factory=list)  # pairs that got a new revision
    unchanged: list[str] = field(default_factory=list)  # pairs whose newest revision came out again
    failed: list[tuple[str, str]] = field(default_factory=list)  # (photo, reason)


def preannotate(
    workspace: Workspace,
    recipe: Recipe,
    *,
    limit: int | None = None,
    redo: bool = False,
    retry: bool = False,
    jobs: int | None = None,
    progress: Progress,
) -> Annotated:
    """Runs the pipeline on every photo that waits for it, in ingest order.

    `retry` also takes the photos that failed, `redo` all photos.

    Each photo is recorded when it is done, so an interrupted run goes on where it was. Pairs a person has
    reviewed keep what was reviewed.
    """
    result = Annotated()
    with workspace.claimed("preannotate"):
        with workspace.database.read() as session:
            statuses = _TAKEN[: 3 if redo else 2 if retry else 1]
            photos = [photo for photo in Photos(session).all(statuses) if photo.width is not None][:limit]
        if not photos:
            return result
        tasks = [_task(workspace, photo, recipe) for photo in photos]
        workers = workspace.settings.jobs if jobs is None else jobs
        log = workspace.root / "worker.log"
        log.unlink(missing_ok=True)
        progress.begin(len(tasks))
        for outcome in work.run(tasks, workers, log):
            _record(workspace, outcome, "redo" if redo else "preannotate", result, progress)
    return result


def _task(workspace: Workspace, photo: Photo, recipe: Recipe, **more: Any) -> work.Task:
    return work.Task(
        photo_id=photo.id,
        sha256=photo.sha256,
        name=photo.name,
        hands=photo.hints.get("hands", []),
        recipe=recipe,
        store_url=workspace.store_url,
        cache_folder=workspace.cache_folder,
        pipeline=workspace.settings.pipeline,
        **more,
    )


def _record(workspace: Workspace, outcome: work.Outcome, trigger: str, result: Annotated, progress: Progress) -> None:
    """Publishes what became of one photo: bytes first, then all its rows at once."""
    name = outcome.task.name
    result.photos += 1
    made = [answer for answer in outcome.answers if answer.npz]
    for answer in made:
        workspace.blobs.put(answer.npz)
    with workspace.database.write() as session:
        photo = Photos(session).get(outcome.task.photo_id)
        if outcome.failure is not None:
            reason = without_name(outcome.failure, name)
            photo.status, photo.reason = "failed", reason
        else:
            photo.status, photo.reason = "done", None
            photo.notes = [
                {"hand": answer.index, "reason": without_name(answer.reason, name)}
                for answer in outcome.answers
                if answer.reason
            ]
            for answer in made:
                pair, is_new = publish_answer(session, photo, answer, outcome.task.recipe, trigger)
                (result.published if is_new else result.unchanged).append(pair.public_id)
            retire(session, photo, {answer.index for answer in made})
    if outcome.failure is not None:
        result.failed.append((name, reason))
        progress.failed(name, reason)
        return
    seconds = max((sum(answer.seconds.values()) for answer in made), default=0.0)
    progress.done(name, f"{len(made)} pair{'s' if len(made) != 1 else ''}, {seconds:.1f} s")


@dataclass(frozen=True)
class Reviewed:
    """What a verdict changed."""

    pair: str
    revision: int  # the one the reviewer saw
    status: PairStatus
    recorded: bool  # False: the same verdict was the last one already


def submit_review(
    workspace: Workspace,
    name: str,
    verdict: Verdict,
    *,
    reviewer: str,
    comment: str = "",
    number: int | None = None,
    source: str = "cli",
    external_id: str | None = None,
) -> Reviewed:
    """Records accept or reject on the revision the reviewer saw (the newest when `number` is None).

    The pair's status follows only when that is still its newest revision. Repeating a verdict changes nothing.
    """
    with workspace.database.write() as session:
        pair = Pairs(session).find(name)
        revision = Revisions(session).get(pair, number)
        recorded = _add_review(session, pair, revision, verdict, reviewer, comment, {}, source, external_id) is not None
        if recorded and revision.number == pair.revision_number:
            pair.status = "accepted" if verdict == "accept" else "rejected"
        return Reviewed(pair.public_id, revision.number, pair.status, recorded)


def _add_review(
    session: Session,
    pair: Pair,
    revision: Revision,
    verdict: Verdict,
    reviewer: str,
    comment: str,
    edits: dict[str, Any],
    source: str,
    external_id: str | None = None,
) -> Review | None:
    """The recorded review, or None when it is the pair's last one over again.

    A review from outside is known by its external id. One from the command line is known by what it follows: a
    person may accept, reject, and accept again.
    """
    content = [pair.public_id, revision.number, verdict, reviewer, comment, edits, source]
    earlier = Reviews(session).of_pair(pair)
    if external_id is None and earlier:
        last = earlier[-1]
        if [verdict, reviewer, comment, edits] == [last.verdict, last.reviewer, last.comment, last.edits] and (
            last.revision_id == revision.id
        ):
            return None
    digest = fingerprint(*content, external_id or (earlier[-1].digest if earlier else None))
    if Reviews(session).by_digest(digest) is not None:
        return None
    review = Review(
        revision_id=revision.id,
        digest=digest,
        verdict=verdict,
        reviewer=reviewer,
        comment=comment,
        edits=edits,
        source=source,
        external_id=external_id,
    )
    return Reviews(session).add(review)


@dataclass(frozen=True)
class Fixed:
    """What a fix made of a pair."""

    pair: str
    before: int
    revision: int  # the newest one now; equal to `before` when the edits change nothing
    reused: tuple[str, ...]  # stages the cache answered
    seconds: dict[str, float]
    metrics: dict[str, tuple[float | None, float | None]]  # before, after; how well the edits are met among them
    unmet: tuple[str, ...]  # what was asked for and could not be done


def fix(
    workspace: Workspace,
    name: str,
    change: Change,
    *,
    reviewer: str,
    comment: str = "",
    recipe: str | None = None,
) -> Fixed:
    """Re-optimises a pair under all edits so far and this one; review and revision are recorded together.

    Only the stages an edit invalidates are run again. Nothing is recorded when the edits cannot be carried out.
    """
    from pipeline.codec import decode

    with workspace.database.read() as session:
        pair = Pairs(session).find(name)
        seen = Revisions(session).get(pair)
        photo = pair.photo
        size = (photo.height or 0, photo.width or 0)
        edits = change.checked(size)
        everything = merged([*(review.edits for review in Reviews(session).of_pair(pair)), edits])
        working = (seen.camera["height"], seen.camera["width"])
        chosen = _recipe_of(workspace, seen, recipe)
        constraints = to_edits(everything, change.masks, workspace.blobs, size, working)
        shown = load_reconstruction(seen, workspace.blobs)
        task = _task(workspace, photo, chosen, index=pair.index, edits=constraints)
    workers = min(1, workspace.settings.jobs)
    (outcome,) = work.run([task], workers, workspace.root / "worker.log")
    failure = outcome.failure or outcome.answers[0].reason
    if failure is not None:
        raise PipelineError(failure)
    (answer,) = outcome.answers
    satisfied = _satisfied(shown, decode(Reconstruction, answer.npz), constraints)
    answer.columns["diagnostics"]["constraints"] = {n: {"before": b, "after": a} for n, (b, a) in satisfied.items()}
    workspace.blobs.put(answer.npz)
    for data in change.masks.values():
        workspace.blobs.put(data)
    with workspace.database.write() as session:
        pair = Pairs(session).find(name)
        now = Revisions(session).get(pair, seen.number)
        review = _add_review(session, pair, now, "fix", reviewer, comment, edits, "cli")
        if review is not None:
            for role, data in change.masks.items():
                mask = Artifacts(session).ensure(edits[role], "image/png", len(data))
                Reviews(session).attach(review, role, mask)
        if answer.digest != seen.content_digest:
            now = publish(session, pair, answer, chosen, "review", expected=seen.number)
        changed = {key: (seen.metrics.get(key), value) for key, value in now.metrics.items()} | satisfied
        return Fixed(
            pair.public_id,
            seen.number,
            now.number,
            answer.reused,
            answer.seconds,
            changed,
            _unmet(everything, seen, now),
        )


def _satisfied(
    before: Reconstruction, after: Reconstruction, edits: Edits
) -> dict[str, tuple[float | None, float | None]]:
    """How well the old and the new revision meet the edits, measured against the same masks and parts."""
    from pipeline.optimise.constraints import satisfaction

    old, new = (satisfaction(made, edits, after.masks) for made in (before, after))
    return {name: (jsonable(old.get(name)), jsonable(value)) for name, value in new.items()}


def _recipe_of(workspace: Workspace, revision: Revision, given: str | None) -> Recipe:
    """The recipe a revision was made with; a file of one's own is known by the settings or the flag."""
    if given is not None:
        return Recipe.load(given)
    for name in (workspace.settings.recipe, revision.recipe):
        try:
            recipe = Recipe.load(name)
        except UnknownRecipe:
            continue
        if recipe.digest == revision.recipe_digest:
            return recipe
    return Recipe.load(revision.recipe)


def _unmet(edits: dict[str, Any], before: Revision, now: Revision) -> tuple[str, ...]:
    """What a reviewer asked of the parts of the hand and the new revision does not show, and by how much."""
    touching = now.contacts["touching"]
    failed = [(part, "does not touch") for part in edits.get("touching", ()) if part not in touching]
    failed += [(part, "still touches") for part in edits.get("not_touching", ()) if part in touching]
    gap, gap_before = now.contacts["gap_mm"], before.contacts["gap_mm"]
    return tuple(
        f"{part} {verb} the object: {gap[part]:.1f} mm from it, {gap_before[part]:.1f} mm before"
        for part, verb in failed
    )


def publish_dataset(
    workspace: Workspace,
    format_name: str,
    out: Path,
    *,
    statuses: Sequence[PairStatus] = ("accepted",),
    licences: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    progress: Progress,
) -> ExportSummary:
    """Writes the newest revisions of all pairs in `statuses` as a dataset, and remembers that it did.

    `licences` keeps photos under these licences only. Raises ExportError, BadRequest when nothing is left.
    """
    writer = get_format(format_name)
    with workspace.database.read() as session:
        revisions = [
            revision
            for revision in Revisions(session).newest(statuses)
            if not licences or revision.pair.photo.licence in licences
        ]
        if not revisions:
            raise BadRequest(f"no pair is {' or '.join(statuses)}: accept some with 'hoi-annotate review accept PAIR'")
        progress.begin(len(revisions))
        summary = writer.write(_dataset_records(workspace, revisions, progress), out, **(options or {}))
    filters = {"statuses": list(statuses), "licences": list(licences), "options": options or {}}
    with workspace.database.write() as session:
        row = Export(
            format=format_name,
            filters=filters,
            snapshot_digest=summary.digest,
            records=summary.count,
            path=str(out.absolute()),
        )
        Exports(session).add(row)
    return summary


def _dataset_records(workspace: Workspace, revisions: Sequence[Revision], progress: Progress) -> Iterator[Record]:
    clusters = near_duplicates([revision.pair.photo for revision in revisions])
    for revision in revisions:
        pair = revision.pair
        made = load_reconstruction(revision, workspace.blobs)
        origin = provenance(revision)
        if pair.photo.sha256 in clusters:
            origin["near_duplicate"] = clusters[pair.photo.sha256]
        yield Record(pair.public_id, revision.number, load_photo(pair.photo, made, workspace.blobs), made, origin)
        progress.done(pair.public_id, pair.photo.name)
