"""Where Label Studio calls us. It waits for the answer while the reviewer waits, and never calls twice: so the call is
only written down, and the loop (annotator.studio.loop) looks at the truth."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Request, Response

from annotator.studio.projects import ACTIONS, HOOK_PATH, SECRET_HEADER, hook_secret
from annotator.workspace import Workspace
from db.models import StudioEvent
from db.repositories import Studio

MOST_NUMBER = 2**31


def router(workspace: Workspace, wake: Callable[[], None]) -> APIRouter:
    """`wake` is called after an event was written."""
    routes = APIRouter()
    secret = hook_secret(workspace)

    @routes.post(HOOK_PATH, status_code=202)
    async def hook(request: Request, given: Annotated[str, Header(alias=SECRET_HEADER)] = "") -> Response:
        """A change in Label Studio: kept as a hint, answered at once."""
        if not hmac.compare_digest(given.encode(), secret.encode()):
            raise HTTPException(401, "wrong secret")
        try:
            said = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "not JSON") from error
        event = _event(said if isinstance(said, dict) else {})
        await _written(workspace, event)
        wake()
        return Response(status_code=202)

    return routes


async def _written(workspace: Workspace, event: StudioEvent) -> None:
    from starlette.concurrency import run_in_threadpool

    def write() -> None:
        with workspace.database.write() as session:
            Studio(session).add(event)

    await run_in_threadpool(write)


def _event(said: dict[str, Any]) -> StudioEvent:
    """An action we did not ask for stays nameless: what is said about it may be no text a database takes."""
    action = said.get("action")
    return StudioEvent(
        action=action if action in ACTIONS else "",
        project=_number(said.get("project")),
        task=_number(said.get("task")),
    )


def _number(thing: Any) -> int | None:
    number = thing.get("id") if isinstance(thing, dict) else None
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return number if 0 <= number < MOST_NUMBER else None
