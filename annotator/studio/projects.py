"""Projects of a Label Studio in which a workspace is reviewed, and the webhook each of them calls."""

from __future__ import annotations

import hashlib
import hmac

from sqlalchemy.orm import Session

from annotator.studio.alone import Turn, alone
from annotator.studio.connection import Connection, Missing, understood
from annotator.studio.errors import Refused, StudioError, Unreachable
from annotator.studio.labeling import labeling_config
from annotator.studio.prediction import MODEL_VERSION
from annotator.web.secret import workspace_secret
from annotator.workspace import Workspace
from db.models import StudioProject
from db.repositories import Pairs, Studio

TITLE = "hoi-annotate"
SECRET_HEADER = "X-Hoi-Secret"
HOOK_PATH = "/hooks/label-studio"
PROMPTS = "hoi-annotate: masks from prompts"
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED")


def ensure(workspace: Workspace, connection: Connection, title: str | None) -> StudioProject:
    """The workspace's project of this name (its newest when None), made when there is none that still exists.

    All its projects are looked at: what was in one that somebody deleted may go into this one.
    """
    with alone(workspace, Turn.PUSH):
        with workspace.database.read() as session:
            known = Studio(session).projects(connection.url)
        there = [project for project in known if exists(workspace, connection, project)]
        for project in reversed(there):
            if title in (None, project.title):
                return project
        return _make(workspace, connection, title or TITLE)


def _make(workspace: Workspace, connection: Connection, title: str) -> StudioProject:
    with understood(connection.url):
        made = connection.api.projects.create(
            title=title,
            description="Hand-object pairs of hoi-annotate: accept, reject, or fix.",
            label_config=labeling_config(),
            model_version=MODEL_VERSION,
            show_collab_predictions=True,
            maximum_annotations=1,
            sampling="Uncertainty sampling",
        )
    assert made.id is not None
    with workspace.database.write() as session:
        project = StudioProject(url=connection.url, external_id=made.id, title=title)
        old = Studio(session).project(connection.url, made.id)
        if old is not None:  # a server that forgot its projects counts from 1 again
            _forget(session, old)
            old.external_id = -old.id
            session.flush()
        Studio(session).add(project)
        session.expunge(project)
    return project


def exists(workspace: Workspace, connection: Connection, project: StudioProject) -> bool:
    """Whether the server still has it; one that was deleted is remembered as gone, its pairs wait again."""
    try:
        with understood(connection.url):
            connection.api.projects.get(id=project.external_id)
    except Missing:
        forget(workspace, project)
        return False
    return True


def forget(workspace: Workspace, project: StudioProject) -> None:
    """The project is gone: its pairs wait for a reviewer again."""
    with workspace.database.write() as session:
        _forget(session, Studio(session).get(project.id))


def _forget(session: Session, row: StudioProject) -> None:
    row.state = "gone"
    studio = Studio(session)
    for task in [*studio.tasks(row), *studio.claimed(row)]:
        if task.state == "open" and task.revision is not None:
            Pairs(session).move(task.revision.pair, "in_review", "preannotated")
        task.state = "gone"


def hook_secret(workspace: Workspace) -> str:
    """What Label Studio must send along; another than the one links are signed with."""
    return hmac.new(workspace_secret(workspace.root), b"webhook", hashlib.sha256).hexdigest()


def prompts(connection: Connection, project: StudioProject, url: str) -> bool:
    """Makes the project send boxes and points to us (annotator.web.ml_backend); False when it does already.

    We must be up: it asks at once. The webhook it makes along with it carries no secret of ours, and goes; so does a
    backend of ours at an earlier address.
    """
    api = connection.api
    right = False
    with understood(connection.url):
        for backend in api.ml.list(project=project.external_id):
            if backend.url == url:
                right = True
            elif backend.title == PROMPTS and backend.id is not None:
                api.ml.delete(id=backend.id)
    try:
        with understood(connection.url):
            if not right:
                api.ml.create(url=url, project=project.external_id, title=PROMPTS, is_interactive=True)
    except (Missing, Refused, Unreachable):
        raise
    except StudioError as error:  # what it says repeats the address, which is a key
        raise StudioError(
            f"the Label Studio at {connection.url} cannot reach us at {url.split('/ml/')[0]}: boxes and points make no "
            "masks there until it can (public_url); reviews are not concerned"
        ) from error
    with understood(connection.url):
        for found in api.webhooks.list(project=project.external_id):
            if found.url.startswith(url) and found.id is not None:
                api.webhooks.delete(id=found.id)
    return not right


def hook(workspace: Workspace, connection: Connection, project: StudioProject, base_url: str) -> bool:
    """Makes the project call us; False when it does already. Other webhooks of ours, outdated, are removed."""
    url, headers = base_url.rstrip("/") + HOOK_PATH, {SECRET_HEADER: hook_secret(workspace)}
    right = False
    with understood(connection.url):
        hooks = connection.api.webhooks
        for found in hooks.list(project=project.external_id):
            ours = SECRET_HEADER in (found.headers or {})
            if ours and found.url == url and found.headers == headers and found.is_active and not right:
                right = True
            elif ours and found.id is not None:
                hooks.delete(id=found.id)
        if not right:
            hooks.create(
                url=url,
                project=project.external_id,
                headers=headers,
                send_payload=True,
                send_for_all_actions=False,
                actions=list(ACTIONS),  # type: ignore[arg-type]
            )
    return not right
