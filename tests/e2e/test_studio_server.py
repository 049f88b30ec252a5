"""Our own Label Studio, for real: it starts, lets us in, keeps its secrets and its data, and ends when it should."""

from __future__ import annotations

import http.server
import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from label_studio_sdk import LabelStudio
from label_studio_sdk.core import ApiError
from ports import free_port

from annotator.studio import credentials, login
from annotator.studio.errors import StudioError
from annotator.studio.server_process import StudioServer
from annotator.workspace import Workspace

if TYPE_CHECKING:
    from studio_server import Studio

pytest_plugins = ["studio_server"]
pytestmark = [pytest.mark.studio, pytest.mark.slow]

CONFIG = '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="yes"/></Choices></View>'
COMMAND = (
    "import typer; from annotator.cli import Commands, studio as s; a = typer.Typer(cls=Commands); s.register(a); a()"
)
NewStudio = Callable[[], "Studio"]


def eventually(true: Callable[[], bool], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def runs(pid: int) -> bool:
    """Whether there is such a process, and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def processes_on(folder: Path) -> list[int]:
    """Those that work in the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder and runs(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def answers(url: str) -> bool:
    port = int(url.rsplit(":", 1)[1])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def everything_written(folder: Path) -> bytes:
    """What lies open in the folder: neither the database nor the files that are there to keep secrets."""
    kept = ("label_studio.sqlite3", ".env", credentials.FILE)
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in kept)


def test_the_generated_account_logs_in_by_token_and_by_password(studio: Studio) -> None:
    assert studio.client().users.whoami().email == studio.user
    assert login.user_of(studio.url, studio.token) == studio.user
    assert login.current_token(studio.url, studio.user, studio.password) == studio.token
    assert login.user_of(studio.url, "0" * 40) is None
    assert login.current_token(studio.url, studio.user, "wrong") is None


def test_it_listens_on_loopback_only(studio: Studio) -> None:
    port = f"{studio.server.port:04X}"
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    assert [address for address in listening if address.endswith(f":{port}")] == [f"0100007F:{port}"]
    refused = httpx.get(f"{studio.url}/health", headers={"Host": "evil.example.org"}, timeout=240)
    assert refused.status_code == 400


def invitation(studio: Studio) -> str:
    """The token that lets people sign up."""
    answer = httpx.get(f"{studio.url}/api/invite", headers={"Authorization": f"Token {studio.token}"}, timeout=240)
    (token,) = re.findall(r"token=([\w-]+)", answer.text)
    return str(token)


def test_people_sign_up_with_an_invitation_only(studio: Studio) -> None:
    def sign_up(email: str, query: str) -> int:
        page = f"{studio.url}/user/signup/{query}"
        with httpx.Client(timeout=240) as browser:
            browser.get(page)
            form = {"email": email, "password": "a-long-password", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            return browser.post(page, data=form, headers={"Referer": page}).status_code

    assert sign_up("stranger@example.org", "") == 403
    assert sign_up("stranger@example.org", "?token=0000") == 403
    assert sign_up("invited@example.org", f"?token={invitation(studio)}") == 302
    assert login.current_token(studio.url, "stranger@example.org", "a-long-password") is None
    assert login.current_token(studio.url, "invited@example.org", "a-long-password") is not None


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web server on loopback, and the JSON bodies that were posted to it."""
    posted: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", posted
        server.shutdown()


def test_webhooks_reach_loopback(studio: Studio, receiver: tuple[str, list[dict[str, Any]]]) -> None:
    url, posted = receiver
    client = studio.client()
    project = client.projects.create(title="webhook", label_config=CONFIG).id
    client.webhooks.create(url=url, project=project, send_payload=True, send_for_all_actions=True)
    task = client.tasks.create(project=project, data={"t": "x"}).id
    chosen = {"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": ["yes"]}}
    client.annotations.create(id=task, result=[chosen])
    eventually(lambda: any(body["action"] == "ANNOTATION_CREATED" for body in posted), "no webhook came")
    (body,) = (body for body in posted if body["action"] == "ANNOTATION_CREATED")
    assert body["annotation"]["result"][0]["value"] == {"choices": ["yes"]}
    assert body["task"]["id"] == task


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "192.168.1.1", "172.16.0.1"])
def test_requests_to_private_networks_stay_forbidden(studio: Studio, address: str) -> None:
    client = studio.client()
    project = client.projects.create(title="ssrf", label_config=CONFIG).id
    with pytest.raises(ApiError) as refused:
        client.ml.create(url=f"http://{address}:9090", project=project)
    assert "reserved network address" in str(refused.value.body)


def test_a_busy_port_is_named_and_nothing_starts(studio: Studio, studio_venv: Path, tmp_path: Path) -> None:
    second = StudioServer(tmp_path / "second", studio_venv, studio.server.port, credentials.generate())
    with pytest.raises(StudioError, match=rf"port {studio.server.port} cannot be used .*--port"):
        second.start()
    assert second.pid is None
    assert processes_on(tmp_path / "second") == []


def test_two_servers_never_share_a_folder(studio: Studio, studio_venv: Path) -> None:
    second = StudioServer(studio.server.data_dir, studio_venv, 0, studio.server.credentials)
    with pytest.raises(StudioError, match=r"runs on .* already"):
        second.start()
    assert studio.client().users.whoami().email == studio.user


def test_a_missing_installation_is_named_with_its_remedy(tmp_path: Path) -> None:
    server = StudioServer(tmp_path / "data", tmp_path / "venv", 0, credentials.generate())
    with pytest.raises(StudioError, match="studio install"):
        server.start()


def test_stop_leaves_no_process_and_a_second_start_has_the_data(new_studio: NewStudio) -> None:
    mine = new_studio()
    project = mine.client().projects.create(title="kept", label_config=CONFIG).id
    url, pid = mine.url, mine.server.pid
    assert pid is not None
    assert processes_on(mine.server.data_dir) == [pid]
    mine.server.stop()
    mine.server.stop()
    assert processes_on(mine.server.data_dir) == []
    assert not answers(url)

    mine.server.start()
    assert mine.url == url
    assert [p.id for p in mine.client().projects.list()] == [project]
    mine.server.start()  # it runs: nothing to do
    assert len(processes_on(mine.server.data_dir)) == 1


def test_a_token_that_was_reset_is_fetched_anew_at_the_next_start(new_studio: NewStudio) -> None:
    mine = new_studio()
    old = mine.token
    mine.client().users.reset_token()
    assert login.user_of(mine.url, old) is None
    mine.server.stop()
    mine.server.start()
    assert mine.token != old
    assert mine.client().users.whoami().email == mine.user


def test_data_of_another_account_is_named(new_studio: NewStudio, studio_venv: Path) -> None:
    mine = new_studio()
    mine.server.stop()
    other = StudioServer(mine.server.data_dir, studio_venv, 0, credentials.generate())
    with pytest.raises(StudioError, match=r"made with other credentials"):
        other.start()
    assert processes_on(mine.server.data_dir) == []


def test_a_server_that_dies_says_so_and_starts_again(new_studio: NewStudio) -> None:
    mine = new_studio()
    assert mine.server.pid is not None
    os.kill(mine.server.pid, signal.SIGKILL)
    with pytest.raises(StudioError, match=r"stopped.*server\.log"):
        mine.server.wait()
    mine.server.start()
    assert mine.client().users.whoami().email == mine.user


def test_secrets_are_in_no_log_and_no_argument(new_studio: NewStudio) -> None:
    mine = new_studio()
    invited = invitation(mine)
    assert httpx.get(f"{mine.url}/user/signup/?token={invited}", timeout=240).status_code == 200
    assert httpx.get(f"{mine.url}/no/such/page?token={invited}", timeout=240).status_code == 404
    mine.client().projects.create(title="secrets", label_config=CONFIG)
    assert login.current_token(mine.url, mine.user, mine.password) == mine.token
    arguments = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes_on(mine.server.data_dir))
    assert b"run_label_studio" in arguments
    mine.server.stop()
    mine.server.start()
    written = everything_written(mine.server.data_dir)
    assert b"/no/such/page" in mine.server.log.read_bytes()
    for secret in (mine.password, mine.token, invited):
        assert secret.encode() not in written
        assert secret.encode() not in arguments
        assert secret not in repr(mine.server.credentials)
    assert stat.S_IMODE(mine.server.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((mine.server.data_dir / "label_studio.sqlite3").stat().st_mode) == 0o600


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "workspace")


def start_up(workspace: Workspace, venv: Path, stdout: int, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", COMMAND, "studio", "up", "--port", str(port), "-w", str(workspace.root)]
    env = os.environ | {"HOI_STUDIO_VENV": str(venv)}
    return subprocess.Popen(command, env=env, stdout=stdout, stderr=subprocess.DEVNULL)


def read_until(handle: int, wanted: bytes) -> str:
    said = b""
    while wanted not in said or not said.endswith(b"\n"):
        said += os.read(handle, 1000)
    return said.decode()


def test_up_shows_the_password_once_and_leaves_nothing_behind_however_it_ends(
    workspace: Workspace, studio_venv: Path
) -> None:
    data = workspace.root / "studio" / "data"
    kept = credentials.path_of(workspace.root)

    terminal, inside = pty.openpty()
    first = start_up(workspace, studio_venv, inside, port=free_port())
    said = read_until(terminal, b"password:")
    account = credentials.load(kept)
    assert account is not None
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert account.url in said
    assert account.user in said
    assert account.password in said
    assert LabelStudio(base_url=account.url, api_key=account.token, timeout=240).users.whoami().email == account.user
    (server,) = processes_on(data)
    first.kill()
    first.wait()
    eventually(lambda: not runs(server), "Label Studio outlives a killed parent")

    out, into = os.pipe()
    second = start_up(workspace, studio_venv, into, port=int(account.url.rsplit(":", 1)[1]))
    said = read_until(out, b"password:")
    assert account.password not in said
    assert str(kept) in said
    again = credentials.load(kept)
    assert again is not None
    assert again == account
    assert again.url in said
    second.send_signal(signal.SIGINT)
    assert second.wait(240) == 0
    assert processes_on(data) == []
    assert not answers(again.url)
    for handle in (terminal, inside, out, into):
        os.close(handle)
    assert account.token.encode() not in everything_written(workspace.root)
    assert account.password.encode() not in everything_written(workspace.root)
