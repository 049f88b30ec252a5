"""What Prometheus is told: our own rows, counted when it asks, so that every process of a workspace says the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from annotator.errors import WorkspaceError
from annotator.workspace import Workspace
from db.repositories import Chunks, Jobs, Measures, Pairs, Photos, Reviews, Revisions


class Rows(Collector):
    """Counts rows when it is asked."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def describe(self) -> list[Metric]:
        return []  # else registering would count, before the database is needed

    def collect(self) -> Iterator[Metric]:
        with self._workspace.database.snapshot() as session:
            measures = Measures(session)
            counts: list[tuple[str, str, str, dict[str, int]]] = [
                ("hoi_photos", "Photographs.", "status", Photos(session).counts()),
                ("hoi_pairs", "Hand-object pairs.", "status", Pairs(session).counts()),
                ("hoi_revisions", "Revisions of pairs.", "trigger", Revisions(session).counts()),
                ("hoi_reviews", "Reviews.", "verdict", Reviews(session).counts()),
                ("hoi_jobs", "Jobs; those queued are the depth of the queue.", "state", Jobs(session).counts()),
                ("hoi_chunks", "Chunks of photos for workers.", "state", Chunks(session).counts()),
                ("hoi_artifact_bytes", "What rows say of the store, photos left out.", "type", measures.bytes()),
            ]
            took, waits, queued = measures.job_seconds(), measures.longest_wait(), Photos(session).queued()
        for name, says, label, values in counts:
            family = GaugeMetricFamily(name, says, labels=[label])
            for value, count in values.items():
                family.add_metric([value], count)
            yield family
        yield GaugeMetricFamily("hoi_job_longest_wait_seconds", "Of the oldest job nobody has begun.", value=waits)
        yield GaugeMetricFamily("hoi_photos_queued", "Photographs that wait in chunks for a worker.", value=queued)
        summary = SummaryMetricFamily("hoi_job_seconds", "From a job's begin to its end.", labels=["kind"])
        for kind, count, seconds in took:
            summary.add_metric([kind], count, seconds)
        yield summary


def registry(workspace: Workspace) -> CollectorRegistry:
    """Not the process-wide one: a test may have two servers."""
    made = CollectorRegistry()
    made.register(Rows(workspace))
    return made


def offer(workspace: Workspace, port: int) -> Callable[[], None]:
    """Answers http://HOST:PORT/metrics in a thread; returns what ends that. Raises WorkspaceError."""
    try:
        server, thread = start_http_server(port, workspace.settings.host, registry(workspace))
    except OSError as error:
        raise WorkspaceError(
            f"cannot offer metrics on {workspace.settings.host}:{port} ({error.strerror}): name another --metrics-port"
        ) from error

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
