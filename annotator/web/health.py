"""/healthz for whatever restarts us, /metrics for Prometheus."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from annotator.workspace import Workspace
from db.errors import StorageError
from db.repositories import Pairs, Photos, Reviews, Revisions

logger = logging.getLogger(__name__)


def router(workspace: Workspace) -> APIRouter:
    routes = APIRouter()
    registry = CollectorRegistry()  # not the process-wide one: a test may have two servers
    registry.register(_Rows(workspace))

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
        """Photos, pairs, revisions and reviews, counted, for Prometheus."""
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

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


class _Rows(Collector):
    """Counts rows when it is asked, so every server of a workspace says the same."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # else registering would count, before the database is needed

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._workspace.database.read() as session:
            counts = [
                ("hoi_photos", "Photographs.", "status", Photos(session).counts()),
                ("hoi_pairs", "Hand-object pairs.", "status", Pairs(session).counts()),
                ("hoi_revisions", "Revisions of pairs.", "trigger", Revisions(session).counts()),
                ("hoi_reviews", "Reviews.", "verdict", Reviews(session).counts()),
            ]
        for name, says, label, values in counts:
            family = GaugeMetricFamily(name, says, labels=[label])
            for value, count in values.items():
                family.add_metric([value], count)
            yield family
