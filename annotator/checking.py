"""`status --check`: every photo, pair and job is in one state, the sums agree, and the store has what rows name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from annotator.jobs.versions import left_behind
from annotator.progress import Progress
from annotator.records import RECONSTRUCTION
from annotator.workspace import Workspace
from db.blobs import BlobStore
from db.errors import BlobCorrupt, BlobMissing
from db.models import Job, Pair, Photo, Revision
from db.repositories import Audit, Jobs, Pairs, Photos

READERS = 8  # blobs read at the same time


@dataclass
class Checked:
    """The sums, and what does not fit."""

    photos: dict[str, int]  # by status
    pairs: dict[str, int]
    jobs: dict[str, int]
    revisions: int
    blobs: dict[str, int] = field(default_factory=dict)  # named by rows, missing, damaged; stored in all, their bytes
    broken: list[tuple[str, str]] = field(default_factory=list)  # what, and what is wrong with it


def check(workspace: Workspace, *, deep: bool = False, progress: Progress) -> Checked:
    """Looks at one state of the database, then at the store: work may go on meanwhile. `deep` reads every blob."""
    with workspace.database.snapshot() as session:
        audit = Audit(session)
        found = Checked(
            Photos(session).counts(), Pairs(session).counts(), Jobs(session).counts(), audit.count(Revision)
        )
        found.broken += audit.broken(RECONSTRUCTION)
        found.broken += _sums(found, audit)
        found.broken += left_behind(session)
        named = dict(audit.named())
    stored = {blob.digest: blob.size for blob in workspace.blobs.list()}
    damaged = [d for d, size in named.items() if d in stored and size is not None and stored[d] != size]
    missing = [digest for digest in named if digest not in stored]
    if deep:
        rest = named.keys() - set(damaged) - set(missing)
        progress.begin(len(rest))
        for digest, what in read_all(workspace.blobs, sorted(rest)):
            progress.done(digest, "")
            if isinstance(what, BlobMissing | BlobCorrupt):
                (missing if isinstance(what, BlobMissing) else damaged).append(digest)
    found.broken += [(f"blob {digest}", "is not in the store") for digest in missing]
    found.broken += [(f"blob {digest}", "is damaged") for digest in damaged]
    found.blobs = {
        "named": len(named),
        "missing": len(missing),
        "damaged": len(damaged),
        "stored": len(stored),
        "bytes": sum(stored.values()),
    }
    return found


def read_all(blobs: BlobStore, digests: Sequence[str]) -> Iterator[tuple[str, bytes | BlobMissing | BlobCorrupt]]:
    """The blobs one after the other, several on their way; in place of one that cannot be had, why."""

    def read(digest: str) -> tuple[str, bytes | BlobMissing | BlobCorrupt]:
        try:
            return digest, blobs.get(digest)
        except (BlobMissing, BlobCorrupt) as error:
            return digest, error

    remaining = iter(digests)
    with ThreadPoolExecutor(READERS) as pool:
        while some := list(islice(remaining, 4 * READERS)):
            yield from pool.map(read, some)


def _sums(found: Checked, audit: Audit) -> Iterator[tuple[str, str]]:
    rows: list[tuple[str, Any, dict[str, int]]] = [
        ("photos", Photo, found.photos),
        ("pairs", Pair, found.pairs),
        ("jobs", Job, found.jobs),
    ]
    for name, table, states in rows:
        if (total := audit.count(table)) != sum(states.values()):
            yield name, f"are {total}, but {sum(states.values())} by their states"
    if (counted := audit.counted_revisions()) != found.revisions:
        yield "revisions", f"are {found.revisions}, but {counted} by what their pairs count"
