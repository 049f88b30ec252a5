"""The stage cache on disk: a folder that may be deleted at any time, and is then filled again."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

_DIGEST_BYTES = 32


class DiskCache:
    """Bytes by hex key, one file each. A file holds the sha256 of its payload first; a damaged one counts as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> bytes | None:
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return data if hashlib.sha256(data).digest() == digest else None

    def put(self, key: str, data: bytes) -> None:
        """Written beside and renamed: a reader sees the whole or nothing. Raises OSError, as for a full disk."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as part:
            try:
                part.write(hashlib.sha256(data).digest() + data)
                part.close()
                Path(part.name).replace(path)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key
