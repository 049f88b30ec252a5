"""The address of a Label Studio, and the account the tool uses there; kept in a file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from annotator.studio.errors import StudioError

FILE = "credentials.json"
USER = "hoi@localhost"


@dataclass(frozen=True)
class Credentials:
    """Who we are to a Label Studio. A team's server is used by its token alone."""

    url: str
    token: str = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def ours(self) -> bool:
        """Whether this is the account of a server that we start ourselves."""
        return bool(self.password)


def path_of(workspace: Path) -> Path:
    """Where a workspace keeps them."""
    return workspace / "studio" / FILE


def generate() -> Credentials:
    """A new account, on a server that has no address yet."""
    return Credentials(url="", token=secrets.token_hex(20), user=USER, password=secrets.token_urlsafe(15))


def load(path: Path) -> Credentials | None:
    """What was saved; None when nothing was. Raises StudioError."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        found = Credentials(**saved)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError) as error:
        raise StudioError(
            f"{path} cannot be read ({type(error).__name__}): put a copy of it back, or remove it"
        ) from error
    if not all(isinstance(value, str) for value in saved.values()):
        raise StudioError(f"{path} holds something else than text: put a copy of it back, or remove it")
    return found


def save(path: Path, credentials: Credentials) -> None:
    """Replaces the file in one step; nobody but its owner can read it, at no time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
            json.dump(asdict(credentials), handle, indent=2)
            handle.flush()
            os.fsync(handle.fileno())
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)


def own(path: Path) -> tuple[Credentials, bool]:
    """The account of our own server, and whether it was made just now. Raises StudioError for a team's server."""
    found = load(path)
    if found is None:
        made = generate()
        save(path, made)
        return made, True
    if not found.ours:
        raise StudioError(f"this workspace uses the Label Studio at {found.url}: remove {path} to start one here")
    return found, False
