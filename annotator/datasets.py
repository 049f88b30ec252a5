"""What leaves the workspace: rows -> entries that an export format can load, in this process or another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator.records import provenance, reconstruction_digest
from annotator.stored import Stored
from db.blobs import BlobStore
from db.models import Photo, Revision
from exports.base import Entry

SAME_PICTURE = 3  # bits in which perceptual hashes of one picture differ when it is scaled or compressed again
SIMILAR = 6  # bits up to which two photos are kept in one split


def entries(revisions: Sequence[Revision], blobs: BlobStore) -> list[Entry]:
    """The records of these revisions, in their order."""
    photos = [revision.pair.photo for revision in revisions]
    same, similar = clusters(photos, SAME_PICTURE), clusters(photos, SIMILAR)
    made = []
    for revision in revisions:
        photo = revision.pair.photo
        digest = reconstruction_digest(revision)
        origin = provenance(revision)
        if photo.sha256 in similar:
            origin["near_duplicate"] = similar[photo.sha256]
        stored = Stored(blobs.url, digest, photo.sha256, photo.name, revision.pair.public_id, revision.number, origin)
        picture = same.get(photo.sha256, "")
        made.append(Entry(stored.pair_id, stored.revision, photo.sha256, origin, stored, picture, digest))
    return made


def clusters(photos: Sequence[Photo], bits: int) -> dict[str, str]:
    """sha256 -> name of its cluster, for photos within `bits` of another one here by perceptual hash.

    A chain counts. The name is that of the cluster's smallest sha256.
    """
    unique = {photo.sha256: int(photo.perceptual_hash, 16) for photo in photos if photo.perceptual_hash}
    names = sorted(unique)
    hashes = np.array([unique[name] for name in names], dtype=np.uint64)
    leader = np.arange(len(names))
    for i, own in enumerate(hashes):
        alike = np.flatnonzero(np.bitwise_count(hashes ^ own) <= bits)
        joined = np.isin(leader, leader[alike])
        leader[joined] = leader[[i, *alike]].min()
    sizes = np.bincount(leader, minlength=len(names))
    return {name: names[first][:12] for name, first in zip(names, leader, strict=True) if sizes[first] > 1}
