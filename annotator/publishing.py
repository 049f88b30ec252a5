"""What the pipeline answered -> rows: revisions of pairs. All of it inside a session somebody else commits."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from annotator import logs
from annotator.records import NPZ, RECONSTRUCTION
from annotator.work import Answer
from db.models import Pair, Photo, Revision
from db.repositories import Artifacts, Pairs, Reviews, Revisions
from pipeline.recipe import Recipe

logger = logs.get_logger(__name__)


def publish_answer(session: Session, photo: Photo, answer: Answer, recipe: Recipe, trigger: str) -> tuple[Pair, bool]:
    """The answer becomes the pair's newest revision, unless it is that already or a person has reviewed the pair."""
    pairs, revisions = Pairs(session), Revisions(session)
    pair = pairs.ensure(photo, answer.index)
    if pair.revision_number:
        if Reviews(session).of_pair(pair) or str(pair.index) in photo.hints.get("edits", {}):
            return pair, False
        if revisions.get(pair).content_digest == answer.digest:
            if pair.status == "failed":
                pair.status, pair.reason = "preannotated", None
            return pair, False
    publish(session, pair, answer, recipe, trigger, expected=pair.revision_number)
    return pair, True


def publish(session: Session, pair: Pair, answer: Answer, recipe: Recipe, trigger: str, expected: int) -> Revision:
    """A new revision of a pair on top of revision `expected` (0: none). Its bytes are in the blob store already.

    Raises RevisionConflict when the pair has moved on from there.
    """
    parent = Revisions(session).get(pair, expected) if expected else None
    revision = Revision(
        parent_id=None if parent is None else parent.id,
        trigger=trigger,
        recipe=recipe.name,
        recipe_digest=recipe.digest,
        content_digest=answer.digest,
        seconds=answer.seconds,
        **answer.columns,
    )
    pair.side = answer.columns["hand"]["side"]
    Pairs(session).publish(pair, revision, expected=expected, status="preannotated")
    sha256 = hashlib.sha256(answer.npz).hexdigest()
    Revisions(session).attach(revision, RECONSTRUCTION, Artifacts(session).ensure(sha256, NPZ, len(answer.npz)))
    _log_when_committed(session, pair=pair.public_id, revision=revision.number, trigger=trigger, recipe=recipe.name)
    return revision


def _log_when_committed(session: Session, **known: Any) -> None:
    log = logger.bind(**known)
    event.listen(session, "after_commit", lambda _: log.info("revision published"), once=True)


def retire(session: Session, photo: Photo, found: set[int]) -> None:
    """Pairs of hands that were not found again, as when new help names other hands; reviewed ones stay."""
    for pair in photo.pairs:
        if pair.index not in found and not Reviews(session).of_pair(pair):
            pair.status, pair.reason = "failed", "this hand was not found again"
