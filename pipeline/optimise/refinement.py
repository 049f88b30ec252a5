"""Stage C (paper 3.4): hand 6-DoF and articulation under masks, penetration, contact and priors.

`L = w_mask (1 - IoU) + w_penetr L_penetr + w_contact L_contact + w_reg L_reg` (METHOD 2), plus the terms a
better system adds: keypoints, a grasp-space prior that keeps fingers anatomical, and one term per part that a
reviewer marked as touching or not touching.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pipeline.geometry.camera import project
from pipeline.geometry.raster import Topology, silhouette
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model import HandModel
from pipeline.optimise import losses
from pipeline.optimise.contact_alignment import HandVariables
from pipeline.optimise.view import View
from pipeline.types import F64, Edits, HandPose, ObjectMesh, ObjectPose


@dataclass(frozen=True)
class Refined:
    """The answer of the stage."""

    hand: HandPose
    figures: dict[str, float]


def refinement(
    item: ObjectMesh,
    object_pose: ObjectPose,
    aligned: HandPose,
    estimate: HandPose,
    model: HandModel,
    keypoints: F64,
    view: View,
    edits: Edits,
    settings: dict[str, Any],
) -> Refined:
    """Refine the hand against the fixed object. `estimate` gives theta_0 of the regularisation."""
    placed = object_pose.place(item.mesh.vertices)
    terms = _Terms(model, SignedDistance(placed, item.mesh.faces), estimate, keypoints, view, edits, settings)
    hand = HandVariables(model, aligned)
    adam = torch.optim.Adam(
        [
            {"params": [hand.turn, hand.shift], "lr": settings["lr_global"]},
            {"params": [hand.hand_pose], "lr": settings["lr_articulation"]},
        ]
    )
    best, best_pose = float("inf"), aligned
    figures: dict[str, float] = {}
    steps = settings["refinement_steps"]
    for step in range(steps + 1):
        parts = terms(hand)
        loss = torch.stack(list(parts.values())).sum()
        if step == 0:
            figures.update({f"initial_{name}": value.item() for name, value in parts.items()})
        if loss.item() < best:
            best, best_pose = loss.item(), hand.pose()
            figures.update({name: value.item() for name, value in parts.items()})
            figures["best_step"] = float(step)
        if step == steps:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
    figures["total"] = best
    return Refined(best_pose, figures)


class _Terms:
    """All weighted terms of one pair; built once, evaluated at every step."""

    def __init__(
        self,
        model: HandModel,
        distance: SignedDistance,
        estimate: HandPose,
        keypoints: F64,
        view: View,
        edits: Edits,
        settings: dict[str, Any],
    ) -> None:
        self.model, self.distance, self.view, self.settings = model, distance, view, settings
        self.topology = Topology(torch.as_tensor(model.faces))
        self.target = view.hand * (1 - view.cover)
        self.keypoints = view.pixels(keypoints)
        self.hand_px = float((self.keypoints.max(0).values - self.keypoints.min(0).values).max())
        self.theta0 = torch.as_tensor(estimate.hand_pose, dtype=torch.float32)
        self.mean = torch.as_tensor(model.mean_pose, dtype=torch.float32)
        components = torch.as_tensor(model.components, dtype=torch.float32)
        self.whiten = components.T / torch.as_tensor(model.component_std, dtype=torch.float32).clamp_min(0.02)
        self.zone = torch.as_tensor(model.zone > 0)
        self.released = torch.zeros(len(model.zone), dtype=torch.bool)
        for part in edits.not_touching:
            self.released[model.zone_vertices(part)] = True
        self.touching = [torch.as_tensor(model.zone_vertices(part)) for part in edits.touching]
        self.not_touching = [torch.as_tensor(model.zone_vertices(part)) for part in edits.not_touching]
        self.reach: torch.Tensor | None = None

    def __call__(self, hand: HandVariables) -> dict[str, torch.Tensor]:
        settings = self.settings
        verts, joints = hand.forward()
        d = self.distance(verts)
        mask = silhouette(project(verts, self.view.K), self.topology, *self.view.shape)
        overlap = losses.soft_iou(losses.visible_hand(mask, self.view.cover), self.target)
        whitened = (hand.hand_pose - self.mean) @ self.whiten
        terms = {
            "mask": settings["weight_mask"] * (1 - overlap),
            "penetration": settings["weight_penetration"] * losses.penetration(d, settings["penetration_reduction"]),
            "contact": settings["weight_contact"] * losses.contact(d[self._in_reach(d)]),
            "regularisation": settings["weight_regularisation"] * (hand.hand_pose - self.theta0).abs().sum(),
            "keypoints": settings["weight_keypoints"]
            * losses.reprojection(project(joints, self.view.K), self.keypoints, self.hand_px),
            "anatomy": settings["weight_anatomy"] * (whitened**2).mean(),
        }
        parts = [losses.touching(d[ids]) for ids in self.touching]
        parts += [losses.clearance(d[ids]) for ids in self.not_touching]
        if parts:
            terms["parts"] = settings["weight_part"] * torch.stack(parts).sum()
        return terms

    def _in_reach(self, d: torch.Tensor) -> torch.Tensor:
        """Contact-zone vertices that start within reach of the object: an idle finger is not pulled in."""
        if self.reach is None:
            self.reach = self.zone & ~self.released & (d.detach() < self.settings["contact_reach"])
        return self.reach
