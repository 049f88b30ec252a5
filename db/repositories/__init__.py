"""The queries, one class per aggregate; each works inside a session somebody else opened and commits."""

from db.repositories.artifacts import Artifacts
from db.repositories.audit import Audit
from db.repositories.chunks import Chunks
from db.repositories.exports import Exports
from db.repositories.jobs import Jobs
from db.repositories.listing import Listing
from db.repositories.measures import Measures
from db.repositories.pairs import Pairs
from db.repositories.photos import Photos
from db.repositories.reviews import Reviews
from db.repositories.revisions import Revisions
from db.repositories.studio import Studio
from db.repositories.workers import Workers

__all__ = [
    "Artifacts",
    "Audit",
    "Chunks",
    "Exports",
    "Jobs",
    "Listing",
    "Measures",
    "Pairs",
    "Photos",
    "Reviews",
    "Revisions",
    "Studio",
    "Workers",
]
