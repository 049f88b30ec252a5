"""The secret a workspace signs its links with."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from annotator.errors import WorkspaceError

FILE = ".secret"
SHORTEST = 16  # characters


def workspace_secret(root: Path) -> bytes:
    """$HOI_SECRET, else what the workspace keeps in `.secret` (mode 0600), made by whoever asks first.

    Several servers of one workspace need the same: give them HOI_SECRET, or one folder. Raises WorkspaceError.
    """
    given = os.environ.get("HOI_SECRET")
    if given:
        return _checked(given, "HOI_SECRET", "give it")
    path = root / FILE
    try:
        if not path.exists():
            _make(path)
        kept = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"{path} cannot be used: {getattr(error, 'strerror', None) or error}") from error
    return _checked(kept, str(path), "delete the file, old links end with it, or write")


def _make(path: Path) -> None:
    """Written beside and linked: of several processes one wins, and nobody reads half a secret."""
    part = path.with_name(f"{FILE}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32) + "\n")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(part)
    finally:
        part.unlink(missing_ok=True)


def _checked(secret: str, where: str, remedy: str) -> bytes:
    if len(secret) < SHORTEST:
        raise WorkspaceError(f"{where} is too short to be a secret: {remedy} at least {SHORTEST} characters")
    return secret.encode()
