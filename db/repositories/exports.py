"""Datasets that were written."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Export


class Exports:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, export: Export) -> Export:
        self._session.add(export)
        self._session.flush()
        return export

    def all(self) -> Sequence[Export]:
        return self._session.scalars(select(Export).order_by(Export.id)).all()
