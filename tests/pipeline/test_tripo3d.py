"""Tripo3D through its real SDK, against a server of ours that speaks its API."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import trimesh
from lrm_scene import DISTANCE, Seen, drawn, iou, look_at, mug, seen_by, sphere
from PIL import Image

from pipeline.adapters import load_adapter
from pipeline.errors import PipelineError
from pipeline.reconstruct.tripo3d import NoTripoKey, Tripo3DReconstructor
from pipeline.types import ObjectMesh

pytest.importorskip("tripo3d", reason="pip install 'hoi-annotate[tripo]'")

KEY = "tsk_a_secret_of_ours"
MUG = mug()
VERTS = np.stack([MUG.vertices[:, 0], MUG.vertices[:, 2], -MUG.vertices[:, 1]], 1)  # y up
FACES = np.asarray(MUG.faces, np.int64)


class Service(ThreadingHTTPServer):
    """What the service has seen, and how it will end the next task."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, bytes, str]] = []
        self.status, self.balance, self.polls = "success", 100.0, 0
        self.model = trimesh.Trimesh(VERTS, FACES, process=False).export(file_type="glb")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, body, self.headers.get("Authorization", "")))
        if self.path == "/mug.glb":
            return self._send(self.server.model)
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self._send(json.dumps({"code": 1002, "message": f"no such key {KEY}"}).encode(), 401)
        if self.path == "/v3/files":
            data: Any = {"file_token": "file_1"}
        elif self.path == "/v3/generation/image-to-model":
            data = {"task_id": "task-1"}
        elif self.path == "/v3/account/balance":
            data = {"balance": self.server.balance, "frozen": 0}
        else:
            self.server.polls += 1
            done = self.server.polls > 1
            data = {"task_id": "task-1", "status": self.server.status if done else "running", "progress": 50}
            data |= {"output": {"model_url": f"{self.server.url}/mug.glb"}, "credits_consumed": 30} if done else {}
            data |= {"error_msg": "the picture is empty"} if done and self.server.status == "failed" else {}
        return self._send(json.dumps({"code": 0, "data": data}).encode())

    do_GET = do_POST = _answer  # noqa: N815

    def _send(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("TRIPO_API_KEY", KEY)
    server = Service()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def seen() -> Seen:
    c2w = look_at(sphere(20, 20, 3.5, "y", "x"), np.array([0, 1.0, 0]))
    return seen_by(VERTS, FACES, c2w, 30, (700, 400))


def reconstruct(adapter: Any, seen: Seen) -> ObjectMesh:
    return adapter.reconstruct(seen.photo, seen.completion, seen.completion.amodal_mask, seen.camera, DISTANCE)


def test_the_object_alone_goes_out_and_a_placed_mesh_comes_back(
    service: Service, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    adapter = load_adapter("reconstruct", "tripo3d", {"url": service.url, "seed": 7, "faces": 5000})
    item = reconstruct(adapter, seen)
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.95
    assert item.notes == ("tripo3d took 30 credits",)
    sent = {path: body for _, path, body, _ in service.seen}
    order = json.loads(sent["/v3/generation/image-to-model"])
    assert (order["model_seed"], order["face_limit"], order["pbr"]) == (7, 5000, False)
    start = sent["/v3/files"].index(b"\x89PNG")
    picture = np.asarray(Image.open(io.BytesIO(sent["/v3/files"][start:])))
    assert picture.shape[2] == 4
    extent = max(np.ptp(side) + 1 for side in np.nonzero(picture[..., 3] > 127))
    assert extent / len(picture) == pytest.approx(0.85, abs=0.01)
    assert KEY not in caplog.text
    assert KEY not in repr(vars(adapter)) + adapter.weights_digest
    assert not next(authorised for _, path, _, authorised in service.seen if path == "/mug.glb")


def test_the_cost_of_a_batch_is_one_line_before_it(service: Service) -> None:
    adapter = Tripo3DReconstructor({"url": service.url})
    assert adapter.cost(3) == ("tripo3d: 3 objects at 30 credits are 90 credits (about 0.90 USD); the account has 100")
    assert adapter.cost(4).endswith("the account has 100, which is not enough")
    assert [path for _, path, _, _ in service.seen] == ["/v3/account/balance"] * 2


def test_a_task_that_fails_is_one_line(service: Service, seen: Seen) -> None:
    service.status = "failed"
    with pytest.raises(PipelineError, match=r"^tripo3d: task task-1 is failed: the picture is empty$"):
        reconstruct(Tripo3DReconstructor({"url": service.url}), seen)


def test_errors_never_hold_the_key(service: Service, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPO_API_KEY", KEY + "x")
    with pytest.raises(PipelineError) as caught:
        reconstruct(Tripo3DReconstructor({"url": service.url}), seen)
    assert str(caught.value).startswith("tripo3d: ")
    assert KEY + "x" not in str(caught.value)
    monkeypatch.setenv("TRIPO_API_KEY", KEY)
    monkeypatch.setattr(service, "balance", None)
    with pytest.raises(PipelineError, match="Connection error"):
        Tripo3DReconstructor({"url": "http://127.0.0.1:1"}).cost(1)


def test_without_a_key_it_says_where_to_get_one(monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    monkeypatch.delenv("TRIPO_API_KEY", raising=False)
    adapter = Tripo3DReconstructor({})
    assert adapter.needs() == ["tripo3d: no key; get one at https://platform.tripo3d.ai and set TRIPO_API_KEY"]
    with pytest.raises(NoTripoKey):
        reconstruct(adapter, seen)
