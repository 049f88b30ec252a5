"""A hand as FreiHAND's 61 numbers, and back.

    mano = 48 axis-angle (global_orient, then hand_pose minus the model's mean pose) | 10 betas | uv_root 2 | scale 1

The reader adds the mean pose (flat_hand_mean=False), and finds the root, joint 9, the middle finger's knuckle, at
[uv_root - (cx, cy), f] / scale, with f the mean of the two focal lengths: so `scale` is f / Z of that joint, in pixels
per metre (lmb-freiburg/freihand, utils/model.py). The list `scale` is something else: the length of the reference bone
in metres, from joint 9 to joint 10, the proximal phalanx of the middle finger (same repository, issue 8).
"""

from __future__ import annotations

import numpy as np

from pipeline.hand_model.hand import Hand
from pipeline.types import F64, HandPose

ROOT = 9
BONE = (9, 10)


def mano_of(pose: HandPose, joints: F64, K: F64, model: Hand) -> F64:
    """(61,) of a hand. joints: (21, 3) metres, camera frame, in front of the camera; K: (3, 3) of the picture."""
    focal, centre = (K[0, 0] + K[1, 1]) / 2, K[:2, 2]
    root = joints[ROOT]
    uv_root = centre + focal * root[:2] / root[2]
    articulation = pose.hand_pose - model.mean_pose
    return np.concatenate([pose.global_orient, articulation, pose.betas, uv_root, [focal / root[2]]])


def posed(mano: F64, K: F64, model: Hand) -> tuple[F64, F64]:
    """Vertices (778, 3) and joints (21, 3), metres, camera frame, as FreiHAND's readers get them from (61,) numbers."""
    focal, centre = (K[0, 0] + K[1, 1]) / 2, K[:2, 2]
    root = np.append(mano[58:60] - centre, focal) / mano[60]
    at_origin = HandPose("right", mano[:3], mano[3:48] + model.mean_pose, mano[48:58], np.zeros(3))
    verts, joints = model.posed(at_origin)
    shift = root - joints[ROOT]
    return verts + shift, joints + shift


def bone_length(joints: F64) -> float:
    """Metres: FreiHAND's reference bone."""
    return float(np.linalg.norm(joints[BONE[1]] - joints[BONE[0]]))
