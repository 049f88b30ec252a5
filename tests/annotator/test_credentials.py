"""The account of a Label Studio is kept to its owner, made once, and never printed by accident."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from annotator.studio import credentials
from annotator.studio.credentials import Credentials
from annotator.studio.errors import StudioError


def test_an_account_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = credentials.path_of(tmp_path)
    made, fresh = credentials.own(path)
    again, still_fresh = credentials.own(path)
    assert (fresh, still_fresh) == (True, False)
    assert again == made
    assert made.ours
    assert re.fullmatch(r"[0-9a-f]{40}", made.token)
    assert len(made.password) >= 20
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [left.name for left in path.parent.iterdir()] == [credentials.FILE]
    assert credentials.generate().token != credentials.generate().token


def test_secrets_are_not_in_its_repr() -> None:
    made = credentials.generate()
    assert made.token not in repr(made)
    assert made.password not in repr(made)


def test_a_teams_server_is_not_started_here(tmp_path: Path) -> None:
    path = credentials.path_of(tmp_path)
    team = Credentials(url="https://studio.example.org", token="t" * 40)
    credentials.save(path, team)
    assert credentials.load(path) == team
    with pytest.raises(StudioError, match=r"https://studio\.example\.org.*remove"):
        credentials.own(path)
    assert credentials.load(path) == team


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"x"', '{"url": "u"}', '{"url": "u", "token": 3}', '{"colour": "red"}']
)
def test_a_damaged_file_is_named_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / credentials.FILE
    path.write_text(text)
    with pytest.raises(StudioError, match=re.escape(str(path))):
        credentials.load(path)
    assert path.read_text() == text


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert credentials.load(tmp_path / "nothing.json") is None
