"""serve, worker, up: what runs until it is stopped."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli import output
from annotator.cli.options import LogJsonOption, WorkspaceOption, examples

if TYPE_CHECKING:
    from annotator.workspace import Workspace

SlotsOption = Annotated[int, typer.Option("--slots", min=1, max=64, help="Jobs carried out at the same time.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("hoi-annotate serve", "HOI_PUBLIC_URL=https://hoi.example.org hoi-annotate serve"))(
        serve
    )
    app.command(epilog=examples("hoi-annotate worker", "hoi-annotate worker --slots 4 --metrics-port 8701"))(worker)
    app.command(epilog=examples("hoi-annotate up"))(up)


def serve(log_json: LogJsonOption = False, workspace: WorkspaceOption = None) -> None:
    """Viewer, gallery and webhooks, and the loop that takes reviews in, until Ctrl-C."""
    from annotator.web import serving
    from annotator.web.links import Links
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace, log="json" if log_json else None)
    say = _logging(opened)
    on = serving.listen(opened.settings.host, opened.settings.port)
    serving.serve(opened, on, say, lambda: output.data(f"gallery: {Links.of(opened).gallery()}"))


def worker(
    slots: SlotsOption = 1,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", min=1, max=65535, help="Offer /metrics for Prometheus there.")
    ] = None,
    log_json: LogJsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Carry out what reviewers asked for, until Ctrl-C."""
    from annotator import metrics
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace, log="json" if log_json else None)
    end_metrics = metrics.offer(opened, metrics_port) if metrics_port is not None else None
    try:
        _work(opened, slots, (signal.SIGTERM, signal.SIGINT))
    finally:
        if end_metrics is not None:
            end_metrics()


def up(
    slots: SlotsOption = 1,
    push: Annotated[bool, typer.Option(help="Give the reviewers at once what they have not seen.")] = True,
    workspace: WorkspaceOption = None,
) -> None:
    """Everything on this machine: Label Studio, serve and a worker, until Ctrl-C."""
    from annotator.cli import studio
    from annotator.studio import credentials, install, projects, tasks
    from annotator.studio.connection import connect
    from annotator.studio.server_process import StudioServer
    from annotator.web import serving
    from annotator.web.links import Links
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace)
    say = _logging(opened)
    kept = credentials.path_of(opened.root)
    account, fresh = credentials.own(kept)
    venv = install.venv_of(opened.settings)
    install.check(venv)
    gallery = Links.of(opened).gallery()  # first of all: without a public address nothing here can be reached
    on = serving.listen(opened.settings.host, opened.settings.port)
    say("starting Label Studio")
    server = StudioServer(opened.root / "studio" / "data", venv, opened.settings.studio_port, account)
    with server, _worker_process(opened, slots):
        if server.credentials != account:
            credentials.save(kept, server.credentials)
        connection = connect(opened)
        project = projects.ensure(opened, connection, None)
        if push:
            with output.Bar("push") as progress:
                tasks.push(opened, connection, project, progress=progress)

        def ready() -> None:
            studio.tell(server.credentials, kept, fresh)
            output.data(f"review:       {connection.url}/projects/{project.external_id}/data?labeling=1")
            output.data(f"gallery:      {gallery}")
            say("Ctrl-C stops everything; the same command goes on where this one stopped")

        serving.serve(opened, on, say, ready)
    say("stopped")


@contextmanager
def _worker_process(opened: Workspace, slots: int) -> Iterator[None]:
    """A worker beside us: the engine wants a process of its own. It ends when we end, however that happens."""
    process = multiprocessing.get_context("spawn").Process(
        target=_work_beside, args=(opened.root, slots, opened.settings.model_dump()), name="worker"
    )
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _work_beside(root: Path, slots: int, settings: dict[str, object]) -> None:
    from annotator.work import end_with_parent
    from annotator.workspace import Workspace

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    end_with_parent()
    _work(Workspace(root, **settings), slots)


def _work(opened: Workspace, slots: int, end_on: tuple[signal.Signals, ...] = (signal.SIGTERM,)) -> None:
    from annotator.jobs import JobWorker

    stopped = threading.Event()
    for number in end_on:  # also where SIGINT is ignored, as for a shell script's background jobs
        signal.signal(number, lambda *_: stopped.set())
    say = _logging(opened)
    jobs = JobWorker(opened, slots)
    jobs.start()
    say(f"worker with {slots} slot{'s' if slots > 1 else ''} is ready")
    try:
        stopped.wait()
        say("worker is stopped; what it had begun is done again at its next start")
    finally:
        jobs.stop()


def _logging(opened: Workspace) -> Callable[[str], None]:
    """Sets logs up; returns who is told what a person should know."""
    from annotator import logs

    logs.configure(opened.settings.log)
    return logs.teller(opened.settings.log, output.say)
