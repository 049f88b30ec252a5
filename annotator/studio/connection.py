"""Talking to a Label Studio through its SDK: one client per workspace, and errors a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annotator.studio import credentials
from annotator.studio.errors import Refused, StudioError, Unreachable
from annotator.workspace import Workspace

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

NOT_FOUND, REFUSED = 404, (401, 403)


class Missing(StudioError):
    """A thing we knew there is gone."""


@dataclass(frozen=True)
class Connection:
    """A Label Studio and who we are there."""

    url: str
    api: LabelStudio


def connect(workspace: Workspace) -> Connection:
    """The Label Studio of a workspace. Raises StudioError when it has none."""
    found = credentials.load(credentials.path_of(workspace.root))
    if found is None or not found.url:
        raise StudioError(
            "this workspace has no Label Studio: 'hoi-annotate up' starts one, 'hoi-annotate studio connect' takes a "
            "team's own"
        )
    return open_connection(found.url, found.token)


def open_connection(url: str, token: str) -> Connection:
    """A client for a server; nothing is asked yet. Raises Refused for a token that says itself that it has expired."""
    from label_studio_sdk import LabelStudio

    url = url.rstrip("/")
    with understood(url):
        return Connection(url, LabelStudio(base_url=url, api_key=token, timeout=60))  # type: ignore[no-untyped-call]


def account(connection: Connection) -> str:
    """Whose token it is. Raises Refused, Unreachable."""
    with understood(connection.url):
        return connection.api.users.whoami().email or ""


@contextmanager
def understood(url: str) -> Iterator[None]:
    """What the SDK raises, as one line. Raises Missing, Refused, Unreachable or StudioError."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        yield
    except ApiError as error:
        if error.status_code == NOT_FOUND:
            raise Missing(f"something of ours is gone from the Label Studio at {url}: look at its projects") from error
        if error.status_code in REFUSED:
            raise Refused(
                f"the Label Studio at {url} refuses our token: give it a valid one with 'hoi-annotate studio connect'"
            ) from error
        raise StudioError(f"the Label Studio at {url} answered {error.status_code}: {_said(error.body)}") from error
    except httpx.HTTPError as error:
        raise Unreachable(f"the Label Studio at {url} does not answer: is it running?") from error


def _said(body: object) -> str:
    text = str(body.get("detail") or body) if isinstance(body, dict) else str(body)
    return " ".join(text.split())[:300]
