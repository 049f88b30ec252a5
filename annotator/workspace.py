"""A workspace: one folder that holds the settings, the database, the bytes and the stage cache.

hoi-annotate.toml   settings (annotator.config)
hoi.sqlite          rows, unless database_url names a server
store/              bytes, unless store_url names a bucket
cache/              stage results; may be deleted
worker.log          what the native libraries of the workers print, and tracebacks
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from annotator import config
from annotator.cache import DiskCache
from annotator.errors import WorkspaceError
from db import migrate
from db.blobs import BlobStore
from db.session import Database

LOCK = ".lock"


class Workspace:
    """An existing workspace. Database and store are opened when they are first needed."""

    def __init__(self, root: Path, **flags: Any) -> None:
        self.root = root.absolute()
        self.settings = config.load(self.root, **flags)

    @classmethod
    def create(cls, root: Path, **flags: Any) -> Workspace:
        """Makes the folder and its tables; an existing workspace is opened and brought up to date."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            if not (root / config.FILE).exists():
                (root / config.FILE).write_text(config.TEMPLATE, encoding="utf-8")
        except OSError as error:
            raise WorkspaceError(f"cannot write the workspace {root}: {error.strerror or error}") from error
        workspace = cls(root, **flags)
        migrate.upgrade(workspace._database)
        return workspace

    @classmethod
    def find(cls, given: Path | None = None, **flags: Any) -> Workspace:
        """The given folder, else $HOI_WORKSPACE, else the nearest workspace from here upwards."""
        named = given or (Path(os.environ["HOI_WORKSPACE"]) if os.environ.get("HOI_WORKSPACE") else None)
        if named is not None:
            if not (named / config.FILE).is_file():
                raise WorkspaceError(f"{named} is not a workspace: 'hoi-annotate init {named}' makes it one")
            return cls(named, **flags)
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / config.FILE).is_file():
                return cls(folder, **flags)
        raise WorkspaceError(
            f"no workspace in {here} or above: make one with 'hoi-annotate init', or name one with --workspace DIR"
        )

    @property
    def database_url(self) -> str:
        return self.settings.database_url or f"sqlite:///{self.root / 'hoi.sqlite'}"

    @property
    def store_url(self) -> str:
        return self.settings.store_url or (self.root / "store").as_uri()

    @property
    def cache_folder(self) -> Path:
        return self.root / "cache"

    @cached_property
    def _database(self) -> Database:
        return Database(self.database_url)

    @cached_property
    def database(self) -> Database:
        """The database, at the version this program needs. Raises SchemaOutdated."""
        migrate.check(self._database)
        return self._database

    @cached_property
    def blobs(self) -> BlobStore:
        return BlobStore(self.store_url)

    @cached_property
    def cache(self) -> DiskCache:
        return DiskCache(self.cache_folder)

    def upgrade(self) -> str | None:
        """Migrates the tables; returns the version they had."""
        before = migrate.version(self._database)
        migrate.upgrade(self._database)
        return before

    def close(self) -> None:
        """Lets go of the database."""
        self._database.dispose()

    def claimed(self, purpose: str) -> AbstractContextManager[None]:
        """Keeps other processes on this machine from doing the same work; the system lets go when we die."""
        return claimed(self.root, f"the workspace {self.root}", purpose)


@contextmanager
def claimed(folder: Path, name: str, purpose: str) -> Iterator[None]:
    """Has a folder, called `name` in errors, to itself. Raises WorkspaceError."""
    try:
        handle = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(f"cannot write {name}: {error.strerror or error}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise WorkspaceError(f"cannot lock {name}: {error.strerror or error}") from error
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            raise WorkspaceError(f"{name} is in use by {holder}: wait until it is done, or stop it") from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} ({purpose})")
        handle.flush()
        yield
        handle.truncate(0)
