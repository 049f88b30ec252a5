"""Runs the server until it is told to stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import uvicorn

from annotator.errors import WorkspaceError
from annotator.studio.loop import ReviewLoop
from annotator.studio.status import task_url
from annotator.web import hooks, ml_backend
from annotator.web.app import create_app
from annotator.web.links import Links
from annotator.workspace import Workspace


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on. Raises WorkspaceError when the port is taken or the host is not ours."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise WorkspaceError(
            f"cannot listen on {host}:{port} ({error.strerror}): stop what uses it, or set another port or host in "
            "hoi-annotate.toml (HOI_PORT, HOI_HOST)"
        ) from error
    return made


def serve(workspace: Workspace, on: socket.socket, say: Callable[[str], None], ready: Callable[[], None]) -> None:
    """Server and review loop, until SIGINT or SIGTERM. `ready` is called when it answers."""
    # While the server goes down, Label Studio cannot reach it, which is no trouble to tell of.
    loop = ReviewLoop(workspace, lambda line: None if server.should_exit else say(line))
    app = create_app(
        workspace,
        task_url=lambda pair: task_url(workspace, pair),
        routers=[hooks.router(workspace, loop.wake), ml_backend.router(workspace, Links.of(workspace))],
    )
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))

    def started() -> None:
        loop.start()  # Label Studio asks us at once when it is told our address
        ready()

    threading.Thread(target=_when_started, args=(server, started), daemon=True).start()
    try:
        server.run(sockets=[on])
    finally:
        loop.stop()


def _when_started(server: uvicorn.Server, ready: Callable[[], None]) -> None:
    pause = threading.Event()
    while not server.started and not server.should_exit:
        pause.wait(0.05)
    if server.started:
        ready()
