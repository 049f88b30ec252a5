"""Content-addressed bytes: a blob's key is the sha256 of what it holds, so a blob is never overwritten with others.

Through obstore (`stores.py`), whose puts are atomic: a process killed in the middle leaves no blob behind. Bytes are
put before the rows that name them, so rows never name what is not there; bytes no row names are `gc`'s.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, S3Store

from db.errors import BlobCorrupt, BlobMissing
from db.stores import NO_RETRIES, PROBLEMS, open_store, translate

REFRESH_AFTER = timedelta(hours=1)  # a blob put again this long after it was put counts as new
GIVES_UP_S = 30.0  # a deletion that has not come to its last request by then does not send it
MARK_HOLDS = timedelta(minutes=2)  # no deletion lands so long after it was marked: that request ends after 30 s
MARKS = "going"  # the folder of the marks of deletions
_KEY = re.compile("[0-9a-f]{2}/([0-9a-f]{64})")
_REPAIR = "'hoi-annotate restore BACKUP --repair' puts it back"


@dataclass(frozen=True)
class Blob:
    """What a store says of one blob without reading it."""

    digest: str
    size: int  # bytes
    modified: datetime  # when it was put last


@dataclass(frozen=True)
class Remain:
    """What is in a store and no blob."""

    name: str
    size: int  # bytes
    modified: datetime


class BlobStore:
    """Bytes by digest. Raises `StorageError`s only."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._store = open_store(url)

    def put(self, data: bytes) -> str:
        """Stores `data` unless it is there already; returns its sha256 in hex.

        One that has been there for long is written again: whoever puts it is about to name it, and `gc`, which takes
        only old blobs that nothing names, must see that.
        """
        digest = hashlib.sha256(data).hexdigest()
        try:
            while not _create(self._store, _key(digest), data):
                with contextlib.suppress(FileNotFoundError):  # `gc` took it after it was seen there
                    if datetime.now(UTC) - self._head(digest).modified > REFRESH_AFTER:
                        self._refresh(digest, data)
                    break
        except PROBLEMS as error:
            raise translate(error, self.url) from error
        return digest

    def replace(self, data: bytes) -> str:
        """As `put`, over what is there: a damaged blob under this key."""
        digest = hashlib.sha256(data).hexdigest()
        try:
            obstore.put(self._store, _key(digest), data, use_multipart=False)
        except PROBLEMS as error:
            raise translate(error, self.url) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes, checked against their digest."""
        try:
            data = bytes(obstore.get(self._store, _key(digest)).bytes())
        except PROBLEMS as error:
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise BlobMissing(f"the store {self.url} has no blob {digest}: {_REPAIR}") from error
            raise translate(error, self.url) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise BlobCorrupt(f"blob {digest} in {self.url} is damaged: {_REPAIR}")
        return data

    def __contains__(self, digest: str) -> bool:
        try:
            self._head(digest)
        except FileNotFoundError:
            if isinstance(self._store, S3Store):
                next(self.list(), None)  # S3 says the same of a bucket that is not there
            return False
        except PROBLEMS as error:
            raise translate(error, self.url) from error
        return True

    def list(self) -> Iterator[Blob]:
        """All blobs, in no order."""
        try:
            for batch in obstore.list(self._store):
                for entry in batch:
                    if named := _KEY.fullmatch(entry["path"]):
                        yield Blob(named[1], entry["size"], entry["last_modified"])
        except PROBLEMS as error:
            raise translate(error, self.url) from error

    def delete(self, digest: str, unless_put_after: datetime) -> bool:
        """Removes a blob for good; False when it was put after that time. For `gc`: it knows that nothing names it.

        Whoever puts the blob again meanwhile must not lose it. So a mark is made before the look at the blob's time,
        and taken away after the deletion: who puts an old blob (`_refresh`) looks for the mark afterwards, and waits.
        A deletion that is killed, or does not know its outcome, leaves its mark (`remains`); it holds nobody after
        MARK_HOLDS, and the blob stays.
        """
        began = time.time()  # goes on while the machine sleeps
        try:
            if not _create(self._store, _mark(digest), b""):
                return False  # another deletion is going on, or was when it was killed
            goes = self._is_older(digest, unless_put_after) and time.time() - began < GIVES_UP_S
            if goes:
                obstore.delete(self._once, _key(digest))
            obstore.delete(self._once, _mark(digest))
        except PROBLEMS as error:
            raise translate(error, self.url) from error
        return goes

    def remains(self) -> Iterator[Remain]:
        """What killed writers (on S3 none) and killed deletions left beside the blobs."""
        try:
            for batch in obstore.list(self._store, prefix=MARKS):
                for entry in batch:
                    yield Remain(entry["path"], entry["size"], entry["last_modified"])
        except PROBLEMS as error:
            raise translate(error, self.url) from error
        if isinstance(self._store, LocalStore):
            folder = Path(str(self._store.prefix))
            for path in folder.glob("??/*#*"):
                with contextlib.suppress(FileNotFoundError):  # its writer lives, and has just put the blob
                    found = path.stat()
                    modified = datetime.fromtimestamp(found.st_mtime, UTC)
                    yield Remain(str(path.relative_to(folder)), found.st_size, modified)

    def discard(self, remain: Remain) -> None:
        """Removes what `remains` told of."""
        try:
            if isinstance(self._store, LocalStore):
                (Path(str(self._store.prefix)) / remain.name).unlink(missing_ok=True)
            else:
                obstore.delete(self._store, remain.name)
        except PROBLEMS as error:
            raise translate(error, self.url) from error

    def probe(self) -> None:
        """Puts a few bytes and reads them; takes them away again, where the key may delete."""
        digest = self.put(f"hoi-annotate was here: {uuid.uuid4()}".encode())
        self.get(digest)
        with contextlib.suppress(*PROBLEMS):
            obstore.delete(self._store, _key(digest))  # nobody else puts it

    def signed_url(self, digest: str, seconds: int) -> str | None:
        """An address under which anybody may read the blob for so long; None where the store has no server."""
        if not isinstance(self._store, S3Store):
            return None
        try:
            return str(obstore.sign(self._store, "GET", _key(digest), timedelta(seconds=seconds)))
        except PROBLEMS as error:
            raise translate(error, self.url) from error

    @cached_property
    def _once(self) -> Any:
        """The store for deletions: one that is sent again could land when the blob is another's."""
        return open_store(self.url, NO_RETRIES)

    def _refresh(self, digest: str, data: bytes) -> None:
        """Puts an old blob again, so that no deletion takes it that has looked at its time before.

        Raises FileNotFoundError when one has taken it. The mark's age is told by the store's clock alone.
        """
        obstore.put(self._store, _key(digest), data, use_multipart=False)
        if (marked := self._marked_at(digest)) is not None:
            age = self._head(digest).modified - marked
            until = time.monotonic() + (MARK_HOLDS - age).total_seconds()
            while time.monotonic() < until and self._marked_at(digest) is not None:
                time.sleep(0.5)
        self._head(digest)

    def _marked_at(self, digest: str) -> datetime | None:
        """When the deletion of the blob that is going on began, or the one that was killed."""
        try:
            marked: datetime = obstore.head(self._store, _mark(digest))["last_modified"]
        except FileNotFoundError:
            return None
        return marked

    def _is_older(self, digest: str, moment: datetime) -> bool:
        """False also when it is not there."""
        try:
            return self._head(digest).modified <= moment
        except FileNotFoundError:
            return False

    def _head(self, digest: str) -> Blob:
        found = obstore.head(self._store, _key(digest))
        return Blob(digest, found["size"], found["last_modified"])


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _mark(digest: str) -> str:
    return f"{MARKS}/{digest}"


def _create(store: Any, key: str, data: bytes) -> bool:
    try:
        obstore.put(store, key, data, mode="create")
    except AlreadyExistsError:
        return False
    return True
