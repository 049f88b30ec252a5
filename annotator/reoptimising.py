"""One pair again, under everything reviewers have asked for so far: what to run, and what to write of it.

`fix` (service.py) does it at once, a job (jobs.py) later and elsewhere; both go through here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from annotator import work
from annotator.records import jsonable, load_reconstruction
from annotator.reviewing import merged, to_edits
from annotator.workspace import Workspace
from db.models import Pair, Photo, Revision
from db.repositories import Reviews, Revisions
from pipeline.errors import PipelineError
from pipeline.recipe import Recipe, UnknownRecipe
from pipeline.types import Edits, Reconstruction

Satisfied = dict[str, tuple[float | None, float | None]]  # before, after


@dataclass(frozen=True)
class Plan:
    """What will be run: on top of revision `seen` (0: the photo's first), under `edits` as JSON."""

    task: work.Task
    seen: int
    edits: dict[str, Any]
    shown: Reconstruction | None


def plan(
    workspace: Workspace, session: Session, pair: Pair, more: dict[str, Any] | None = None, recipe: str | None = None
) -> Plan:
    """For a pair: all edits of its reviews, and `more` on top. The masks they name are in the store."""
    seen = Revisions(session).get(pair)
    given = [pair.photo.hints.get("edits", {}).get(str(pair.index), {})]
    edits = merged([*given, *(review.edits for review in Reviews(session).of_pair(pair)), more or {}])
    chosen = _recipe_of(workspace, seen, recipe)
    working = (seen.camera["height"], seen.camera["width"])
    task = photo_task(
        workspace, pair.photo, chosen, index=pair.index, edits=_constraints(workspace, pair.photo, edits, working)
    )
    return Plan(task, seen.number, edits, load_reconstruction(seen, workspace.blobs))


def plan_first(workspace: Workspace, photo: Photo) -> Plan:
    """For a photo in which nothing was found: the reviewer's help is with the photo."""
    from pipeline.photo import read_photo

    recipe = Recipe.load(workspace.settings.recipe)
    edits = photo.hints.get("edits", {}).get("0", {})
    working = read_photo(workspace.blobs.get(photo.sha256), photo.name, recipe.max_side).size
    task = photo_task(workspace, photo, recipe, index=0, edits=_constraints(workspace, photo, edits, working))
    return Plan(task, 0, edits, None)


def photo_task(workspace: Workspace, photo: Photo, recipe: Recipe, **more: Any) -> work.Task:
    """The task of annotating a photo, or with `index` and `edits` one of its pairs."""
    return work.Task(
        photo_id=photo.id,
        sha256=photo.sha256,
        name=photo.name,
        hands=photo.hints.get("hands", []),
        recipe=recipe,
        store_url=workspace.store_url,
        cache_folder=workspace.cache_folder,
        pipeline=workspace.settings.pipeline,
        chunk_id=photo.chunk_id,
        **more,
    )


def carry_out(plan: Plan, run: Callable[[work.Task], work.Outcome]) -> tuple[work.Answer, Satisfied]:
    """Runs it; the answer's diagnostics say how well the edits are met. Raises PipelineError when it cannot be done."""
    from pipeline.codec import decode

    outcome = run(plan.task)
    failure = outcome.failure or outcome.answers[0].reason
    if failure is not None:
        raise PipelineError(failure)
    (answer,) = outcome.answers
    edits = plan.task.edits or Edits()
    satisfied = _satisfied(plan.shown, decode(Reconstruction, answer.npz), edits)
    answer.columns["diagnostics"]["constraints"] = {n: {"before": b, "after": a} for n, (b, a) in satisfied.items()}
    return answer, satisfied


def unmet(edits: dict[str, Any], before: Revision, now: Revision) -> tuple[str, ...]:
    """What a reviewer asked of the parts of the hand and the new revision does not show, and by how much."""
    touching = now.contacts["touching"]
    failed = [(part, "does not touch") for part in edits.get("touching", ()) if part not in touching]
    failed += [(part, "still touches") for part in edits.get("not_touching", ()) if part in touching]
    gap, gap_before = now.contacts["gap_mm"], before.contacts["gap_mm"]
    return tuple(
        f"{part} {verb} the object: {gap[part]:.1f} mm from it, {gap_before[part]:.1f} mm before"
        for part, verb in failed
    )


def _constraints(workspace: Workspace, photo: Photo, edits: dict[str, Any], working: tuple[int, int]) -> Edits:
    return to_edits(edits, workspace.blobs, (photo.height or 0, photo.width or 0), working)


def _satisfied(before: Reconstruction | None, after: Reconstruction, edits: Edits) -> Satisfied:
    """How well the old and the new revision meet the edits, measured against the same masks and parts."""
    from pipeline.optimise.constraints import satisfaction

    old = {} if before is None else satisfaction(before, edits, after.masks)
    new = satisfaction(after, edits, after.masks)
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
