"""A workspace into one folder, and back: rows, the bytes they name, settings and keys.

    manifest.json               what there is; written last, so a folder without it is no backup
    database-DIGEST.sqlite      every row, whatever the engine was
    store/                      every blob that a row names
    hoi-annotate.toml .secret credentials.json    as they were in the workspace; only their owner may read them
    .lock                       held by who writes it: one backup at a time

Blobs are put before the rows that name them and stay while they are named: the rows of one moment first, then the
blobs, is a whole, though work goes on meanwhile. Rows are copied as rows: so it needs no pg_dump of the server's own
version, both engines go one way, and what SQLite held can be restored into PostgreSQL. The job engine's own tables stay
behind; jobs that were not over are queued anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, inspect, select, table
from sqlalchemy.orm import Session

from annotator import config
from annotator.checking import read_all
from annotator.errors import BadRequest
from annotator.progress import Progress
from annotator.studio import credentials
from annotator.web import secret
from annotator.workspace import LOCK, Workspace, claimed
from db import migrate
from db.blobs import BlobStore
from db.copying import copy_rows, count_rows, lock_tables
from db.errors import BlobCorrupt, BlobMissing, StorageError
from db.models import Job
from db.repositories import Audit, Chunks, Jobs, Workers
from db.session import Database

MANIFEST = "manifest.json"
FORMAT = 1
STORE = "store"
PART = "part"  # what a backup in work has there


@dataclass
class Copied:
    """What a backup or a restore did."""

    rows: dict[str, int] = field(default_factory=dict)  # by table
    blobs: int = 0  # that rows name
    copied: int = 0  # blobs that were not there yet
    bytes: int = 0  # of those
    lost: list[str] = field(default_factory=list)  # why blobs that rows name could not be had
    requeued: int = 0  # jobs


def backup(workspace: Workspace, folder: Path, *, progress: Progress) -> Copied:
    """Writes the workspace as it is now; a second time into the same folder adds what is new.

    Interrupted, it goes on where it was, and the backup that was there before stays whole. Blobs that are missing or
    damaged are told and left out. Raises BadRequest, and WorkspaceError while another process writes the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        there = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise BadRequest(f"cannot write the backup {folder}: {error.strerror}; name another folder") from error
    if there - {LOCK} and not there & {MANIFEST, PART}:
        raise BadRequest(f"{folder} is no backup and not empty: name a new folder")
    with claimed(folder, f"the backup {folder}", "backup"):
        return _renew(workspace, folder, progress)


def _renew(workspace: Workspace, folder: Path, progress: Progress) -> Copied:
    before = _read_manifest(folder) if (folder / MANIFEST).exists() else None
    result = Copied()
    shutil.rmtree(folder / PART, ignore_errors=True)
    (folder / PART).mkdir()
    part = folder / PART / "rows.sqlite"
    with _opened(part) as database:
        migrate.upgrade(database)
        with workspace.database.snapshot() as source, database.write() as target:
            result.rows = copy_rows(source, target)
            named = dict(Audit(target).named())
        if before is not None:
            with _opened_copy(folder / before["database"], folder / PART) as earlier, earlier.read() as session:
                if dict(Audit(session).named()).keys() - named.keys():
                    raise BadRequest(f"{folder} is the backup of another workspace: name another folder")
    _copy_blobs(workspace.blobs, BlobStore((folder / STORE).absolute().as_uri()), named, result, progress)
    digest = _digest(part)
    kept = folder / f"database-{digest[:16]}.sqlite"
    part.replace(kept)
    for path in _own_files(workspace.root):
        if path.exists():
            _copy_private(path, folder / path.name)
    manifest = {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(),
        "database": kept.name,
        "sha256": digest,
        "rows": result.rows,
        "blobs": result.blobs,
        "lost": result.lost,
    }
    os.sync()  # what the manifest promises is on the disk before it
    _write(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    shutil.rmtree(folder / PART)
    for path in folder.glob("database-*.sqlite"):
        if path != kept:
            path.unlink()
    return result


def restore(folder: Path, root: Path, *, anyway: bool = False, progress: Progress, **flags: Any) -> Copied:
    """Fills the workspace `root`, which is made when it is not there, and empty when it is.

    A new one gets the backup's settings, but the database and store of its own, unless flags or HOI_* name others. All
    bytes are checked; when some cannot be had, nothing but bytes is written unless `anyway`. Interrupted, the same call
    goes on. Raises BadRequest.
    """
    manifest = _read_manifest(folder)
    source = folder / manifest["database"]
    if not source.is_file() or _digest(source) != manifest["sha256"]:
        raise BadRequest(f"{source} is missing or damaged: use another backup")
    workspace = _prepared(folder, root, flags)
    result = Copied()
    with (
        workspace.claimed("restore"),
        _emptied(workspace.root / ".restore-part") as part,
        _opened_copy(source, part, manifest["rows"]) as database,
        database.read() as session,
    ):
        named = dict(Audit(session).named())
        with workspace.database.read() as target:
            _refuse_unless_empty(workspace, target)
        kept = BlobStore((folder / STORE).absolute().as_uri())
        _copy_blobs(kept, workspace.blobs, named, result, progress, read_again=True)
        if result.lost and not anyway:
            raise BadRequest(
                f"{len(result.lost)} of {len(named)} blobs are missing or damaged in {folder}, and no row was written: "
                f"'--anyway' restores the rest ({result.lost[0]})"
            )
        for path in _own_files(workspace.root)[1:]:
            if (folder / path.name).exists():
                path.parent.mkdir(exist_ok=True)
                _copy_private(folder / path.name, path)
        _fill(workspace, session, result)
    return result


def repair(folder: Path, workspace: Workspace, *, progress: Progress) -> tuple[list[str], list[str]]:
    """Puts blobs back that are missing or damaged in the workspace: their digests, and why others are lost still."""
    _read_manifest(folder)
    kept = BlobStore((folder / STORE).absolute().as_uri())
    with workspace.database.snapshot() as session:
        named = sorted(dict(Audit(session).named()))
    mended, lost = [], []
    progress.begin(len(named))
    for digest, found in read_all(workspace.blobs, named):
        if not isinstance(found, bytes):
            try:
                workspace.blobs.replace(kept.get(digest))
            except StorageError as error:
                lost.append(str(error))
            else:
                mended.append(digest)
        progress.done(digest, "")
    return mended, lost


def _copy_blobs(
    source: BlobStore,
    target: BlobStore,
    named: dict[str, int | None],
    result: Copied,
    progress: Progress,
    *,
    read_again: bool = False,
) -> None:
    """Those that are not in the target yet, in their full length; with `read_again`, undamaged."""
    lengths = {blob.digest: blob.size for blob in source.list()} | {d: n for d, n in named.items() if n is not None}
    there = {blob.digest: blob.size for blob in target.list()}
    whole = {digest for digest in named if digest in there and there[digest] == lengths.get(digest)}
    progress.begin(len(named) if read_again else len(named) - len(whole))
    if read_again:
        for digest, found in read_all(target, sorted(whole)):
            if isinstance(found, bytes):
                progress.done(digest, "")
            else:
                whole.remove(digest)
    result.blobs = len(named)
    for digest, found in read_all(source, sorted(named.keys() - whole)):
        if isinstance(found, bytes):
            (target.replace if digest in there else target.put)(found)
            result.copied += 1
            result.bytes += len(found)
        elif digest not in there or not _is_whole(target, digest):
            result.lost.append(str(found))
            progress.failed(digest, str(found))
            continue
        progress.done(digest, "")


def _is_whole(blobs: BlobStore, digest: str) -> bool:
    try:
        blobs.get(digest)
    except (BlobMissing, BlobCorrupt):
        return False
    return True


def _fill(workspace: Workspace, session: Any, result: Copied) -> None:
    """All rows, and the jobs that were not over: in one transaction, so that half a restore is none."""
    from annotator.jobs import JobQueue

    queue = JobQueue(workspace)
    try:
        with workspace.database.write() as target:
            lock_tables(target)
            _refuse_unless_empty(workspace, target)  # hours may have gone since the first time
            result.rows = copy_rows(session, target)
            Chunks(target).dissolve()
            Workers(target).clear()
            jobs = Jobs(target)
            for job in jobs.unfinished():
                jobs.end(job, "superseded", reason="queued anew when the workspace was restored")
                queue.add(target, Job(kind=job.kind, photo=job.photo, pair=job.pair, review_id=job.review_id))
                result.requeued += 1
    finally:
        queue.close()


def _prepared(folder: Path, root: Path, flags: dict[str, Any]) -> Workspace:
    """The workspace to fill, with its tables."""
    settings, kept = root / config.FILE, folder / config.FILE
    if not settings.exists() and kept.exists():
        root.mkdir(parents=True, exist_ok=True)
        # where the old one had its rows and bytes is not where this one has them
        text = re.sub(r"(?m)^(database_url|store_url)\b", r"# \1", kept.read_text(encoding="utf-8"))
        _write(settings, text)
    return Workspace.create(root, **flags)


def _refuse_unless_empty(workspace: Workspace, session: Session) -> None:
    """What the engine has had would stand in the way of the jobs that are queued anew."""
    from annotator.jobs.queue import had_work

    full = [name for name, rows in count_rows(session).items() if rows]
    if had_work(session):
        full.append("the job engine's work, on PostgreSQL in the schema dbos")
    if full:
        raise BadRequest(
            f"{workspace.database.name} is not empty (it has {', '.join(full)}): restore into a new folder, or name "
            "another database in HOI_DATABASE_URL"
        )


def _own_files(root: Path) -> tuple[Path, ...]:
    """What a workspace keeps beside rows and bytes, its settings first; in a backup they lie at the top."""
    return root / config.FILE, root / secret.FILE, credentials.path_of(root)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise BadRequest(f"{folder} was written by a newer hoi-annotate: update this one")
    except FileNotFoundError as error:
        raise BadRequest(f"{folder} is no backup: it has no {MANIFEST}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{folder / MANIFEST} is damaged: use another backup") from error
    return manifest


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{path}")
    try:
        yield database
    finally:
        database.dispose()


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder for a while, without what a killed process has left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _opened_copy(path: Path, folder: Path, rows: dict[str, int] | None = None) -> Iterator[Database]:
    """A backup's rows at this program's version, copied into the folder; the backup stays as it is.

    Raises BadRequest when they are not as many as `rows`, by table, says.
    """
    copy = folder / "copy.sqlite"
    shutil.copyfile(path, copy)
    with _opened(copy) as database:
        if rows is not None and not _has(database, rows):
            raise BadRequest(f"{path} has not the rows that {MANIFEST} tells of: use another backup")
        migrate.upgrade(database)
        yield database


def _has(database: Database, rows: dict[str, int]) -> bool:
    with database.read() as session:
        if not rows.keys() <= set(inspect(session.connection()).get_table_names()):
            return False
        return all(session.scalar(select(func.count()).select_from(table(t))) == n for t, n in rows.items())


def _copy_private(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o600)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    """Whole or not at all; only its owner may read it."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
