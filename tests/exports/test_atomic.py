"""A folder appears whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from exports import folder
from exports.atomic import atomic_folder
from exports.base import ExportError, Record, get_format
from exports.verify import verify


def never(_: Path) -> bool:
    return False


def test_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with atomic_folder(out, never) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert (out / "a").read_text() == "a"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_cannot_succeed_leaves_nothing(tmp_path: Path) -> None:
    for error in (ExportError("no"), OSError(errno.ENOSPC, "full")):

        def failing(error: Exception = error) -> None:
            with atomic_folder(tmp_path / "out", never) as folder:
                (folder / "a").write_text("a")
                raise error

        with pytest.raises(ExportError):
            failing()
        assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_what_was_done(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_folder(tmp_path / "out", never) as folder:
            (folder / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with atomic_folder(tmp_path / "out", never) as folder:
        assert (folder / "a").read_text() == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_at_once(tmp_path: Path) -> None:
    with (
        atomic_folder(tmp_path / "out", never),
        pytest.raises(ExportError, match=r"another export is writing it"),
        atomic_folder(tmp_path / "out", never),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_foreign_folders_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="not empty"), atomic_folder(tmp_path / "out", never):
        pass
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ExportError, match="is a file"), atomic_folder(tmp_path / "out" / "thesis.txt", never):
        pass


def test_an_empty_folder_or_an_own_export_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out", never) as folder:
        (folder / "old").touch()
    with atomic_folder(tmp_path / "out", lambda _: True) as folder:
        (folder / "new").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_lost_between_two_renames_comes_back(tmp_path: Path) -> None:
    lost = tmp_path / ".out.replaced"
    lost.mkdir()
    (lost / "old").touch()
    with pytest.raises(ExportError, match="not empty"), atomic_folder(tmp_path / "out", never):
        pass
    assert (tmp_path / "out" / "old").exists()


def test_disk_full_keeps_the_old_export(records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    obman = get_format("obman")
    obman.write(records[:1], out)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder, "write_sample", full)
    with pytest.raises(ExportError, match="No space left on device"):
        obman.write(records, out)
    monkeypatch.undo()
    assert verify(out) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_another_folder_is_not_overwritten(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(ExportError, match="not empty and not an export"):
        get_format("obman").write(records, tmp_path)
