"""The secret of a workspace, and addresses that nobody can guess."""

from __future__ import annotations

import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from annotator.errors import WorkspaceError
from annotator.web.links import TOKEN_DIGITS, Links
from annotator.web.secret import workspace_secret
from annotator.workspace import Workspace


def test_the_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    made = workspace_secret(tmp_path)
    assert workspace_secret(tmp_path) == made
    assert stat.S_IMODE((tmp_path / ".secret").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".secret"]
    assert len(made) == 64
    (tmp_path / "other").mkdir()
    assert workspace_secret(tmp_path / "other") != made


def test_many_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(workspace_secret, [tmp_path] * 64))
    assert len(secrets) == 1


def test_the_variable_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOI_SECRET", "a secret of our own")
    assert workspace_secret(tmp_path) == b"a secret of our own"
    assert not (tmp_path / ".secret").exists()
    monkeypatch.setenv("HOI_SECRET", "short")
    with pytest.raises(WorkspaceError, match=r"HOI_SECRET is too short.*at least 16"):
        workspace_secret(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xff"])
def test_a_damaged_secret_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".secret").write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"\.secret"):
        workspace_secret(tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="No such file"):
        workspace_secret(tmp_path / "gone")


def test_a_token_opens_what_it_was_made_for_only() -> None:
    links = Links("http://host:1/", b"s" * 32)
    path = urlsplit(links.revision("abc-0", 3, "photo.jpg")).path
    token = path.split("/")[4]
    assert path == f"/r/abc-0/3/{token}/photo.jpg"
    assert len(token) == TOKEN_DIGITS
    assert links.check_revision("abc-0", 3, token)
    others = [("abc-0", 2, token), ("abc-1", 3, token), ("abc-0", 3, token[:-1]), ("abc-0", 3, ""), ("abc-0", 3, "ß")]
    assert not any(links.check_revision(*other) for other in others)
    assert not Links("http://host:1", b"t" * 32).check_revision("abc-0", 3, token)

    photo = links.photo("f" * 64, "photo.jpg").split("/")
    assert links.check_photo("f" * 64, photo[-2])
    assert not links.check_photo("e" * 64, photo[-2])
    assert not links.check_photo("f" * 64, token)

    key = links.gallery().partition("key=")[2]
    assert links.check_gallery(key)
    assert not links.check_gallery(token)


def test_names_are_quoted_and_links_can_be_relative() -> None:
    links = Links("https://h/hoi", b"s" * 32)
    assert links.revision("a/../b?", 1, "x y").startswith("https://h/hoi/r/a%2F..%2Fb%3F/1/")
    assert links.relative().revision("abc-0", 1, "viewer").startswith("./r/abc-0/1/")


def test_the_workspace_says_where_it_is_reached(workspace: Workspace) -> None:
    assert Links.of(workspace).base_url == "http://127.0.0.1:8700"
    outside = Workspace(workspace.root, public_url="https://hoi.example.org/")
    assert Links.of(outside).gallery().startswith("https://hoi.example.org/gallery?key=")
    for host, address in (("192.0.2.7", "192.0.2.7"), ("::1", "[::1]"), ("2001:db8:0::7", "[2001:db8::7]")):
        assert Links.of(Workspace(workspace.root, host=host, port=90)).base_url == f"http://{address}:90"
    assert Links.of(Workspace(workspace.root, host="hoi.local")).base_url == "http://hoi.local:8700"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0:0::0", ""])
def test_every_address_of_a_machine_is_none_to_give_away(workspace: Workspace, host: str) -> None:
    with pytest.raises(WorkspaceError, match=r"public_url in hoi-annotate\.toml or HOI_PUBLIC_URL") as raised:
        Links.of(Workspace(workspace.root, host=host, port=90))
    assert f"http://{socket.gethostname()}:90" in str(raised.value)
    assert "\n" not in str(raised.value)
    named = Workspace(workspace.root, host=host, public_url="http://hoi.example.org:90")
    assert Links.of(named).base_url == "http://hoi.example.org:90"


def test_an_address_without_a_scheme_opens_nowhere(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match=r"public_url 'hoi\.example\.org'.*http://"):
        Links.of(Workspace(workspace.root, public_url="hoi.example.org"))
