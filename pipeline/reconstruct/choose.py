"""Which explanation of the view to believe: by its outline, and by what the picture says inside the outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.reconstruct.candidate import Candidate

ANYTHING = 0.085  # an inflation explains every outline; so much worse may a simple solid's outline be
OUTLINE_GAIN, SHADING_GAIN, FOLD_COST = 0.1, 0.08, 0.05
RIM_GAIN, EDGE_GAIN, EDGELESS_COST = 0.02, 0.06, 0.015  # a box's edges show more often than a cup's rim
POOR_IOU, MISFIT_COST = 0.90, 1.0  # a simple solid that leaves so much of the outline is not the object
STRAIGHT_COST = 0.03  # a cylinder whose rims show no curve is more likely a box ...
SLENDER = 6.0  # ... unless it is as slender as a pen
STEP_COST = 0.12  # a profile that jumps: any symmetric outline has one


def choose(candidates: Sequence[Candidate]) -> tuple[Candidate, dict[str, float]]:
    """The best candidate, and the score of each kind."""
    scores = {candidate.kind: round(score(candidate), 4) for candidate in candidates}
    return max(candidates, key=lambda candidate: scores[candidate.kind]), scores


def score(candidate: Candidate) -> float:
    """Silhouette IoU, corrected by the evidence each kind brings."""
    seen = candidate.evidence
    value = seen["iou"] + OUTLINE_GAIN * seen["explained"] + SHADING_GAIN * seen["shading"]
    if candidate.kind != "inflation":
        value -= MISFIT_COST * max(0.0, POOR_IOU - seen["iou"])
    if candidate.kind == "revolution":
        boxy = (1 - seen["bulge"]) * float(np.clip((SLENDER - seen["slenderness"]) / 2, 0, 1))
        value += RIM_GAIN * seen["rim"] - FOLD_COST * (1 - seen["mirror"])
        return value - STRAIGHT_COST * boxy - STEP_COST * seen["steps"]
    if candidate.kind == "cuboid":
        return value + EDGE_GAIN * seen["inner_edges"] - EDGELESS_COST
    return value - ANYTHING
