"""A folder appears whole or not at all.

    .NAME.partial-PID   being written, beside its destination (same file system, so a rename moves it)
    .NAME.replaced-PID  the export it replaces, for the moment between two renames

A killed process leaves such folders behind; the next export to the same place removes them, and puts a replaced
export back if the process died between the two renames.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from exports.base import ExportError


@contextmanager
def atomic_folder(out: Path, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends without an error.

    An `out` that exists is replaced if it is empty or `may_replace(out)`. Raises ExportError when it is a file or
    a foreign folder, or when the disk refuses.
    """
    out = out.absolute()
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _clean_leftovers(out)
        _refuse_foreign(out, may_replace)
        partial.mkdir()
        try:
            yield partial
            _sync(partial)
            _swap_in(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error}); nothing was changed") from error


def _refuse_foreign(out: Path, may_replace: Callable[[Path], bool]) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ExportError(f"{out}: is a file; give a folder")
    if any(out.iterdir()) and not may_replace(out):
        raise ExportError(f"{out}: is not empty and not an export of this format; give a new folder")


def _swap_in(partial: Path, out: Path) -> None:
    replaced = out.with_name(f".{out.name}.replaced-{os.getpid()}")
    if out.exists():
        out.rename(replaced)
    try:
        partial.rename(out)
    except OSError:
        if replaced.exists():
            replaced.rename(out)
        raise
    _sync_one(out.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _clean_leftovers(out: Path) -> None:
    for kind in ("replaced", "partial"):
        prefix = f".{out.name}.{kind}-"
        for path in sorted(out.parent.iterdir()):
            pid = path.name.removeprefix(prefix)
            if path.name == pid or not pid.isdigit() or (_alive(int(pid)) and int(pid) != os.getpid()):
                continue
            if kind == "replaced" and not out.exists():
                path.rename(out)
            else:
                shutil.rmtree(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            _sync_one(Path(folder) / name)
        _sync_one(Path(folder))


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
