"""The server as the outside sees it: what opens, what stays shut, what every answer carries."""

from __future__ import annotations

import io
import json
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import trimesh
from fastapi import APIRouter, Body
from PIL import Image
from ports import free_port
from web_server import Client, add_pair, running

from annotator.records import reconstruction_digest
from annotator.web import guard
from annotator.web.app import create_app
from annotator.web.links import Links
from annotator.web.pictures import PHOTO_NAMES, REVISION_NAMES, Pictures
from annotator.workspace import Workspace
from db.errors import NotFound
from db.repositories import Pairs, Revisions

NASTY = "<img src=x onerror=alert(1)>'\"&.jpg"
MOST = 2000


@dataclass
class Served:
    workspace: Workspace
    links: Links
    pair: str
    sha256: str
    get: Client

    def path(self, name: str) -> str:
        return urlsplit(self.links.revision(self.pair, 1, name)).path

    def photo_path(self, name: str) -> str:
        return urlsplit(self.links.photo(self.sha256, name)).path


def _extra() -> APIRouter:
    routes = APIRouter()

    @routes.post("/echo")
    def echo(body: dict[str, str] = Body()) -> dict[str, int]:  # noqa: B008 (that is how fastapi wants it)
        """Counts."""
        return {"length": len(body["text"])}

    @routes.get("/bug")
    def bug() -> None:
        raise ZeroDivisionError("a bug that names /etc/secret")

    return routes


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = free_port()
    workspace = Workspace.create(tmp_path_factory.mktemp("web") / "workspace", port=port)
    pair = add_pair(workspace, name=NASTY)
    with workspace.database.read() as session:
        sha256 = Pairs(session).find(pair).photo.sha256
    with running(create_app(workspace, routers=[_extra()], most_bytes=MOST), port) as get:
        yield Served(workspace, Links.of(workspace), pair, sha256, get)
    workspace.close()


def test_every_picture_of_a_revision(served: Served) -> None:
    for name in REVISION_NAMES:
        answer = served.get(served.path(name))
        assert answer.status == 200, name
        assert "immutable" in answer.headers["cache-control"]
        if name.endswith(".jpg"):
            assert answer.headers["content-type"] == "image/jpeg"
            size = Image.open(io.BytesIO(answer.body)).size
            expected = {"photo.jpg": (480, 400), "overlay.jpg": (480, 400)}  # what masks are painted on
            assert size == expected.get(name, size)
            assert min(size) >= 200
    photo, overlay = (
        np.asarray(Image.open(io.BytesIO(served.get(served.path(name)).body)), dtype=int)
        for name in ("photo.jpg", "overlay.jpg")
    )
    assert (np.abs(photo - overlay).max(axis=2) > 40).mean() > 0.05  # the meshes are on it
    frames = {served.get(served.path(f"turntable-{i}.jpg")).body for i in range(8)}
    assert len(frames) == 8


def test_the_mesh_with_and_without_contact_heat(served: Served) -> None:
    colors = {}
    for name in ("scene.glb", "scene-plain.glb"):
        answer = served.get(served.path(name))
        assert answer.headers["content-type"] == "model/gltf-binary"
        scene = trimesh.load(io.BytesIO(answer.body), file_type="glb")
        assert set(scene.geometry) == {"hand", "object"}
        colors[name] = np.asarray(scene.geometry["hand"].visual.vertex_attributes["color"])
    assert len(np.unique(colors["scene-plain.glb"], axis=0)) == 1
    assert len(np.unique(colors["scene.glb"], axis=0)) > 20


def test_a_whole_revision_as_a_file(served: Served, s3: str, tmp_path: Path) -> None:
    with served.workspace.database.read() as session:
        digest = reconstruction_digest(Revisions(session).get(Pairs(session).find(served.pair)))
    answer = served.get(served.path("reconstruction.npz"))
    assert answer.headers["content-disposition"] == f'attachment; filename="{served.pair}-1.npz"'
    assert answer.body == served.workspace.blobs.get(digest)

    team = Workspace.create(tmp_path / "team", store_url=s3)
    pair = add_pair(team)
    with running(create_app(team), free_port()) as get:
        sent = get(urlsplit(Links.of(team).revision(pair, 1, "reconstruction.npz")).path)
    assert (sent.status, sent.headers["cache-control"]) == (307, "no-store")
    with urllib.request.urlopen(sent.headers["location"]) as from_bucket:  # the bucket answers whoever has this address
        assert from_bucket.read() == answer.body


def test_pictures_are_made_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Pictures(served.workspace)
    first = {name: pictures.of_revision(served.pair, 1, name) for name in REVISION_NAMES}
    monkeypatch.setattr("annotator.web.pictures._make", lambda *_: pytest.fail("made again"))
    again = Pictures(served.workspace)
    assert {name: again.of_revision(served.pair, 1, name) for name in REVISION_NAMES} == first


def test_a_lost_cache_is_filled_again(served: Served) -> None:
    before = served.get(served.path("thumb.jpg")).body
    shutil.rmtree(served.workspace.cache_folder)
    assert served.get(served.path("thumb.jpg")).body == before


def test_a_photo_without_a_pair(served: Served) -> None:
    for name in PHOTO_NAMES:
        answer = served.get(served.photo_path(name))
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
    size = Image.open(io.BytesIO(served.get(served.photo_path("photo.jpg")).body)).size
    assert size == (480, 400)


def test_the_viewer_page_escapes_names(served: Served) -> None:
    page = served.get(served.path("viewer"))
    assert page.status == 200
    assert "<img src=x" not in page.text
    assert "&lt;img src=x" in page.text
    assert 'src="scene.glb"' in page.text
    assert "auto-rotate" not in page.text
    assert "http" not in page.text  # nothing from elsewhere


def test_wrong_tokens_open_nothing(served: Served) -> None:
    token = served.path("photo.jpg").split("/")[4]
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    for path in (
        f"/r/{served.pair}/1/{wrong}/photo.jpg",
        f"/r/{served.pair}/1/{wrong}/viewer",
        f"/r/{served.pair}/1/{wrong}/reconstruction.npz",
        f"/r/{served.pair}/2/{token}/photo.jpg",
        f"/r/{served.pair[:6]}/1/{token}/photo.jpg",  # the beginning of an id names a pair elsewhere
        f"/r/{served.pair}/1//photo.jpg",
        f"/p/{served.sha256}/{token}/photo.jpg",
        f"/p/{'0' * 64}/{token}/photo.jpg",
    ):
        answer = served.get(path)
        assert answer.status == 404, path
        assert answer.json == {"detail": "Not Found"}


def test_a_right_token_for_what_is_not_there(served: Served) -> None:
    for url in (
        served.links.revision(served.pair, 99, "photo.jpg"),
        served.links.revision(served.pair, 99, "viewer"),
        served.links.revision("nobody-0", 1, "photo.jpg"),
        served.links.revision(served.pair, 1, "hoi.sqlite"),
        served.links.photo("0" * 64, "photo.jpg"),
        served.links.photo(served.sha256, "scene.glb"),
    ):
        assert served.get(url).status == 404, url


@pytest.mark.parametrize("climb", ["../", "..%2f", "%2e%2e/", "..\\", "....//", "%2e%2e%2f"])
def test_paths_lead_nowhere_else(served: Served, climb: str) -> None:
    root = served.path("")
    for start in (root, "/static/", "/static/0/", "/p/", "/"):
        for target in (".secret", "hoi.sqlite", "etc/passwd"):
            answer = served.get(start + climb * 6 + target)
            assert answer.status in (404, 422)
            assert b"root:" not in answer.body
    secret = (served.workspace.root / ".secret").read_bytes().strip()
    assert secret not in served.get(root + climb + ".secret").body


def test_other_origins_may_read_pictures_and_nothing_else(served: Served) -> None:
    key = served.links.gallery().partition("key=")[2]
    shared = [served.path(name) for name in (*REVISION_NAMES, "viewer")]
    shared += [served.photo_path(name) for name in PHOTO_NAMES]
    for path in shared:
        assert served.get(path, Origin="http://127.0.0.1:8080").headers["access-control-allow-origin"] == "*"
    for path in (
        "/gallery",
        "/healthz",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/nowhere",
        "/bug",
        "/static/0/viewer.js",
    ):
        answer = served.get(path, Origin="http://127.0.0.1:8080", Cookie=f"hoi_gallery={key}")
        assert "access-control-allow-origin" not in answer.headers, path


def test_every_answer_is_careful(served: Served) -> None:
    for path in (served.path("photo.jpg"), served.path("viewer"), "/gallery", "/healthz", "/docs", "/nowhere", "/bug"):
        headers = served.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer", path
        assert "default-src 'none'" in headers["content-security-policy"], path
    assert "frame-ancestors *" in served.get(served.path("viewer")).headers["content-security-policy"]
    assert "frame-ancestors 'none'" in served.get("/gallery").headers["content-security-policy"]


def test_large_bodies_are_refused(served: Served) -> None:
    def post(length: int, chunked: bool) -> int:
        body = json.dumps({"text": "x" * length}).encode()
        headers = {"Content_Type": "application/json"}
        return served.get("/echo", "POST", iter([body[:50], body[50:]]) if chunked else body, **headers).status

    assert [post(100, False), post(100, True)] == [200, 200]
    assert [post(MOST, False), post(MOST, True)] == [413, 413]  # said beforehand, and found out on the way
    assert guard.MOST_BYTES == 16 * 2**20


def test_a_bug_tells_the_client_nothing(served: Served) -> None:
    answer = served.get("/bug")
    assert answer.status == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_the_docs_need_nobody_else(served: Served) -> None:
    page = served.get("/docs")
    assert page.status == 200
    assert "/r/{pair}/{number}/{token}/{name}" in page.text
    assert "Counts." in page.text  # routers that were given are in it
    assert "<script" not in page.text
    assert "/echo" in served.get("/openapi.json").json["paths"]


def test_static_files_by_digest(served: Served) -> None:
    page = served.get(served.path("viewer")).text
    script = page.split("model-viewer.js")[0].rpartition("../")[2]
    answer = served.get(f"/{script}model-viewer.js")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert served.get("/static/0123456789abcdef/model-viewer.js").status == 404


def test_health_and_metrics(served: Served) -> None:
    assert served.get("/healthz").json == {"database": "ok", "store": "ok"}
    metrics = served.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'hoi_pairs{status="preannotated"} 1.0' in metrics.text
    assert 'hoi_revisions{trigger="preannotate"} 1.0' in metrics.text
    assert "process_" not in metrics.text  # a registry of our own


def test_health_says_what_is_broken(workspace: Workspace, tmp_path: Path) -> None:
    pair = add_pair(workspace)
    with running(create_app(workspace), free_port()) as get:
        assert get("/healthz").status == 200
        shutil.move(workspace.root / "store", tmp_path / "elsewhere")
        answer = get("/healthz")
        assert (answer.status, answer.json) == (503, {"database": "ok", "store": "failed"})
        lost = urlsplit(Links.of(workspace).revision(pair, 1, "photo.jpg")).path
        answer = get(lost)
        assert answer.status == 500
        assert str(tmp_path) not in answer.text
    nowhere = "postgresql+psycopg://hoi@127.0.0.1:1/none"
    unreachable = Workspace(workspace.root, database_url=nowhere, store_url=(tmp_path / "elsewhere").as_uri())
    with running(create_app(unreachable), free_port()) as get:
        answer = get("/healthz")
        assert (answer.status, answer.json) == (503, {"database": "failed", "store": "ok"})


def test_names_are_checked_before_anything_is_made(served: Served) -> None:
    with pytest.raises(NotFound, match="nothing is called"):
        Pictures(served.workspace).of_revision(served.pair, 1, "../../hoi.sqlite")
