"""Stage B (paper 3.4): the hand's 6-DoF pose and the object's scale. The paper holds the articulation fixed; with
`lr_alignment_articulation` above 0 it follows the picture too.

(a) The visible part of the rendered hand must match the hand mask; (b) contacts place hand and object in depth. One
picture fits every scale of the object about the camera centre, so depth is one number, and two ways find it:

    scan   the energy that ties hand and object together makes some scales more probable than others; fingers that
           are still wrong move its minimum, so the median of that distribution is taken
    icp    the paper's: at given iterations contact regions meet along their rays, see `contact_icp`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.geometry.camera import project
from pipeline.geometry.raster import silhouette
from pipeline.hand_model import HandModel
from pipeline.optimise.contact_icp import register
from pipeline.optimise.terms import ContactHints, Terms, descend, total
from pipeline.optimise.variables import Articulation, PairVariables, scale_by_depth, scaled
from pipeline.optimise.view import View
from pipeline.types import Edits, HandEstimate, HandPose, Mask, ObjectMesh, ObjectPose

SCAN_RANGE = 0.35  # of log scale, both ways from the scale that puts the object at the hand's depth
SCAN_STEPS = 36
HOPELESS = 6.0  # a scale whose neighbours are both e^-6 as probable as the best, or less, is not looked at


@dataclass(frozen=True)
class Aligned:
    """The answer of the stage."""

    hand: HandPose
    object_pose: ObjectPose
    front: Mask  # (h, w) of the view: contact regions
    back: Mask
    figures: dict[str, float]


def contact_alignment(
    item: ObjectMesh,
    object_pose: ObjectPose,
    estimate: HandEstimate,
    model: HandModel,
    view: View,
    hints: ContactHints,
    edits: Edits,
    settings: dict[str, Any],
) -> Aligned:
    """Align the estimated hand with the picture, and the object with the hand."""
    terms = Terms(model, item, object_pose, estimate, view, hints, edits, settings)
    articulation = Articulation.around(
        estimate.pose.hand_pose, model, settings["sigma_articulation_deg"], settings["weight_grasp_space"], view.device
    )
    pair = PairVariables(model, estimate.pose, articulation)
    with torch.no_grad():
        pair.grasp.zero_()  # the most probable articulation
        verts = pair.forward()[0]
    pair.scale0 = scale_by_depth(object_pose, verts, model)
    rates = (settings["lr_alignment"], settings["lr_alignment"], settings["lr_alignment_articulation"], 0.0)
    figures: dict[str, float] = {"initial": _overlap(terms, pair)}
    registrations = [*settings["registration_at"], settings["alignment_steps"]]
    done = 0
    for until in registrations:
        stop = settings["alignment_stop"] if until == registrations[-1] else 0.0
        descend(pair, terms.in_picture, rates, until - done, settings["patience"], settings["decay"], stop)
        done = until
        if settings["registration"] == "icp":
            front, back = contact_regions(terms, pair)
            moved = register(item, object_pose, pair.forward()[0], model, view, front, back, settings)
            pair.scale0 = moved.scale
            pair.move(moved.translation)
            figures["registration_rms_mm"] = moved.rms * 1000
    scale = pair.scale0
    if settings["registration"] == "scan":
        scale, figures["scale_spread"] = scan(terms, pair, settings)
    front, back = contact_regions(terms, pair)
    figures |= {"final": _overlap(terms, pair), "scale": scale}
    figures |= {"front_px": float(front.sum()), "back_px": float(back.sum())}
    return Aligned(pair.pose(), scaled(object_pose, scale), front, back, figures)


def scan(terms: Terms, pair: PairVariables, settings: dict[str, Any]) -> tuple[float, float]:
    """The median scale, and the standard deviation of its logarithm, under the energy between hand and object.

    `p(s) ~ exp(-E(s) / scan_temperature)` times a normal of log s around the scale that puts the object where the
    finger pads and the palm are, `scan_spread` wide. What is seen in front counts `scan_order` times as much here as in
    the refinement: it is certain, while penetration also comes from fingers that are still wrong.
    """
    verts, joints = (x.detach() for x in pair.forward())
    terms.look(terms.at_scale(verts, joints, pair.scale()))
    steps = np.linspace(-SCAN_RANGE, SCAN_RANGE, SCAN_STEPS)
    surprise = np.full(SCAN_STEPS, np.inf)

    def look(at: range | list[int]) -> None:
        for i in at:
            energy = _between(terms, verts, joints, pair.scale().item() * np.exp(steps[i]))
            surprise[i] = energy / settings["scan_temperature"] + (steps[i] / settings["scan_spread"]) ** 2 / 2

    look(range(0, SCAN_STEPS, 2))
    hopeful = surprise < surprise.min() + HOPELESS
    look([i for i in range(1, SCAN_STEPS, 2) if hopeful[i - 1 : i + 2].any()])
    chance = np.exp(surprise.min() - surprise)
    chance /= chance.sum()
    mean = float(chance @ steps)
    median = float(np.interp(0.5, np.cumsum(chance) - chance / 2, steps))
    return pair.scale().item() * float(np.exp(median)), float(np.sqrt(chance @ (steps - mean) ** 2))


def _between(terms: Terms, verts: torch.Tensor, joints: torch.Tensor, scale: float) -> float:
    now = terms.at_scale(verts, joints, verts.new_tensor([scale]))
    parts = terms.between(now, terms.distance(now))
    if "order" in parts:
        parts["order"] = parts["order"] * terms.settings["scan_order"]
    return float(total(parts))


def _overlap(terms: Terms, pair: PairVariables) -> float:
    return float(terms.mask(pair.with_pull()[0])[0])


def contact_regions(terms: Terms, pair: PairVariables) -> tuple[Mask, Mask]:
    """M_front = amodal minus visible object where the hand is; M_back = full rendered hand minus visible hand."""
    view, hints = terms.view, terms.hints
    full = silhouette(project(pair.forward()[0].detach(), view.K), terms.topology, *view.shape) >= 0.5
    visible, amodal, hand = view.object >= 0.5, view.amodal >= 0.5, view.hand >= 0.5
    front = (amodal & ~visible & hand).cpu().numpy() if hints.front is None else hints.front
    back = (full & ~hand & visible).cpu().numpy() if hints.back is None else hints.back
    return front, back
