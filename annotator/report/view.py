"""What a report knows about one pair: plain values, no database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.types import Photo, Reconstruction


@dataclass(frozen=True)
class PairView:
    """One pair at the revision the report shows."""

    pair_id: str
    photo_name: str
    photo: Photo
    reconstruction: Reconstruction
    status: str  # DESIGN 4: pending, preannotated, in_review, reoptimising, accepted, rejected, failed
    revision: int
    verdict: str | None  # the latest review of this revision: accept, reject, fix; None when unreviewed
    confidence: float  # 0..1
    seconds: dict[str, float] = field(default_factory=dict)  # per stage
    history: list[dict[str, Any]] = field(default_factory=list)  # earlier revisions and reviews, oldest first

    @property
    def side(self) -> str:
        return self.reconstruction.hand.side

    @property
    def review_priority(self) -> float:
        """How much this pair needs a person; the higher, the sooner."""
        return float(self.reconstruction.diagnostics.get("review_priority", 1.0 - self.confidence))

    @property
    def warnings(self) -> list[str]:
        return [str(warning) for warning in self.reconstruction.diagnostics.get("warnings", ())]
