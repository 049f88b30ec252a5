"""`gc`: blobs that no row names. Bytes are put before their rows, so only what nobody has touched for long is taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from annotator.errors import BadRequest
from annotator.progress import Progress
from annotator.workspace import Workspace
from db.blobs import Blob
from db.repositories import Audit, Jobs

AT_ONCE = 500  # blobs that are looked up, and then deleted, together


@dataclass
class Collected:
    """Counts and bytes of what is in the store."""

    stored: int = 0
    bytes: int = 0
    unnamed: int = 0  # that no row names and that are old
    unnamed_bytes: int = 0
    young: int = 0  # that no row names, perhaps not yet
    remains: int = 0  # what killed writers and deletions left beside the blobs
    remains_bytes: int = 0
    deleted: int = 0  # blobs and remains
    deleted_bytes: int = 0


def collect(workspace: Workspace, *, older_than: timedelta, delete: bool, progress: Progress) -> Collected:
    """Counts blobs that no row names and nobody has put for `older_than`, and with `delete` removes them.

    Each is looked at again just before it goes: in the database, and for whether somebody has put it meanwhile. What a
    job that is not over may have put stays. Raises BadRequest when the database names nothing at all: then it is likely
    another workspace's. A store that several workspaces share must not be collected: each knows its own rows only.
    """
    result = Collected()
    blobs = list(workspace.blobs.list())
    with workspace.database.read() as session:
        if blobs and next(Audit(session).named(), None) is None:
            raise BadRequest(
                f"{workspace.database.name} names none of the {len(blobs)} blobs in {workspace.store_url}: is this the "
                "right database for this store?"
            )
        begun = [job.created_at for job in Jobs(session).unfinished()]
    before = min([datetime.now(UTC) - older_than, *(_utc(time) for time in begun)])
    progress.begin(len(blobs))
    for some in (blobs[start : start + AT_ONCE] for start in range(0, len(blobs), AT_ONCE)):
        with workspace.database.read() as session:
            named = Audit(session).named_among([blob.digest for blob in some])
        for blob in some:
            _look_at(workspace, blob, blob.digest in named, before, delete, result)
            progress.done(blob.digest, "")
    # Marks go last, though they keep what a killed deletion began for the next run: they are told by name, and before
    # deletions of its own one `gc` could take from beside another the mark that this has made anew, and needs.
    for remain in workspace.blobs.remains():
        if remain.modified < before:
            result.remains += 1
            result.remains_bytes += remain.size
            if delete:
                workspace.blobs.discard(remain)
                result.deleted += 1
                result.deleted_bytes += remain.size
    return result


def _look_at(
    workspace: Workspace, blob: Blob, is_named: bool, before: datetime, delete: bool, result: Collected
) -> None:
    result.stored += 1
    result.bytes += blob.size
    if is_named:
        return
    if blob.modified > before:
        result.young += 1
        return
    result.unnamed += 1
    result.unnamed_bytes += blob.size
    if delete and workspace.blobs.delete(blob.digest, unless_put_after=before):
        result.deleted += 1
        result.deleted_bytes += blob.size


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
