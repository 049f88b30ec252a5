"""Joints as COCO keypoints: where they are in the photo and whether one sees them.

masks: something else is in front (the object, a sleeve, another hand)      depth: the hand itself is in front
"""

from __future__ import annotations

import numpy as np

from exports.depth import depth_in_view
from pipeline.geometry.camera import project
from pipeline.types import F64, I64, Mask, Reconstruction

FINGERS = ("index", "middle", "ring", "little")
JOINTS = (
    "wrist",
    *(f"thumb_{joint}" for joint in ("cmc", "mcp", "ip", "tip")),
    *(f"{finger}_{joint}" for finger in FINGERS for joint in ("mcp", "pip", "dip", "tip")),
)
SKELETON = [[1 if joint % 4 == 1 else joint, joint + 1] for joint in range(1, 21)]  # from 1, as COCO counts
OUTSIDE, OCCLUDED, VISIBLE = 0, 1, 2
NEAR_MASK = 0.005  # metres: how far beside the visible hand a joint may lie and still be seen
SKIN = 0.008  # metres: a joint is covered by its own flesh and this much more before something else is in front


def keypoints_of(made: Reconstruction, faces: I64) -> list[tuple[float, float, int]]:
    """21 times (x, y, v): pixels of the photo from its top left corner, rounded to 0.01; (0, 0, 0) outside of it.

    v is 2 where the visible hand mask is within 5 mm of the joint and the first surface of the hand there (faces:
    (F, 3) of its mesh) is the joint's own: no nearer to the camera than 1.5 times the joint's depth below the skin.
    It is 1 where something hides the joint.
    """
    height, width = made.masks.hand.shape
    surface = depth_in_view(made.hand_verts, faces, made.camera.K, height, width)
    pixels = project(made.hand_joints, made.camera.K)
    found = []
    for joint, (x, y) in zip(made.hand_joints, pixels, strict=True):
        if not (joint[2] > 0 and 0 <= x < width and 0 <= y < height):
            found.append((0.0, 0.0, OUTSIDE))
            continue
        flesh = 1.5 * float(np.linalg.norm(made.hand_verts - joint, axis=1).min()) + SKIN
        own = joint[2] - surface[int(y), int(x)] <= flesh
        seen = own and _near(made.masks.hand, x, y, NEAR_MASK * made.camera.focal / joint[2])
        found.append((float(round(x, 2)), float(round(y, 2)), VISIBLE if seen else OCCLUDED))
    return found


def reprojected(joints: F64, K: F64) -> F64:
    """(21, 3) metres -> (21, 2) pixels; not finite where a joint is in the camera's plane."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(project(joints, K))


def _near(mask: Mask, x: float, y: float, radius: float) -> bool:
    """Whether the mask has a pixel in the square about (x, y), at least the pixel itself."""
    left, top = max(0, int(x - radius)), max(0, int(y - radius))
    return bool(mask[top : int(y + radius) + 1, left : int(x + radius) + 1].any())
