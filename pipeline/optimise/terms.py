"""The energy of one pair: every term of METHOD 2 and of what a better system adds, weighted, as a sum.

    mask          visible part of the rendered hand against the hand mask                (the paper's)
    penetration   hand vertices inside the object                                        (the paper's)
    contact       contact-zone vertices that start within reach of it                    (the paper's)
    regularisation   L1 to the estimated articulation                                    (the paper's)
    grip          the nearest skin of each finger pad and the palm touches; far ones do not pull
    order         what the photo shows of hand and object in front of each other
    grasp, orient the estimate's own uncertainty: see `Articulation`
    depth         of the hand relative to the object: held where the alignment found it
    keypoints     reprojection, trusted as far as the estimator's residual allows
    marks         a reviewer's contact masks and touching parts
A term whose weight is 0 is not computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.geometry.camera import project
from pipeline.geometry.raster import Topology, depth_map, silhouette
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model import HandModel
from pipeline.optimise import losses
from pipeline.optimise.near_distance import NearDistance
from pipeline.optimise.variables import PairVariables
from pipeline.optimise.view import View
from pipeline.types import PARTS, Edits, HandEstimate, Mask, ObjectMesh, ObjectPose

KEYPOINT_TOLERANCE = 0.02  # of the hand's size: the residual of a good estimate
REFRESH = 10  # steps after which it is decided again which skin the camera sees


@dataclass(frozen=True)
class ContactHints:
    """A reviewer's contact masks in view pixels; None: derive them."""

    front: Mask | None = None
    back: Mask | None = None


@dataclass(frozen=True)
class Posed:
    """The hand at the present variables, metres and pixels of the view."""

    verts: torch.Tensor  # (778, 3)
    joints: torch.Tensor  # (21, 3)
    pixels: torch.Tensor  # (778, 2)
    scale: torch.Tensor  # (1,)


class Terms:
    """Built once per pair; called at every step. `object_pose` may have any scale: it is a variable."""

    def __init__(
        self,
        model: HandModel,
        item: ObjectMesh,
        object_pose: ObjectPose,
        estimate: HandEstimate,
        view: View,
        hints: ContactHints,
        edits: Edits,
        settings: dict[str, Any],
    ) -> None:
        self.model, self.view, self.settings, self.hints = model, view, settings, hints
        on = self._on
        at_one = object_pose.place(item.mesh.vertices) / object_pose.scale
        self.topology = Topology(on(model.faces))
        self.target = view.hand * (1 - view.cover)
        self.keypoints = view.pixels(estimate.keypoints)
        self.hand_px = float((self.keypoints.max(0).values - self.keypoints.min(0).values).max())
        self.tolerance = max(KEYPOINT_TOLERANCE, estimate.residual_px * view.zoom / self.hand_px)
        self.theta0 = on(estimate.pose.hand_pose).float()
        self.zones = [on(model.zone_vertices(p)) for p in PARTS if p not in edits.not_touching]
        self.zone = on(np.zeros(len(model.zone), dtype=bool))
        self.zone[torch.cat(self.zones)] = True
        self.touching = [on(model.zone_vertices(part)) for part in edits.touching]
        self.not_touching = [on(model.zone_vertices(part)) for part in edits.not_touching]
        zones = on(model.zone > 0)
        self.sdf = NearDistance(SignedDistance(at_one, item.mesh.faces), zones)
        self.order = losses.Order(at_one, item.mesh.faces, view)
        self.reach: torch.Tensor | None = None
        self.seen = on(np.ones(len(model.zone), dtype=bool))
        self.hinted: list[torch.Tensor] = []
        self.calls = 0

    def _on(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, device=self.view.device)

    def posed(self, pair: PairVariables) -> Posed:
        verts, joints = pair.forward()
        return self.at_scale(verts, joints, pair.scale())

    def at_scale(self, verts: torch.Tensor, joints: torch.Tensor, scale: torch.Tensor) -> Posed:
        """A hand beside the object at a scale (1,)."""
        return Posed(verts, joints, project(verts, self.view.K), scale)

    def distance(self, now: Posed) -> torch.Tensor:
        """(778,) signed metres to the object; see `NearDistance` for those of skin far from it."""
        return self.sdf(now.verts / now.scale) * now.scale

    def look(self, now: Posed) -> None:
        """Decide again which skin the camera sees, and which lies under a reviewer's contact masks."""
        verts = now.verts.detach().cpu().double().numpy()
        nearest = depth_map(verts, self.model.faces, self.view.camera.K, *self.view.shape)
        x, y = losses.inside(now.pixels, self.view.shape)
        self.seen = self._on(verts[:, 2] < nearest[y, x] + losses.SKIN)
        palmar = self.model.skin_side == 1
        under = [palmar & mask[y, x] for mask in (self.hints.front, self.hints.back) if mask is not None]
        self.hinted = [self._on(ids) for ids in under if ids.any()]
        for ids in self.hinted:
            self.sdf.wanted = self.sdf.wanted | ids

    def __call__(self, pair: PairVariables) -> dict[str, torch.Tensor]:
        """Weighted terms by name; those of weight 0 are absent."""
        now = self.posed(pair)
        if self.calls % REFRESH == 0:
            self.look(now)
        self.calls += 1
        distance = self.distance(now)
        return self._weighted(
            {
                "mask": lambda: self.mask(now),
                "keypoints": lambda: self.reprojection(now),
                "contact": lambda: losses.contact(distance[self._in_reach(distance)]),
                "regularisation": lambda: (pair.hand_pose() - self.theta0).abs().sum(),
                "grasp": lambda: pair.grasp.square().sum() / 2,
                "orient": lambda: pair.turn.square().sum() / 2,
                "depth": lambda: (pair.log_scale - pair.shift[2]).square().sum() / 2,
            }
        ) | self.between(now, distance)

    def between(self, now: Posed, distance: torch.Tensor) -> dict[str, torch.Tensor]:
        """The terms that tie hand and object together, weighted."""
        weighted = self._weighted(
            {
                "penetration": lambda: losses.penetration(distance, self.settings["penetration_reduction"]),
                "grip": lambda: losses.grip(distance, self.zones, self.settings["press"], self.settings["grip_reach"]),
                "order": lambda: self.order(now.verts, now.pixels, now.scale, self.seen),
            }
        )
        marks = [losses.touching(distance[ids]) for ids in self.touching]
        marks += [losses.clearance(distance[ids]) for ids in self.not_touching]
        marks += [distance[ids].abs().mean() for ids in self.hinted]
        if marks:
            weighted["marks"] = self.settings["weight_marks"] * torch.stack(marks).sum()
        return weighted

    def in_picture(self, pair: PairVariables) -> dict[str, torch.Tensor]:
        """The terms that compare the hand alone with the photo, weighted."""
        now = self.posed(pair)
        return self._weighted(
            {
                "mask": lambda: self.mask(now),
                "keypoints": lambda: self.reprojection(now),
                "grasp": lambda: pair.grasp.square().sum() / 2,
            }
        )

    def _weighted(self, terms: dict[str, Callable[[], torch.Tensor]]) -> dict[str, torch.Tensor]:
        weights = {name: self.settings[f"weight_{name}"] for name in terms}
        return {name: weights[name] * term() for name, term in terms.items() if weights[name]}

    def reprojection(self, now: Posed) -> torch.Tensor:
        """Of the joints to the estimate's keypoints; a vague estimate weighs less."""
        joints = project(now.joints, self.view.K)
        error = losses.reprojection(joints, self.keypoints, self.hand_px, self.tolerance)
        return error * (KEYPOINT_TOLERANCE / self.tolerance)

    def mask(self, now: Posed) -> torch.Tensor:
        """1 - IoU of the hand's visible part."""
        rendered = silhouette(now.pixels, self.topology, *self.view.shape)
        return 1 - losses.soft_iou(losses.visible_hand(rendered, self.view.cover), self.target)

    def _in_reach(self, distance: torch.Tensor) -> torch.Tensor:
        """Contact-zone vertices that start within reach of the object: an idle finger is not pulled in."""
        if self.reach is None:
            self.reach = self.zone & (distance.detach() < self.settings["contact_reach"])
        return self.reach


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def descend(
    pair: PairVariables,
    terms: Callable[[PairVariables], dict[str, torch.Tensor]],
    groups: list[dict[str, Any]],
    steps: int,
    patience: int,
    stop: float = 0.0,
) -> dict[str, float]:
    """Adam with cosine decay until nothing gets better or the sum is below `stop`.

    The variables end at the best step; its terms are returned.
    """
    adam = torch.optim.Adam(
        [dict(group) for group in groups], fused=True
    )  # it writes the decaying rate into its groups
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(1, steps), eta_min=0)
    variables = [t for group in groups for t in group["params"]]
    best, figures, kept, since = float("inf"), {}, [], 0
    for step in range(steps + 1):
        parts = terms(pair)
        loss = total(parts)
        since += 1
        if loss.item() < best - 1e-4 * abs(best if np.isfinite(best) else 0):
            since = 0
        if loss.item() < best:
            best = loss.item()
            figures = {name: value.item() for name, value in parts.items()} | {"best_step": float(step)}
            kept = [t.detach().clone() for t in variables]
        if step == steps or since > patience or best < stop:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
        decay.step()
    with torch.no_grad():
        for variable, value in zip(variables, kept, strict=True):
            variable.copy_(value)
    return figures | {"total": best}
