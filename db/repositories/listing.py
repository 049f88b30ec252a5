"""The newest revision of every pair that fits, a page at a time, as the gallery lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, contains_eager

from db.models import Pair, PairStatus, Revision

PAGE = 48
DOUBTFUL, CERTAIN = 0.4, 0.65  # confidence; the same bounds as the report's meters

Confidence = Literal["low", "middle", "high"]
Order = Literal["doubtful", "certain", "newest"]


@dataclass(frozen=True)
class Wanted:
    """What to list; None stands for everything."""

    status: PairStatus | None = None
    side: str | None = None
    kind: str | None = None
    confidence: Confidence | None = None
    order: Order = "doubtful"


class Listing:
    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self, wanted: Wanted) -> int:
        return self._session.scalar(_newest(select(func.count()), wanted)) or 0

    def page(self, wanted: Wanted, number: int) -> Sequence[Revision]:
        """Revisions of page `number`, the first is 1; with pair and photo."""
        query = _newest(select(Revision), wanted).join(Pair.photo)
        query = query.options(contains_eager(Revision.pair).contains_eager(Pair.photo))
        query = query.order_by(*_ORDERS[wanted.order], Revision.id)
        return self._session.scalars(query.offset((number - 1) * PAGE).limit(PAGE)).all()

    def choices(self, column: Literal["status", "side", "kind"]) -> dict[str, int]:
        """Every value of a column among all pairs that have a revision, and how often it is there."""
        value = _COLUMNS[column]
        query = _newest(select(value, func.count()), Wanted()).group_by(value).order_by(value)
        return {name: count for name, count in self._session.execute(query).tuples() if name}


_COLUMNS: dict[str, ColumnElement[Any]] = {
    "status": Pair.status.expression,
    "side": Pair.side.expression,
    "kind": Revision.object["kind"].as_string(),
}
_ORDERS: dict[Order, tuple[ColumnElement[Any], ...]] = {
    "doubtful": (Revision.review_priority.desc().nulls_last(),),
    "certain": (Revision.review_priority.asc().nulls_last(),),
    "newest": (Revision.id.desc(),),
}


def _newest(query: Select[Any], wanted: Wanted) -> Select[Any]:
    query = query.select_from(Revision).join(Revision.pair).where(Revision.number == Pair.revision_number)
    for name, column in _COLUMNS.items():
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(column == value)
    match wanted.confidence:
        case "low":
            return query.where(Revision.confidence < DOUBTFUL)
        case "middle":
            return query.where(Revision.confidence >= DOUBTFUL, Revision.confidence < CERTAIN)
        case "high":
            return query.where(Revision.confidence >= CERTAIN)
    return query
