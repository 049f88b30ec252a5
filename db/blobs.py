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
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, S3Store

from db.errors import BlobCorrupt, BlobMissing, StorageError
from db.stores import PROBLEMS, open_store, translate

REFRESH_AFTER = timedelta(hours=1)  # a blob put again this long after it was put counts as new
MARK_HOLDS = timedelta(minutes=1)  # a deletion takes two requests; one that takes longer was killed
_KEY = re.compile("[0-9a-f]{2}/([0-9a-f]{64})")
_REPAIR = "'hoi-annotate restore BACKUP --repair' puts it back"


@dataclass(frozen=True)
class Blob:
    """What a store says of one blob without reading it."""

    digest: str
    size: int  # bytes
    modified: datetime  # when it was put last


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

        A mark beside the blob, made before the look at its time and taken away after the deletion, tells whoever puts
        it again meanwhile (`_refresh`) that their bytes may go with it.
        """
        try:
            if not self._create_mark(digest):
                return False
            try:
                if self._head(digest).modified > unless_put_after:
                    return False
                obstore.delete(self._store, _key(digest))
            finally:
                obstore.delete(self._store, _mark(digest))
        except FileNotFoundError:
            return False
        except PROBLEMS as error:
            raise translate(error, self.url) from error
        return True

    def remains(self) -> Iterator[tuple[Path, int, datetime]]:
        """What writers killed in the middle left beside the blobs: file, size, time. S3 keeps none of them."""
        if isinstance(self._store, LocalStore):
            folder = Path(str(self._store.prefix))
            for path in (*folder.glob("??/*#*"), *folder.glob(_mark("?" * 64))):
                with contextlib.suppress(FileNotFoundError):  # its writer lives, and has just put the blob
                    found = path.stat()
                    yield path, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC)

    def probe(self) -> None:
        """Puts a few bytes and reads them; takes them away again, where the key may delete."""
        digest = self.put(f"hoi-annotate was here: {uuid.uuid4()}".encode())
        self.get(digest)
        with contextlib.suppress(StorageError):
            self.delete(digest, unless_put_after=datetime.max.replace(tzinfo=UTC))

    def signed_url(self, digest: str, seconds: int) -> str | None:
        """An address under which anybody may read the blob for so long; None where the store has no server."""
        if not isinstance(self._store, S3Store):
            return None
        try:
            return str(obstore.sign(self._store, "GET", _key(digest), timedelta(seconds=seconds)))
        except PROBLEMS as error:
            raise translate(error, self.url) from error

    def _refresh(self, digest: str, data: bytes) -> None:
        """Puts an old blob again until no deletion can have looked at its time before."""
        while True:
            obstore.put(self._store, _key(digest), data, use_multipart=False)
            if not self._is_marked(digest):
                with contextlib.suppress(FileNotFoundError):
                    self._head(digest)
                    return
            time.sleep(0.05)

    def _create_mark(self, digest: str) -> bool:
        """False when another deletion of the blob is going on, or was when it was killed."""
        if _create(self._store, _mark(digest), b""):
            return True
        if not self._is_marked(digest):
            obstore.delete(self._store, _mark(digest))
        return False

    def _is_marked(self, digest: str) -> bool:
        try:
            return datetime.now(UTC) - obstore.head(self._store, _mark(digest))["last_modified"] < MARK_HOLDS
        except FileNotFoundError:
            return False

    def _head(self, digest: str) -> Blob:
        found = obstore.head(self._store, _key(digest))
        return Blob(digest, found["size"], found["last_modified"])


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _mark(digest: str) -> str:
    return f"{_key(digest)}.going"


def _create(store: Any, key: str, data: bytes) -> bool:
    try:
        obstore.put(store, key, data, mode="create")
    except AlreadyExistsError:
        return False
    return True
