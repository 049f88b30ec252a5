"""A hub on a loopback port: the few answers of the real one that its client asks for, and the ways it fails."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """One repository. `fails`: path -> status to answer; `damaged`: paths whose bytes are not those of their digest."""

    def __init__(self, repo: str, files: dict[str, bytes]) -> None:
        self.repo, self.files = repo, files
        self.fails: dict[str, int] = {}
        self.damaged: set[str] = set()
        self.gated = False
        self.served: list[str] = []  # paths whose bytes were sent
        self.tokens: set[str] = set()
        self.url = ""

    def info(self) -> dict[str, Any]:
        siblings = [{"rfilename": path, **self._blob(path)} for path in self.files]
        return {"id": self.repo, "sha": COMMIT, "private": False, "siblings": siblings}

    def tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": path, "oid": self._blob(path)["blobId"], **self._blob(path)} for path in self.files
        ]

    def _blob(self, path: str) -> dict[str, Any]:
        content = self.files[path]
        blob: dict[str, Any] = {"size": len(content), "blobId": hashlib.sha1(content).hexdigest()}
        if path.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            blob["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 134}
        return blob

    def etag(self, path: str) -> str:
        blob = self._blob(path)
        return str(blob.get("lfs", {}).get("sha256", blob["blobId"]))


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            token = self.headers.get("Authorization")
            hub.tokens |= {token} if token else set()
            if hub.gated and not token:
                self._answer(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
            elif path.startswith(f"/api/models/{hub.repo}/revision/"):
                self._answer(200, json.dumps(hub.info()).encode(), {"Content-Type": "application/json"})
            elif path.startswith(f"/api/models/{hub.repo}/tree/"):
                self._answer(200, json.dumps(hub.tree()).encode(), {"Content-Type": "application/json"})
            elif path.startswith(f"/{hub.repo}/resolve/{COMMIT}/"):
                self._file(path.partition(f"{COMMIT}/")[2])
            else:
                self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def _file(self, name: str) -> None:
            if name in hub.fails:
                self._answer(hub.fails[name], b"{}", {})
                return
            content = hub.files[name]
            if name in hub.damaged:
                content = bytes(len(content))
            if self.command == "GET":
                hub.served.append(name)
            self._answer(200, content, {"ETag": f'"{hub.etag(name)}"', "X-Repo-Commit": COMMIT})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
