"""Stage C (paper 3.4): hand 6-DoF, articulation and object scale under the whole energy of `terms`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pipeline.hand_model import HandModel
from pipeline.optimise.contact_alignment import Aligned
from pipeline.optimise.terms import ContactHints, Terms, descend, total
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
    """Refine what the alignment found. `estimate` says where the hand was seen."""
    articulation = Articulation.around(
        estimate.pose.hand_pose, model, settings["sigma_articulation_deg"], settings["weight_grasp_space"], view.device
    )
    terms = Terms(model, item, aligned.object_pose, estimate, view, hints, edits, settings)
    pair = PairVariables(model, aligned.hand, articulation, aligned.object_pose.scale)
    with torch.no_grad():
        initial = float(total(terms(pair).parts))
    rates = tuple(settings[f"lr_{name}"] for name in ("global", "global", "articulation", "scale"))
    figures = descend(pair, terms, rates, settings["refinement_steps"], settings["patience"], settings["decay"])
    pose = scaled(aligned.object_pose, pair.scale().item())
    return Refined(pair.pose(), pose, figures | {"initial": initial})
