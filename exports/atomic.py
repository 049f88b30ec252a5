"""A folder appears whole or not at all, and an interrupted one can be gone on with.

    .NAME.partial    being written, beside its destination (same file system, so a rename moves it); locked
    .NAME.replaced   the export it replaces, for the moment between two renames

Whoever holds the lock of the partial folder writes; the lock ends with its process, however that dies. What a killed
process left is offered to the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from exports.base import ExportError


@contextmanager
def atomic_folder(out: Path, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a folder that becomes `out` when the block ends without an error. It may hold what was left of one.

    An `out` that exists is replaced if it is empty or `may_replace(out)`. An interrupted block leaves the partial
    folder for the next; one that cannot succeed (ExportError, OSError) takes it away. Raises ExportError when `out` is
    a file or a foreign folder, when another process is writing it, or when the disk refuses.
    """
    out = out.absolute()
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(out, may_replace)
        with _locked(partial, out):
            _restore(out)
            _refuse_foreign(out, may_replace)
            try:
                yield partial
                os.sync()  # once for all: a sync for each of ten thousand files takes minutes
                _swap_in(partial, out)
            except (OSError, ExportError):
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error}); nothing was changed") from error


@contextmanager
def _locked(partial: Path, out: Path) -> Iterator[None]:
    while True:
        partial.mkdir(exist_ok=True)
        handle = os.open(partial, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ExportError(f"{out}: another export is writing it; wait for that one to end") from None
            if partial.exists() and os.path.samestat(os.fstat(handle), partial.stat()):
                yield
                return
        finally:
            os.close(handle)  # and, if it was moved away between opening and locking, once more


def _refuse_foreign(out: Path, may_replace: Callable[[Path], bool]) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ExportError(f"{out}: is a file; give a folder")
    if any(out.iterdir()) and not may_replace(out):
        raise ExportError(f"{out}: is not empty and not an export of this format; give a new folder")


def _restore(out: Path) -> None:
    """Bring back an export whose replacement was interrupted between the two renames."""
    replaced = _replaced(out)
    if replaced.exists():
        if out.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(out)


def _swap_in(partial: Path, out: Path) -> None:
    replaced = _replaced(out)
    if out.exists():
        out.rename(replaced)
    try:
        partial.rename(out)
    except OSError:
        if replaced.exists():
            replaced.rename(out)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _replaced(out: Path) -> Path:
    return out.with_name(f".{out.name}.replaced")
