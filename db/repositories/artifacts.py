"""Which bytes the blob store is known to hold."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Artifact


class Artifacts:
    def __init__(self, session: Session) -> None:
        self._session = session

    def ensure(self, sha256: str, media_type: str, size: int) -> Artifact:
        """The row of these bytes, made when it is not there yet."""
        artifact = self._session.scalar(select(Artifact).where(Artifact.sha256 == sha256))
        if artifact is None:
            artifact = Artifact(sha256=sha256, media_type=media_type, size=size)
            self._session.add(artifact)
            self._session.flush()
        return artifact
