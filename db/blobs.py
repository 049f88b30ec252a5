"""Content-addressed bytes: a blob's key is the sha256 of what it holds, so a blob is never overwritten.

`file:///folder` by default, `s3://bucket/prefix` for teams; both through obstore, whose puts are atomic: a
process killed in the middle leaves no blob behind.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from db.errors import BlobCorrupt, BlobMissing, StorageError, StorageFull, StorageUnwritable


class BlobStore:
    """Bytes by digest. Raises `StorageError`s only."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._store = _open(url)
        except (BaseError, OSError, ValueError) as error:
            raise _translate(error, url) from error

    def put(self, data: bytes) -> str:
        """Stores `data` unless it is there already; returns its sha256 in hex."""
        digest = hashlib.sha256(data).hexdigest()
        try:
            obstore.put(self._store, _key(digest), data, mode="create")
        except AlreadyExistsError:
            pass
        except (BaseError, OSError) as error:
            raise _translate(error, self.url) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes, checked against their digest."""
        try:
            data = bytes(obstore.get(self._store, _key(digest)).bytes())
        except FileNotFoundError as error:
            raise BlobMissing(f"the store {self.url} has no blob {digest}: restore it from a backup") from error
        except (BaseError, OSError) as error:
            raise _translate(error, self.url) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise BlobCorrupt(f"blob {digest} in {self.url} is damaged: restore it from a backup")
        return data

    def __contains__(self, digest: str) -> bool:
        try:
            obstore.head(self._store, _key(digest))
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise _translate(error, self.url) from error
        return True


def _open(url: str) -> Any:
    parsed = urlparse(url)
    if parsed.scheme == "file":
        folder = Path(unquote(parsed.path))
        folder.mkdir(parents=True, exist_ok=True)
        return LocalStore(folder)
    return from_url(url)


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _translate(error: Exception, url: str) -> StorageError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "No space left" in said or "Disk quota" in said or "os error 28" in said:
        return StorageFull(f"the disk of the store {url} is full: free some space and repeat the command")
    return StorageUnwritable(f"cannot use the store {url}: {said}")
