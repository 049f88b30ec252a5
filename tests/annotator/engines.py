"""Empty databases of both engines, and workspaces in which a bit of everything has happened."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from postgres_cluster import empty

from annotator import service
from annotator.jobs import JobQueue
from annotator.progress import Silent
from annotator.reviewing import Change
from annotator.workspace import Workspace
from db.repositories import Pairs
from pipeline.recipe import Recipe


def database_url(engine: str, request: pytest.FixtureRequest) -> str | None:
    """Of an empty database; None is a workspace's own SQLite."""
    if engine == "sqlite":
        return None
    url = str(request.getfixturevalue("postgres_server"))
    empty(url)
    return url


def fill(workspace: Workspace, photos: Path) -> list[str]:
    """Two annotated photos, one without a hand, one that cannot be read, an accepted pair, a fix with a mask that
    waits, help for the photo without a hand; the pairs' ids."""
    (photos / "broken.png").write_bytes(b"no picture")
    service.ingest(workspace, [str(photos)], licence="CC0-1.0", progress=Silent())
    service.preannotate(workspace, Recipe.load("cpu"), progress=Silent())
    with workspace.database.read() as session:
        first, second = (pair.public_id for pair in Pairs(session).all())
        lost = next(photo.sha256 for photo in service.Photos(session).without_pair() if photo.width)
    service.submit_review(workspace, first, "accept", reviewer="ann", comment="gut — 好")
    queue = JobQueue(workspace)
    change = Change(masks={"object_mask": mask()}, touching=("index",))
    service.submit_fix(workspace, queue, second, change, reviewer="bo")
    service.submit_help(workspace, queue, lost, Change(masks={"object_mask": mask()}, box=[1, 2, 40, 60]))
    queue.close()
    return [first, second]


def mask(size: tuple[int, int] = (96, 64)) -> bytes:
    drawn = np.zeros(size[::-1], dtype=np.uint8)
    drawn[:, 60:90] = 255
    out = io.BytesIO()
    Image.fromarray(drawn).save(out, "PNG")
    return out.getvalue()


def rows(workspace: Workspace) -> dict[str, list[Any]]:
    """Everything our tables hold, times in UTC."""
    from sqlalchemy import select

    from db.copying import _plain
    from db.models import Base

    with workspace.database.read() as session:
        return {
            table.name: [_plain(row) for row in session.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in Base.metadata.sorted_tables
        }
