"""Workspace, settings and stage cache."""

from pathlib import Path

import pytest

from annotator import config
from annotator.cache import DiskCache
from annotator.errors import WorkspaceError
from annotator.workspace import Workspace


def test_flags_win_over_variables_over_the_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOI_JOBS")
    assert config.load(tmp_path).jobs in (1, 2)
    (tmp_path / config.FILE).write_text("jobs = 3\nunknown = 1\n")
    assert config.load(tmp_path).jobs == 3
    monkeypatch.setenv("HOI_JOBS", "4")
    assert config.load(tmp_path).jobs == 4
    assert config.load(tmp_path, jobs=5).jobs == 5
    assert config.load(tmp_path, jobs=None).jobs == 4


@pytest.mark.parametrize(("text", "words"), [("jobs = 'many'", "HOI_JOBS"), ("jobs =", "cannot be read")])
def test_bad_settings_name_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.delenv("HOI_JOBS")
    (tmp_path / config.FILE).write_text(text)
    with pytest.raises(WorkspaceError, match=words) as caught:
        config.load(tmp_path)
    assert config.FILE in str(caught.value)


def test_creating_twice_keeps_what_is_there(tmp_path: Path) -> None:
    first = Workspace.create(tmp_path / "a b 杯")
    (first.root / config.FILE).write_text("recipe = 'mine.toml'\n")
    digest = first.blobs.put(b"kept")
    again = Workspace.create(tmp_path / "a b 杯")
    assert again.settings.recipe == "mine.toml"
    assert again.blobs.get(digest) == b"kept"


def test_the_lock_is_let_go_on_error(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), workspace.claimed("test"):
        raise ZeroDivisionError
    with workspace.claimed("test"), pytest.raises(WorkspaceError, match=r"process \d+ \(test\)"):
        workspace.claimed("again").__enter__()
    with workspace.claimed("test"):
        pass


def test_the_cache_keeps_bytes(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache")
    assert cache.get("ab12") is None
    for data in (b"", b"one", b"two"):
        cache.put("ab12", data)
        assert cache.get("ab12") == data
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["ab12"]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + b"x", lambda b: b[1:]])
def test_a_damaged_entry_counts_as_absent(tmp_path: Path, damage: object) -> None:
    cache = DiskCache(tmp_path)
    cache.put("ab12", b"payload")
    path = tmp_path / "ab" / "ab12"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.get("ab12") is None


def test_a_failed_put_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = DiskCache(tmp_path)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        cache.put("ab12", b"payload")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
