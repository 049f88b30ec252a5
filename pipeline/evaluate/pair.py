"""The figures of any hand-object pair of meshes against a case's truth: ours and other systems' by one code (METHOD 3).

shape     CD, F5, F10 of the object: aligned by scale and translation (the field's protocol), and unaligned with
          nothing but the hands brought together (wrist on wrist where both are known, else centre on centre)
contact   intersection volume, exact and by 5 mm voxels; displacement after 35 and after 1000 steps
hand      mean joint error, root-aligned
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import BadMesh
from pipeline.evaluate.datasets.case import Case, Surface, true_hand
from pipeline.evaluate.figures import HELD_CM, LONG_STEPS, POINTS
from pipeline.evaluate.metrics import (
    chamfer_fscore_points,
    intersection_volume_cm3,
    intersection_volume_voxel_cm3,
    sample_surface,
)
from pipeline.evaluate.physics import center_of_mass, convex_parts, parts_displacement_cm
from pipeline.geometry.watertight import make_watertight
from pipeline.types import F64, ObjectPose

# What a case without an answer scores; figures that have no worst value are left out of the means and counted.
FAILED = dict.fromkeys(("f5", "f10", "f5_unaligned", "f10_unaligned", "held"), 0.0)


IN_PLACE = ObjectPose(np.eye(3), np.zeros(3), 1.0)


@dataclass(frozen=True)
class Pair:
    """An answer; camera frame, metres. Without faces the object is a cloud of points."""

    hand: Surface | None
    joints: F64 | None  # (21, 3) OpenPose order
    object: Surface | None  # in its own frame and units
    pose: ObjectPose = IN_PLACE

    @property
    def placed(self) -> Surface | None:
        """The object in the camera frame."""
        return None if self.object is None else Surface(self.pose.place(self.object.vertices), self.object.faces)


def truth_pair(case: Case) -> Pair:
    """The case's own truth, for the row that says what the truth scores by the same code."""
    return Pair(true_hand(case)[0], case.joints, case.object, case.pose)


def shape_figures(case: Case, pair: Pair) -> dict[str, float]:
    """Of the object's surface, and the hand's joints. Raises BadMesh for an object without surface."""
    out: dict[str, float] = {}
    if pair.joints is not None:
        gap = (pair.joints - pair.joints[0]) - (case.joints - case.joints[0])
        out["mpjpe_mm"] = float(np.linalg.norm(gap, axis=1).mean() * 1000)
    if pair.placed is None:
        return out
    found = _points(pair.placed, 0)
    truth = sample_surface(case.placed, case.object.faces, POINTS, 1)
    aligned = chamfer_fscore_points(found, truth)
    raw = chamfer_fscore_points(found + _together(case, pair), truth, align=False)
    return out | aligned | {f"{name}_unaligned": figure for name, figure in raw.items()}


def contact_figures(case: Case, pair: Pair, long_simulation: bool) -> dict[str, float]:
    """Of hand and object together; what can be had where a mesh cannot be closed, nothing without both."""
    if pair.hand is None or pair.object is None or not len(pair.object.faces):
        return {}
    out: dict[str, float] = {}
    try:
        hand = make_watertight(pair.hand.vertices, pair.hand.faces)
        own, faces = make_watertight(pair.object.vertices, pair.object.faces)
        vertices = pair.pose.place(own)
        out["intersection_cm3"] = intersection_volume_cm3(*hand, vertices, faces)
        out["intersection_voxel_cm3"] = intersection_volume_voxel_cm3(*hand, vertices, faces)
        parts = tuple((pair.pose.place(v), f) for v, f in convex_parts(own, faces))  # found once per mesh
        x, y, z = (float(g) for g in 9.8 * case.down)
        fall = (pair.hand.vertices, pair.hand.faces, parts, center_of_mass(vertices, faces), (x, y, z))
        out["displacement_cm"] = parts_displacement_cm(*fall)
        if long_simulation:
            out["displacement_1000_cm"] = parts_displacement_cm(*fall, LONG_STEPS)
            out["held"] = float(out["displacement_1000_cm"] < HELD_CM)
    except BadMesh:
        pass
    return out


def measure(case: Case, pair: Pair) -> dict[str, float]:
    """All figures of a pair. Raises BadMesh for an object without surface."""
    return shape_figures(case, pair) | contact_figures(case, pair, long_simulation=True)


def _points(surface: Surface, seed: int, n: int = POINTS) -> F64:
    """(n, 3) of a surface; of a cloud its own points, drawn when there are more."""
    if len(surface.faces):
        return sample_surface(surface.vertices, surface.faces, n, seed)
    points = surface.vertices
    if not len(points) or not np.isfinite(points).all():
        raise BadMesh("a mesh has no points, or some that are not finite")
    return np.asarray(points[np.random.default_rng(seed).permutation(len(points))[:n]])


def _together(case: Case, pair: Pair) -> F64:
    """(3,) what brings the answer's hand to the true one; 0 for an answer without a hand."""
    if pair.joints is not None:
        return np.asarray(case.joints[0] - pair.joints[0])
    if pair.hand is not None:
        true = true_hand(case)[0]
        at, found = (_points(hand, 0, 2000).mean(0) for hand in (true, pair.hand))
        return np.asarray(at - found)
    return np.zeros(3)
