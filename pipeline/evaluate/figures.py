"""The figures of one placed hand-object pair against a scene's ground truth (METHOD 3).

Aligned figures follow the field's protocol, which fits scale and translation away before it compares shapes. The
twins named `*_unaligned` compare with nothing but the wrists (for poses: nothing at all) brought together, so that
errors of scale and of relative position show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.errors import BadMesh
from pipeline.evaluate.assess import image_metrics
from pipeline.evaluate.metrics import ICP_POINTS, chamfer_fscore, intersection_volume_cm3, sample_surface
from pipeline.evaluate.physics import Parts, center_of_mass, convex_parts, parts_displacement_cm
from pipeline.evaluate.scenes import Scene
from pipeline.evaluate.self_contact import self_penetration_mm
from pipeline.geometry.registration import similarity_icp
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand.anatomy import beyond_limits_deg
from pipeline.hand_model import HandModel, load_hand
from pipeline.types import F64, I64, Camera, HandPose, ObjectPose

TOUCH = 0.005  # metres: skin this near to the object is in contact
HELD_CM = 2.0  # an object that moves less than this in the long simulation is held
LONG_STEPS = 1000
POINTS = 30000
# What a scene without an answer scores; figures that have no worst value are left to `failures`.
FAILED = {"f5": 0.0, "f10": 0.0, "f5_unaligned": 0.0, "f10_unaligned": 0.0} | dict.fromkeys(
    ("object_iou", "hand_iou", "contact_f1", "contact_vertex_f1", "held"), 0.0
)


@dataclass(frozen=True)
class Placement:
    """A stage's answer: a hand and a closed mesh at a pose, camera frame, metres."""

    hand: HandPose
    vertices: F64  # (V, 3) the object in its own frame and units
    faces: I64  # (F, 3)
    pose: ObjectPose
    camera: Camera  # the one it was made for: its own guess of the focal length where that is not told
    seconds: float = 0.0


def figures(scene: Scene, placed: Placement, same_frame: bool, long_simulation: bool = False) -> dict[str, float]:
    """All figures of a placement. `same_frame`: its mesh is the scene's, in the scene's units and frame.

    Silhouettes are those the answer has in its own camera; positions are compared in metres whatever the camera.
    """
    model = load_hand(placed.hand.side)
    verts, joints = model.posed(placed.hand)
    obj, faces = placed.pose.place(placed.vertices), placed.faces
    truth = scene.object_pose.place(scene.solid[0])
    found = image_metrics(placed.camera, scene.masks, scene.amodal, model, verts, obj, faces)
    distance = SignedDistance(obj, faces).query(verts)[0]
    true_distance = SignedDistance(truth, scene.solid[1]).query(scene.hand_verts)[0]
    out = {
        "object_iou": found["object_iou"],
        "hand_iou": found["hand_iou"],
        **_shape(scene, placed, obj, joints[0]),
        **_wrist(scene, placed, obj, joints[0], same_frame),
        "mpjpe_mm": _mean_mm(joints - joints[0], scene.hand_joints - scene.hand_joints[0]),
        "mpjpe_mm_unaligned": _mean_mm(joints, scene.hand_joints),
        **_contact(distance, true_distance, model),
        "penetration_mm": float(max(0.0, -distance.min()) * 1000),
        "self_penetration_mm": self_penetration_mm(verts, model),
        "beyond_limits_deg": beyond_limits_deg(placed.hand),
        "seconds": placed.seconds,
    }
    try:
        out["intersection_cm3"] = intersection_volume_cm3(verts, model.faces, obj, faces)
        parts = _placed_parts(placed)
        center, gravity = center_of_mass(obj, faces), tuple(9.8 * scene.down)
        out["displacement_cm"] = parts_displacement_cm(verts, model.faces, parts, center, gravity)
        if long_simulation:
            moved = parts_displacement_cm(verts, model.faces, parts, center, gravity, LONG_STEPS)
            out["displacement_1000_cm"], out["held"] = moved, float(moved < HELD_CM)
    except BadMesh:
        out.setdefault("intersection_cm3", math.nan)
        out["displacement_cm"] = math.nan
    return out


def truth_of(scene: Scene) -> Placement:
    """The scene itself, for the row that says what the truth scores by the same code."""
    return Placement(scene.hand, *scene.solid, scene.object_pose, scene.camera)


def _placed_parts(placed: Placement) -> Parts:
    """Convex parts are found once per mesh, in its own frame."""
    return tuple((placed.pose.place(v), f) for v, f in convex_parts(placed.vertices, placed.faces))


def _shape(scene: Scene, placed: Placement, obj: F64, wrist: F64) -> dict[str, float]:
    truth = scene.object_pose.place(scene.solid[0])
    aligned = chamfer_fscore(obj, placed.faces, truth, scene.solid[1], n=POINTS)
    together = obj - wrist + scene.hand_joints[0]
    raw = chamfer_fscore(together, placed.faces, truth, scene.solid[1], n=POINTS, align=False)
    twins = {"cd_cm2_unaligned": raw["cd_cm2"], "f5_unaligned": raw["f5"], "f10_unaligned": raw["f10"]}
    return {**aligned, **twins}


def _wrist(scene: Scene, placed: Placement, obj: F64, wrist: F64, same_frame: bool) -> dict[str, float]:
    """Where the wrist is relative to the object, in true millimetres, scale (and for a predicted shape position)
    aligned. In one frame the object's own axes compare; a predicted shape is laid over the true one first."""
    true_wrist = scene.hand_joints[0]
    if same_frame:
        own = (wrist - placed.pose.transl) @ placed.pose.rotation / placed.pose.scale
        true_own = (true_wrist - scene.object_pose.transl) @ scene.object_pose.rotation
        unscaled = own * placed.pose.scale
        return {
            "wrist_error_mm": float(np.linalg.norm(own - true_own) * 1000),
            "wrist_error_mm_unaligned": float(np.linalg.norm(unscaled - true_own) * 1000),
        }
    truth = scene.object_pose.place(scene.solid[0])
    a = sample_surface(obj, placed.faces, ICP_POINTS, 0)
    b = sample_surface(truth, scene.solid[1], ICP_POINTS, 1)
    scale, _, translation, _ = similarity_icp(a, b)
    shift = (wrist - a.mean(0)) - (true_wrist - b.mean(0))
    return {
        "wrist_error_mm": float(np.linalg.norm(scale * wrist + translation - true_wrist) * 1000),
        "wrist_error_mm_unaligned": float(np.linalg.norm(shift) * 1000),
    }


def _contact(distance: F64, true_distance: F64, model: HandModel) -> dict[str, float]:
    """F1 of the hand's 16 links (a link is in contact when any of its skin is), and of its single vertices."""
    found, true = distance < TOUCH, true_distance < TOUCH
    links = [[bool(mask[model.part == link].any()) for link in range(16)] for mask in (found, true)]
    return {"contact_f1": _f1(*map(np.array, links)), "contact_vertex_f1": _f1(found, true)}


def _mean_mm(a: F64, b: F64) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean() * 1000)


def _f1(predicted: np.ndarray, true: np.ndarray) -> float:
    if not predicted.any() and not true.any():
        return 1.0
    return float(2 * (predicted & true).sum() / (predicted.sum() + true.sum()))
