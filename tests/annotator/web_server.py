"""For the tests of the server: a workspace with a pair that can be looked at, served by a real uvicorn."""

from __future__ import annotations

import http.client
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI
from PIL import Image
from report_scene import pair_view

from annotator.publishing import publish_answer
from annotator.records import columns
from annotator.work import Answer
from annotator.workspace import Workspace
from db.models import Photo
from db.repositories import Photos
from pipeline import codec
from pipeline.recipe import Recipe
from pipeline.types import Side


def add_pair(workspace: Workspace, side: Side = "right", name: str = "carton.jpg", **column: Any) -> str:
    """Publishes the report tests' scene as a pair of its own photo; `column` overrides columns of the revision."""
    view = pair_view(side)
    made, shown = view.reconstruction, io.BytesIO()
    Image.fromarray(view.photo.image).save(shown, "PNG", pnginfo=_comment(name))
    sha256 = workspace.blobs.put(shown.getvalue())
    answer = Answer(0, None, codec.digest(made), {}, (), columns(made) | column, codec.encode(made))
    workspace.blobs.put(answer.npz)
    with workspace.database.write() as session:
        photo = Photo(sha256=sha256, name=name, width=view.photo.size[1], height=view.photo.size[0], status="done")
        pair, _ = publish_answer(session, Photos(session).add(photo), answer, Recipe.load("cpu"), "preannotate")
        return pair.public_id


def _comment(text: str) -> Any:
    """Makes the same picture another file."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", text)
    return info


@dataclass
class Answered:
    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends paths as they are: nothing tidies '..' away first."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=240)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path.removeprefix(f"http://127.0.0.1:{self.port}"), body=body, headers=named)
            answer = connection.getresponse()
            return Answered(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@contextmanager
def running(app: FastAPI, port: int) -> Iterator[Client]:
    """A real server in a thread."""
    # log_config=None, as `serve` does it: dictConfig closes all handlers, and absl's closes pytest's stream with it
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.05)
        yield Client(port)
    finally:
        server.should_exit = True
        thread.join()
