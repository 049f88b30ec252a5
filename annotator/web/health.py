"""/healthz for whatever restarts us, /metrics for Prometheus."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from annotator.metrics import registry
from annotator.workspace import Workspace
from db.errors import StorageError
from db.repositories import Photos

logger = logging.getLogger(__name__)


def router(workspace: Workspace) -> APIRouter:
    routes = APIRouter()
    counted = registry(workspace)

    @routes.get("/healthz")
    def healthz() -> Response:
        """Whether the database and the store answer: 200, else 503."""
        found = {"database": "failed", "store": "failed"}
        known = None
        with _logged():
            known = _known_photo(workspace)
            found["database"] = "ok"
        with _logged():
            stored = (known or "0" * 64) in workspace.blobs  # without a photo: that the store answers at all
            found["store"] = "ok" if stored or known is None else "failed"
        return JSONResponse(found, 503 if "failed" in found.values() else 200)

    @routes.get("/metrics")
    def metrics() -> Response:
        """Photos, pairs, revisions, reviews and jobs, counted, for Prometheus."""
        return Response(generate_latest(counted), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return routes


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """What is wrong is for the log: anybody may ask for /healthz."""
    try:
        yield
    except StorageError as error:
        logger.error("%s: %s", type(error).__name__, error)


def _known_photo(workspace: Workspace) -> str | None:
    """A photo whose bytes must be in the store."""
    with workspace.database.read() as session:
        photo = Photos(session).first()
        return None if photo is None else photo.sha256
