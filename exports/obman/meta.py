"""The `meta` pickle of one ObMan sample: every key its loaders read, and our own truth under one key."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from exports import numpy_pickle
from exports.base import Record, UnsuitableRecord
from exports.hands import check_hand
from exports.obman.camera import K_OBMAN, TO_OPENGL, Placement
from exports.obman.layers import CHANNELS
from exports.obman.mesh import NormalisedObject
from exports.splits import groups_of
from pipeline.geometry.camera import project
from pipeline.hand_model.hand import Hand
from pipeline.types import F64, HandPose

OWN_KEY = "hoi_annotate"
OWN_VERSION = 1
DEFAULT_CLASS = "00000000"  # ShapeNet's classes are WordNet offsets of 8 digits; this one is none of them
SHAPENET = "/sequoia/data2/dataset/shapenet/ShapeNetCore.v2"  # the prefix that client code replaces by its own root
TIPS = (4, 8, 12, 16, 20)  # of OpenPose's joints

ARRAYS: dict[str, tuple[int, ...]] = {  # required float32 arrays and their shapes
    "coords_2d": (21, 2),
    "coords_3d": (21, 3),
    "verts_3d": (778, 3),
    "hand_pose": (45,),
    "pca_pose": (45,),
    "affine_transform": (4, 4),
}
FLOATS = ("obj_scale", *(f"{prefix}depth_{end}" for prefix in CHANNELS for end in ("min", "max")))
STRINGS = ("side", "class_id", "sample_id")


def hand_meta(record: Record, model: Hand, placement: Placement) -> dict[str, Any]:
    """The hand's keys. coords_3d and verts_3d are in ObMan's OpenGL camera, coords_2d in its pixels.

    The pose is given in the principal components of the named hand model: pose @ components is the absolute
    axis-angle pose (flat_hand_mean=True). Raises UnsuitableRecord when record and hand model disagree.
    """
    reconstruction = record.reconstruction
    check_hand(record, model)
    joints = (placement.points(reconstruction.hand_joints) @ TO_OPENGL).astype(np.float32)
    verts = (placement.points(reconstruction.hand_verts) @ TO_OPENGL).astype(np.float32)
    pca = np.linalg.solve(model.components.T, reconstruction.hand.hand_pose).astype(np.float32)
    return {
        "coords_2d": project_opengl(joints).astype(np.float32),
        "coords_3d": joints,
        "verts_3d": verts,
        "side": reconstruction.hand.side,
        "hand_pose": pca,
        "pca_pose": pca,
    }


def object_meta(record: Record, obj: NormalisedObject, placement: Placement) -> dict[str, Any]:
    """The object's keys; affine_transform takes the normalised mesh into ObMan's OpenGL camera, scale included."""
    pose = record.reconstruction.object_pose
    to_photo, to_obman = np.eye(4), np.eye(4)
    to_photo[:3, :3], to_photo[:3, 3] = pose.scale * pose.rotation, pose.transl
    to_obman[:3, :3] = TO_OPENGL @ placement.rotation
    to_obman[:3, 3] = TO_OPENGL @ placement.transl
    class_id = class_id_of(record)
    models = f"{SHAPENET}/{class_id}/{obj.sample_id}/models"
    return {
        "affine_transform": (to_obman @ to_photo @ obj.to_mesh).astype(np.float32),
        "obj_scale": float(pose.scale * obj.diagonal),
        "class_id": class_id,
        "sample_id": obj.sample_id,
        "obj_path": f"{models}/model_normalized.obj",
        "obj_texture": f"{models}/texture.png",
    }


def own_meta(record: Record, model: Hand, placement: Placement) -> dict[str, Any]:
    """What ObMan has no key for: the photo's own camera and parameters, how they became ObMan's, and provenance."""
    reconstruction = record.reconstruction
    pose = reconstruction.object_pose
    return {
        "version": OWN_VERSION,
        "pair_id": record.pair_id,
        "revision": record.revision,
        "photo": {"name": record.photo.name, "sha256": record.photo.sha256, "size": list(record.photo.size)},
        "verdict": record.provenance.get("verdict"),
        "provenance": record.provenance,
        "groups": groups_of(record.photo.sha256, record.provenance),
        "metrics": reconstruction.metrics,
        "hand_model": model.name,
        "tip_ids": model.tip_ids,
        "K": reconstruction.camera.K,
        "camera_source": reconstruction.camera.source,
        "hand_in_photo": _parameters(reconstruction.hand),
        "object_in_photo": {"rotation": pose.rotation, "transl": pose.transl, "scale": pose.scale},
        "camera_mode": placement.mode,
        "homography": placement.homography,
        "rotation": placement.rotation,
        "transl": placement.transl,
        "hand": _parameters(moved(reconstruction.hand, reconstruction.hand_joints[0], placement)),
        "residual_px": placement.residual_px,
        "fov_deg": placement.fov_deg,
        "wider_than_obman": placement.wider_than_obman,
    }


def moved(pose: HandPose, wrist: F64, placement: Placement) -> HandPose:
    """The parameters of the same hand in ObMan's camera (OpenCV axes). wrist: (3,) metres, photo camera.

    The model turns about its wrist joint, so `transl` must make up for where that joint ends.
    """
    orient = Rotation.from_matrix(placement.rotation) * Rotation.from_rotvec(pose.global_orient)
    rest_wrist = wrist - pose.transl
    transl = placement.points(wrist[None])[0] - rest_wrist
    return HandPose(pose.side, orient.as_rotvec(), pose.hand_pose, pose.betas, transl)


def pose_from_own(own: dict[str, Any], side: Any) -> HandPose:
    """The hand parameters that `own_meta` stored for ObMan's camera (OpenCV axes)."""
    hand = own["hand"]
    return HandPose(side, hand["global_orient"], hand["hand_pose"], hand["betas"], hand["transl"])


def object_points(meta: dict[str, Any], vertices: NDArray[np.floating]) -> F64:
    """(V, 3) vertices of the normalised mesh -> metres in ObMan's camera, OpenCV axes, as the loaders do it."""
    affine = meta["affine_transform"].astype(np.float64)
    return np.asarray((vertices.astype(np.float64) @ affine[:3, :3].T + affine[:3, 3]) @ TO_OPENGL)


def project_opengl(points: NDArray[np.floating]) -> F64:
    """(N, 3) metres in ObMan's OpenGL camera -> (N, 2) pixels under its K."""
    return np.asarray(project(points.astype(np.float64) @ TO_OPENGL, K_OBMAN))


def class_id_of(record: Record) -> str:
    """The object class of a record, fit for a path that loaders rewrite. Raises UnsuitableRecord when it is not."""
    class_id = str(record.provenance.get("class_id") or DEFAULT_CLASS)
    plain = class_id.isascii() and all(c.isalnum() or c in "-_" for c in class_id)
    if not plain or "rgb" in class_id or "jpg" in class_id:
        raise UnsuitableRecord(f"class_id '{class_id}' is not letters, digits, - and _ without 'rgb' and 'jpg'")
    return class_id


def pickled(meta: dict[str, Any]) -> bytes:
    """A meta as a file. Raises UnsuitableRecord."""
    try:
        return numpy_pickle.dumps(meta)
    except TypeError as error:
        raise UnsuitableRecord(f"provenance or metrics are not JSON-like: {error}") from error


def _parameters(pose: HandPose) -> dict[str, Any]:
    names = ("global_orient", "hand_pose", "betas", "transl")
    return {name: np.asarray(getattr(pose, name), dtype=np.float64) for name in names}
