"""serve, worker, up: what runs until it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
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
    """Annotate queued photos and carry out what reviewers asked for, until Ctrl-C.

    A worker on another machine joins by the same database_url and store_url. Ctrl-C lets what is in work end, a second
    one does not; what was begun and not ended is done by another worker, or at the next start.
    """
    from annotator import metrics
    from annotator.jobs.slots import Slots
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace, log="json" if log_json else None)
    say = _logging(opened)
    _ = opened.database  # says what is wrong with it before any process is started
    running = Slots(opened, slots, say)

    def stop(*_: object) -> None:
        if running.ended.is_set():
            running.hurry()
        running.ended.set()

    end_metrics = metrics.offer(opened, metrics_port) if metrics_port is not None else None
    try:
        with running:
            for number in (signal.SIGTERM, signal.SIGINT):  # also where SIGINT is ignored, as for background jobs
                signal.signal(number, stop)
            while not running.ended.wait(3600):
                pass
            if running.is_unfit:
                raise typer.Exit(1)
            say("worker is stopping: what is in work may end")
        say("worker is stopped")
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
    from annotator.jobs.slots import Slots
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
    with server, Slots(opened, slots, say):
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


def _logging(opened: Workspace) -> Callable[[str], None]:
    """Sets logs up; returns who is told what a person should know."""
    from annotator import logs

    logs.configure(opened.settings.log)
    return logs.teller(opened.settings.log, output.say)
