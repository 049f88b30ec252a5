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
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline.geometry.camera import project, unprojected
from pipeline.geometry.raster import Topology, depth_map, drawn
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model import HandModel
from pipeline.optimise import losses
from pipeline.optimise.adam import Adam
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
    pixels: torch.Tensor  # (778, 2), without a graph
    scale: torch.Tensor  # (1,)


class Energy(NamedTuple):
    """Weighted terms by name, those of weight 0 absent or 0, and the gradient of their sum at `PairVariables.all`."""

    parts: dict[str, torch.Tensor]
    slope: Callable[[], tuple[torch.Tensor, ...]]


Sloped = tuple[torch.Tensor, Callable[[], torch.Tensor]]
"""A value without a graph, and its gradient at the points it was computed from."""


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
        self.open = 1 - view.cover
        self.target = view.hand * self.open
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
        return Posed(verts, joints, project(verts.detach(), self.view.K), scale)

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

    def __call__(self, pair: PairVariables) -> Energy:
        """All terms."""
        now = self.posed(pair)
        if self.calls % REFRESH == 0:
            self.look(now)
        self.calls += 1
        distance = self.distance(now)
        parts = self._weighted(
            {
                "mask": lambda: losses.sloped(now.verts, *self.mask(now.verts.detach())),
                "keypoints": lambda: losses.sloped(now.joints, *self.reprojection(now.joints.detach())),
                "contact": lambda: losses.contact(distance[self._in_reach(distance)]),
                "regularisation": lambda: (pair.hand_pose() - self.theta0).abs().sum(),
                "grasp": lambda: pair.grasp @ pair.grasp / 2,
                "orient": lambda: pair.turn @ pair.turn / 2,
                "depth": lambda: (pair.log_scale - pair.shift[2]).square().sum() / 2,
            }
        ) | self.between(now, distance)
        return Energy(parts, lambda: torch.autograd.grad(total(parts), pair.all, materialize_grads=True))

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

    def in_picture(self, pair: PairVariables) -> Energy:
        """The terms that compare the hand alone with the photo; without a graph, which would cost more than they do."""
        verts, joints, pull = pair.with_pull()
        of_mask, of_keypoints, of_grasp = (self.settings[f"weight_{n}"] for n in ("mask", "keypoints", "grasp"))
        mask, on_verts = self.mask(verts) if of_mask else _nothing(verts)
        keypoints, on_joints = self.reprojection(joints) if of_keypoints else _nothing(joints)
        grasp = pair.grasp.detach()
        parts = {"mask": of_mask * mask, "keypoints": of_keypoints * keypoints, "grasp": of_grasp * (grasp @ grasp) / 2}

        def slope() -> tuple[torch.Tensor, ...]:
            on_turn, on_shift, on_grasp = pull(of_mask * on_verts(), of_keypoints * on_joints())
            return on_turn, on_shift, on_grasp + of_grasp * grasp, torch.zeros_like(pair.log_scale)

        return Energy(parts, slope)

    def _weighted(self, terms: dict[str, Callable[[], torch.Tensor]]) -> dict[str, torch.Tensor]:
        weights = {name: self.settings[f"weight_{name}"] for name in terms}
        return {name: weights[name] * term() for name, term in terms.items() if weights[name]}

    def reprojection(self, joints: torch.Tensor) -> Sloped:
        """Of joints (21, 3) to the estimate's keypoints; a vague estimate weighs less."""
        error, slope = losses.reprojection(joints, self.view.K, self.keypoints, self.hand_px, self.tolerance)
        trust = KEYPOINT_TOLERANCE / self.tolerance
        return error * trust, lambda: slope * trust

    def mask(self, verts: torch.Tensor) -> Sloped:
        """1 - IoU of the visible part of a hand (778, 3): wherever the photo shows the object, the object is in front,
        and where it shows the forearm the model's wrist stump says nothing."""
        rendered, pull = drawn(project(verts, self.view.K), self.topology, *self.view.shape)
        miss, slope = losses.mask_miss(rendered * self.open, self.target)
        return miss, lambda: unprojected(pull(slope * self.open), verts, self.view.K)

    def _in_reach(self, distance: torch.Tensor) -> torch.Tensor:
        """Contact-zone vertices that start within reach of the object: an idle finger is not pulled in."""
        if self.reach is None:
            self.reach = self.zone & (distance.detach() < self.settings["contact_reach"])
        return self.reach


def _nothing(points: torch.Tensor) -> Sloped:
    return points.new_zeros(()), lambda: torch.zeros_like(points)


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def descend(
    pair: PairVariables,
    energy: Callable[[PairVariables], Energy],
    rates: tuple[float, ...],
    steps: int,
    patience: int,
    decay: float,
    stop: float = 0.0,
) -> dict[str, float]:
    """Adam, its `rates` (of `PairVariables.all`) falling to the share `decay`, until nothing gets better or the sum is
    below `stop`.

    The variables end at the best step; its terms are returned.
    """
    sizes = [len(variable) for variable in pair.all]
    each = torch.cat([variable.new_full((n,), rate) for variable, n, rate in zip(pair.all, sizes, rates, strict=True)])
    adam: Adam[torch.Tensor] = Adam(each, steps, decay)
    best, at_best, figures, since = float("inf"), 0, {}, 0
    kept = [variable.detach().clone() for variable in pair.all]
    for step in range(steps + 1):
        now = energy(pair)
        loss = total(now.parts).item()
        since = 0 if loss < best - 1e-4 * abs(best if np.isfinite(best) else 0) else since + 1
        if loss < best:
            best, at_best, figures = loss, step, now.parts
            kept = [variable.detach().clone() for variable in pair.all]
        if step == steps or since > patience or best < stop:
            break
        moves = adam(torch.cat(now.slope())).split(sizes)
        with torch.no_grad():
            for variable, move in zip(pair.all, moves, strict=True):
                variable.sub_(move)
    with torch.no_grad():
        for variable, value in zip(pair.all, kept, strict=True):
            variable.copy_(value)
    return {name: value.item() for name, value in figures.items()} | {"best_step": float(at_best), "total": best}
