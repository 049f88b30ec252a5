"""Which explanation of the view to believe: by its outline, and by what the picture says inside the outline."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.reconstruct.candidate import Candidate

ANYTHING = 0.06  # an inflation explains every outline; so much worse may a simple solid's outline be
SHADING_GAIN, EDGE_GAIN, FOLD_COST = 0.05, 0.02, 0.15
STRAIGHT_COST = 0.03  # a cylinder whose rims show no curve is more likely a box


def choose(candidates: Sequence[Candidate]) -> tuple[Candidate, dict[str, float]]:
    """The best candidate, and the score of each kind."""
    scores = {candidate.kind: round(score(candidate), 4) for candidate in candidates}
    return max(candidates, key=lambda candidate: scores[candidate.kind]), scores


def score(candidate: Candidate) -> float:
    """Silhouette IoU, corrected by the evidence each kind brings."""
    seen = candidate.evidence
    value = seen["iou"] + SHADING_GAIN * seen["shading"]
    if candidate.kind == "revolution":
        return value + EDGE_GAIN * seen["rim"] - FOLD_COST * (1 - seen["mirror"]) - STRAIGHT_COST * (1 - seen["bulge"])
    if candidate.kind == "cuboid":
        return value + EDGE_GAIN * seen["inner_edges"]
    return value - ANYTHING
