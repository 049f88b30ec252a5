"""The server as one application."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from annotator import logs
from annotator.report.templates import environment
from annotator.web import gallery, guard, health, static, viewer
from annotator.web.links import Links
from annotator.workspace import Workspace
from db.errors import DatabaseBusy, NotFound, StorageError
from pipeline.errors import HoiError

logger = logs.get_logger(__name__)

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def create_app(
    workspace: Workspace,
    *,
    task_url: Callable[[str], str | None] = lambda _pair: None,
    routers: Sequence[APIRouter] = (),
    most_bytes: int = guard.MOST_BYTES,
) -> FastAPI:
    """Everything `serve` offers; `routers` are added to it.

    `task_url` gives the address of a pair's task in Label Studio when there is one. Addresses are keys: run it
    with uvicorn's access log off. Raises WorkspaceError when the workspace's secret cannot be used.
    """
    links = Links.of(workspace)
    app = FastAPI(title="hoi-annotate", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    for router in (
        viewer.router(workspace, links),
        gallery.router(workspace, links, task_url),
        health.router(workspace),
        static.router,
        *routers,
    ):
        app.include_router(router)
    app.add_api_route("/docs", lambda: _docs(app), include_in_schema=False)
    app.add_middleware(guard.Guard, most_bytes=most_bytes)
    for kind in (StorageError, HoiError, Exception):
        app.add_exception_handler(kind, _failed)
    return app


def _failed(request: Request, error: Exception) -> Response:
    """One line for the client; what happened is for the log, without the address: it may be a key."""
    if isinstance(error, NotFound):
        return JSONResponse({"detail": "Not Found"}, 404)
    if isinstance(error, StorageError | HoiError):
        logger.error(str(error), error=type(error).__name__, **_about(request))
        status = 503 if isinstance(error, DatabaseBusy) else 500
        return JSONResponse({"detail": "the server cannot do this now, its log says why"}, status)
    return JSONResponse({"detail": "a bug in the server, its log has the traceback"}, 500, headers=guard.HEADERS)


def _about(request: Request) -> dict[str, Any]:
    named = request.path_params
    return {"pair": named["pair"], "revision": int(named["number"])} if {"pair", "number"} <= named.keys() else {}


def _docs(app: FastAPI) -> Response:
    page = environment().get_template("api.html.j2").render(rows=list(_operations(app.openapi())))
    return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(method, path, what it does) of everything in an OpenAPI document."""
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation.get("description", "")
