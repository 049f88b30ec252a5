"""Stage C (paper 3.4): hand 6-DoF, articulation and object scale under the whole energy of `terms`.

Every hypothesis of the object's scale is carried a few steps; the one with the lowest energy goes on to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.hand_model import HandModel
from pipeline.optimise.contact_alignment import Aligned
from pipeline.optimise.terms import ContactHints, Terms, descend
from pipeline.optimise.variables import Articulation, PairVariables, scaled
from pipeline.optimise.view import View
from pipeline.types import Edits, HandEstimate, HandPose, ObjectMesh, ObjectPose


@dataclass(frozen=True)
class Refined:
    """The answer of the stage."""

    hand: HandPose
    object_pose: ObjectPose
    figures: dict[str, float]


def refinement(
    item: ObjectMesh,
    aligned: Aligned,
    estimate: HandEstimate,
    model: HandModel,
    view: View,
    hints: ContactHints,
    edits: Edits,
    settings: dict[str, Any],
) -> Refined:
    """Refine hand and scale from every hypothesis of the alignment. `estimate` says where the hand was seen."""
    articulation = Articulation.around(
        estimate.pose.hand_pose, model, settings["sigma_articulation_deg"], settings["weight_grasp_space"]
    )
    terms = Terms(model, item, aligned.object_pose, estimate, view, hints, edits, settings)
    attempts = []
    for scale in aligned.scales:
        pair = PairVariables(model, aligned.hand, articulation, float(scale))
        terms.restart()
        steps = settings["hypothesis_steps"] if len(aligned.scales) > 1 else 0
        attempts.append((descend(pair, terms, _groups(pair, settings), steps, settings["patience"])["total"], pair))
    initial, best = min(attempts, key=lambda attempt: attempt[0])
    terms.restart()
    figures = descend(best, terms, _groups(best, settings), settings["refinement_steps"], settings["patience"])
    pose = scaled(aligned.object_pose, best.scale().item())
    return Refined(best.pose(), pose, figures | {"initial": initial, "hypotheses": float(len(attempts))})


def _groups(pair: PairVariables, settings: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [
        {"params": [pair.turn, pair.shift], "lr": settings["lr_global"]},
        {"params": [pair.grasp], "lr": settings["lr_articulation"]},
    ]
    if settings["lr_scale"]:
        groups.append({"params": [pair.log_scale], "lr": settings["lr_scale"]})
    return groups
