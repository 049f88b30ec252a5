"""The queries, one class per aggregate; each works inside a session somebody else opened and commits."""

from db.repositories.artifacts import Artifacts
from db.repositories.exports import Exports
from db.repositories.pairs import Pairs
from db.repositories.photos import Photos
from db.repositories.reviews import Reviews
from db.repositories.revisions import Revisions

__all__ = ["Artifacts", "Exports", "Pairs", "Photos", "Reviews", "Revisions"]
