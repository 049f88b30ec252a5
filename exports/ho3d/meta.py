"""The `meta` pickle of one HO-3D frame. Everything is in HO-3D's OpenGL camera (x right, y up, -z forward), metres."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from exports.ho3d.scene import Scene, own_truth
from pipeline.geometry.camera import project
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model.hand import MANO_TO_OPENPOSE
from pipeline.types import F64, HandPose

OWN_KEY = "hoi_annotate"
TO_OPENGL: F64 = np.diag([1.0, -1.0, -1.0])  # and back
OPENPOSE_TO_MANO = np.argsort(MANO_TO_OPENPOSE)  # HO-3D's order: 16 joints, then the tips thumb .. little
CONTACT = 0.004  # metres; HO-3D's own limit
DECIMALS = 9
BOX_MARGIN = 0.1  # of handBoundingBox, of the hand's extent on each side

ARRAYS: dict[str, tuple[int, ...]] = {  # float64
    "camMat": (3, 3),
    "handPose": (48,),
    "handTrans": (3,),
    "handBeta": (10,),
    "objRot": (3, 1),
    "objTrans": (3,),
    "objCorners3D": (8, 3),
    "objCorners3DRest": (8, 3),
}
VERTEX_ARRAYS = {  # of version 3
    "handVertContact": ((778,), np.bool_),
    "handVertDist": ((778,), np.float32),
    "handVertIntersec": ((778,), np.bool_),
    "handVertObjSurfProj": ((778, 3), np.float32),
}


def frame_meta(scene: Scene, version: str, joints: str) -> dict[str, Any]:
    """All keys but objLabel, which is only known when all objects are. `joints`: 'root' or 'all' of handJoints3D."""
    made, model = scene.record.reconstruction, scene.model
    pose = to_opengl(made.hand, made.hand_joints[0])
    rotation = Rotation.from_matrix(TO_OPENGL) * Rotation.from_rotvec(model.rotvec)
    rotvec = np.round(rotation.as_rotvec(), DECIMALS)
    transl = np.round(TO_OPENGL @ model.transl, DECIMALS)
    hand_joints = np.round((made.hand_joints @ TO_OPENGL)[OPENPOSE_TO_MANO], DECIMALS)
    verts = (made.hand_verts @ TO_OPENGL).astype(np.float32)
    meta: dict[str, Any] = {
        "camMat": scene.view.cv_K,
        "camIDList": ["0"],
        "handPose": np.concatenate([pose.global_orient, pose.hand_pose]),
        "handTrans": pose.transl,
        "handBeta": np.asarray(pose.betas, dtype=np.float64),
        "handJoints3D": hand_joints if joints == "all" else hand_joints[0],
        "objRot": rotvec[:, None],  # a column, as in the public files
        "objTrans": transl,
        "objCorners3DRest": model.corners,
        "objCorners3D": np.round(place(rotvec, transl, model.corners), DECIMALS),
        "objName": model.name,
        OWN_KEY: {**own_truth(scene), "hand_verts": verts, "hand_joints": hand_joints},
    }
    if joints == "root":
        meta["handBoundingBox"] = bounding_box(verts.astype(np.float64), meta["camMat"])
    if version == "v3":
        meta |= contact(verts.astype(np.float64), place(rotvec, transl, model.vertices), model.faces)
    return meta


def to_opengl(pose: HandPose, wrist: F64) -> HandPose:
    """The same hand in the OpenGL camera. wrist: (3,) metres, OpenCV camera.

    The model turns about its wrist joint, so `transl` must make up for where that joint ends.
    """
    orient = Rotation.from_matrix(TO_OPENGL) * Rotation.from_rotvec(pose.global_orient)
    transl = TO_OPENGL @ wrist - (wrist - pose.transl)
    return HandPose(
        pose.side,
        np.round(orient.as_rotvec(), DECIMALS),
        np.asarray(pose.hand_pose, dtype=np.float64),
        pose.betas,
        np.round(transl, DECIMALS),
    )


def place(rotvec: F64, transl: F64, points: F64) -> F64:
    """(N, 3) points by objRot (3 numbers in any shape) and objTrans, as HO-3D's readers do it."""
    return np.asarray(points @ Rotation.from_rotvec(np.ravel(rotvec)).as_matrix().T + transl)


def contact(verts: F64, placed: F64, faces: Any) -> dict[str, Any]:
    """Version 3's four keys. verts (778, 3) and placed (V, 3): metres, one frame."""
    distance, closest = SignedDistance(placed, faces).query(verts)
    far = np.abs(distance).astype(np.float32)
    return {
        "handVertContact": far < CONTACT,
        "handVertDist": far,
        "handVertIntersec": distance < 0,
        "handVertObjSurfProj": closest.astype(np.float32),
    }


def bounding_box(verts: F64, K: F64) -> list[float]:
    """[left, top, right, bottom] pixels about the whole hand, with a margin, as the evaluation split has it."""
    pixels = project(verts @ TO_OPENGL, K)
    low, high = pixels.min(0), pixels.max(0)
    margin = BOX_MARGIN * (high - low)
    return [round(float(value), 3) for value in (*(low - margin), *(high + margin))]
