"""A record in the blob store, as it goes to a process that writes it: no database there, and none of its imports.

A photo's pixels and a revision's arrays come out of the store only when their sample is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from db.blobs import BlobStore
from exports.base import Record
from pipeline.codec import decode
from pipeline.photo import read_photo
from pipeline.types import Reconstruction


@dataclass(frozen=True)
class Stored:
    """A record in the blob store; calling it loads it."""

    store: str  # URL
    reconstruction: str  # sha256 of its artifact
    photo: str  # sha256
    photo_name: str
    pair_id: str
    revision: int
    provenance: dict[str, Any]

    def __call__(self) -> Record:
        blobs = _opened(self.store)
        made = decode(Reconstruction, blobs.get(self.reconstruction))
        side = max(made.camera.width, made.camera.height)
        photo = read_photo(blobs.get(self.photo), self.photo_name, side)
        return Record(self.pair_id, self.revision, photo, made, self.provenance)


@lru_cache(maxsize=4)
def _opened(url: str) -> BlobStore:
    return BlobStore(url)
