"""studio install, up, connect, push, sync, status: reviewing in Label Studio."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, WorkspaceOption, examples
from exports.text import counted

if TYPE_CHECKING:
    from annotator.config import Settings
    from annotator.studio.credentials import Credentials

PortOption = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Of Label Studio; 0 takes a free one.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Review in Label Studio.", no_args_is_help=True)
    group.command(epilog=examples("hoi-annotate studio install"))(install)
    group.command(epilog=examples("hoi-annotate studio up", "hoi-annotate studio up --port 8090"))(up)
    group.command(
        epilog=examples("hoi-annotate studio connect --url https://labels.example.org  # asks for the token")
    )(connect)
    group.command(
        epilog=examples("hoi-annotate studio push", "hoi-annotate studio push --limit 100 --min-priority 0.5")
    )(push)
    group.command(epilog=examples("hoi-annotate studio sync"))(sync)
    group.command(epilog=examples("hoi-annotate studio status --json"))(status)
    app.add_typer(group, name="studio")


def install(workspace: WorkspaceOption = None) -> None:
    """Install Label Studio into a virtual environment of its own: about 1 GB, once per user."""
    from annotator.studio.install import VERSION, venv_of
    from annotator.studio.install import install as install_into

    venv = venv_of(_settings(workspace))
    made = install_into(venv, output.say)
    output.say(f"Label Studio {VERSION} is {'installed' if made else 'there already'}")
    output.data(str(venv))


def up(port: PortOption = None, workspace: WorkspaceOption = None) -> None:
    """Run Label Studio for a workspace until Ctrl-C."""
    from annotator.studio import credentials
    from annotator.studio.install import venv_of
    from annotator.studio.server_process import StudioServer
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace)
    chosen = opened.settings.studio_port if port is None else port
    kept = credentials.path_of(opened.root)
    account, fresh = credentials.own(kept)
    server = StudioServer(opened.root / "studio" / "data", venv_of(opened.settings), chosen, account)
    try:
        output.say("starting Label Studio")
        with server:
            if server.credentials != account:
                credentials.save(kept, server.credentials)
            tell(server.credentials, kept, fresh)
            server.wait()
    except KeyboardInterrupt:
        output.say("Label Studio is stopped")


def connect(
    url: Annotated[str, typer.Option("--url", help="Of a Label Studio that runs already.")],
    token: Annotated[
        str,
        typer.Option(
            "--token", prompt=True, hide_input=True, envvar="HOI_STUDIO_TOKEN", help="Personal or legacy token."
        ),
    ],
    workspace: WorkspaceOption = None,
) -> None:
    """Review in a team's own Label Studio."""
    from annotator.errors import BadRequest
    from annotator.studio import credentials
    from annotator.studio.connection import account, open_connection
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace)
    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"'{url}' is no address of a Label Studio: it begins with http:// or https://")
    kept = credentials.path_of(opened.root)
    found = credentials.load(kept)
    if found is not None and found.ours:
        raise BadRequest(
            f"this workspace has a Label Studio of its own, with its account in {kept}: remove that file first"
        )
    connection = open_connection(url, token)
    user = account(connection)
    credentials.save(kept, credentials.Credentials(connection.url, token, user))
    output.data(f"connected to {connection.url} as {user}")


def push(
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many tasks.")] = None,
    min_priority: Annotated[
        float | None, typer.Option("--min-priority", min=0, max=1, help="Leave out pairs the tool is surer of.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="Its title; made when there is none.")] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Give the reviewers what they have not seen, the most doubtful first. A second push adds only what is new."""
    from annotator.studio import projects, tasks
    from annotator.studio.connection import connect as open_connection
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace)
    connection = open_connection(opened)
    chosen = projects.ensure(opened, connection, project)
    with output.Bar("push") as progress:
        done = tasks.push(opened, connection, chosen, limit=limit, min_priority=min_priority, progress=progress)
    address = f"{connection.url}/projects/{chosen.external_id}"
    if json:
        output.data_json({"project": address, "added": done.added, "adopted": done.adopted})
    else:
        output.data(f"{len(done.added)} new tasks in {address}" if done.added else f"nothing new for {address}")


def sync(json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """Read now what reviewers did; 'serve' does it by itself."""
    from annotator.jobs import JobQueue
    from annotator.studio import reconcile
    from annotator.studio.connection import connect as open_connection
    from annotator.workspace import Workspace
    from db.repositories import Studio

    opened = Workspace.find(workspace)
    connection = open_connection(opened)
    with opened.database.read() as session:
        projects = Studio(session).projects(connection.url)
    queue = JobQueue(opened)
    found: dict[str, dict[str, Any]] = {}
    for project in projects:
        done = reconcile.sync(opened, connection, queue, project)
        found[project.title] = {
            "reviews": done.reviews,
            "skipped": done.skipped,
            "withdrawn": done.withdrawn,
            "deleted_tasks": done.gone,
            "unusable": done.invalid,
        }
    queue.close()
    if json:
        output.data_json(found)
        return
    for title, counts in found.items():
        output.data(
            f"{title}: "
            + ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in counts.items() if what != "unusable")
        )
        for line in counts["unusable"]:
            output.data(f"  could not be used: {line}")


def status(json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """Tasks, jobs and verdicts; who reviewed how much, and how often they agree."""
    from annotator.studio.status import review_status
    from annotator.workspace import Workspace

    found = review_status(Workspace.find(workspace))
    if json:
        output.data_json(found)
        return
    for project in found["projects"]:
        output.data(f"{project['title']}  {project['url']}  {_counts(project['tasks'])}")
    output.data(f"jobs: {_counts(found['jobs'])}")
    for job in found["failed_jobs"]:
        output.data(f"  failed: {job['pair'] or job['photo']}: {job['reason']}")
    output.data(f"reviews: {_counts(found['reviews'])}")
    if found["reviewers"]:
        rows = [[name, n["all"], n["last_hour"]] for name, n in found["reviewers"].items()]
        output.table(["reviewer", "reviews", "last hour"], rows)
    for kind, rates in found["accept_rate"].items():
        if rates:
            output.table([kind, "reviews", "accepted"], [[k, r["reviews"], r["accepted"]] for k, r in rates.items()])
    agreement = found["agreement"]
    if agreement["revisions"]:
        judged = counted(agreement["revisions"], "revision")
        output.data(f"two people judged {judged}, and agree on {agreement['same']}")
    if found["unusable"]:
        output.data(f"not usable: {counted(found['unusable'], 'annotation')}; the reviewers were asked again")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items()) or "none"


def tell(account: Credentials, kept: Path, fresh: bool) -> None:
    """How to log in. The password is shown once, and only to a person: what is not a terminal may be a log."""
    output.data(f"Label Studio: {account.url}")
    output.data(f"user:         {account.user}")
    output.data(f"password:     {account.password if fresh and sys.stdout.isatty() else f'in {kept}'}")


def _settings(workspace: Path | None) -> Settings:
    """Those of the workspace; Label Studio can be installed before there is one."""
    from annotator import config
    from annotator.errors import WorkspaceError
    from annotator.workspace import Workspace

    try:
        return Workspace.find(workspace).settings
    except WorkspaceError:
        if workspace is not None:
            raise
        return config.load(Path())
