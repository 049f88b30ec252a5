"""The numbers of one DexYCB frame. Metres, OpenCV camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from exports.base import UnsuitableRecord
from exports.dexycb.layout import HAND_LABEL, LARGEST_U8
from exports.ho3d.scene import Scene
from pipeline.geometry.camera import project
from pipeline.hand_model.hand import Hand
from pipeline.types import F64, HandPose

PENDING = 1  # the object in `seg` until all objects are known and numbered
TAG_BOX = (0.6, 0.3, 0.3)  # metres: the middle of what the toolkit's viewer keeps of a point cloud, in its tag's frame
TAG_ROTATION: F64 = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # its z is the photo's up

ARRAYS: dict[str, tuple[tuple[int, ...], type]] = {  # of labels_*.npz, beside `seg`
    "pose_y": ((1, 3, 4), np.float32),
    "pose_m": ((1, 51), np.float32),
    "joint_3d": ((1, 21, 3), np.float32),
    "joint_2d": ((1, 21, 2), np.float32),
    "hand_verts": ((1, 778, 3), np.float32),
}
POSES: dict[str, tuple[tuple[int, ...], type]] = {  # of pose.npz
    "pose_y": ((1, 1, 7), np.float32),
    "pose_m": ((1, 1, 51), np.float32),
}


def label_arrays(scene: Scene) -> dict[str, NDArray[Any]]:
    """labels_*.npz. `hand_verts` is ours: whoever has not the same hand model cannot make them of `pose_m`."""
    made = scene.record.reconstruction
    pose = np.concatenate([Rotation.from_rotvec(scene.model.rotvec).as_matrix(), scene.model.transl[:, None]], 1)
    return {
        "seg": segmentation(scene.layers.hand, scene.layers.object, PENDING),
        "pose_y": pose[None].astype(np.float32),
        "pose_m": pca_pose(made.hand, scene.hand)[None],
        "joint_3d": made.hand_joints[None].astype(np.float32),
        "joint_2d": project(made.hand_joints, scene.view.cv_K)[None].astype(np.float32),
        "hand_verts": made.hand_verts[None].astype(np.float32),
    }


def pose_arrays(label: dict[str, NDArray[Any]], scene: Scene) -> dict[str, NDArray[Any]]:
    """pose.npz: the same in the world, which is the photo's camera; the object as quaternion (x, y, z, w), shift."""
    quaternion = Rotation.from_rotvec(scene.model.rotvec).as_quat(canonical=True)
    pose = np.concatenate([quaternion, scene.model.transl])
    return {"pose_y": pose[None, None].astype(np.float32), "pose_m": label["pose_m"][None]}


def segmentation(hand: NDArray[np.bool_], obj: NDArray[np.bool_], number: int) -> NDArray[Any]:
    """(480, 640) 0 background, the object's number, 255 hand; uint16 only where the number asks for it."""
    dtype = np.uint8 if number <= LARGEST_U8 else np.uint16
    return np.where(hand, HAND_LABEL, np.where(obj, number, 0)).astype(dtype)


def pca_pose(pose: HandPose, model: Hand) -> NDArray[np.float32]:
    """(51,) global orientation, 45 coefficients in the model's own basis (mean + pca @ components), translation."""
    pca = np.linalg.solve(model.components.T, pose.hand_pose - model.mean_pose)
    return np.asarray(np.concatenate([pose.global_orient, pca, pose.transl]), dtype=np.float32)


def pose_from_pca(values: NDArray[np.floating], betas: F64, model: Hand) -> HandPose:
    """What a reader makes of `pose_m` (51,) and mano.yml."""
    exact = values.astype(np.float64)
    return HandPose(model.side, exact[:3], model.mean_pose + exact[3:48] @ model.components, betas, exact[48:])


def millimetres(depth: F64) -> NDArray[np.uint16]:
    """(480, 640) metres, 0 for nothing -> whole millimetres."""
    if depth.max() * 1e3 > np.iinfo(np.uint16).max:
        raise UnsuitableRecord(f"the pair is {depth.max():.0f} m away; DexYCB's depth ends at 65 m")
    return np.rint(depth * 1e3).astype(np.uint16)


def tag_pose(scene: Scene) -> list[float]:
    """12 numbers, rows of (3, 4): the table's tag in the world, set so that the viewer keeps the pair's points."""
    middle = np.concatenate([scene.record.reconstruction.hand_verts, scene.model.placed]).mean(0)
    transl = middle - TAG_ROTATION @ TAG_BOX
    return [round(float(v), 6) for v in np.concatenate([TAG_ROTATION, transl[:, None]], 1).ravel()]
