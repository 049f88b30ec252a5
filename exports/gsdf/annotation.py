"""One pair as gSDF's annotation and as AlignSDF's meta pickle, from the keys that ObMan's meta holds.

gSDF makes its annotations from ObMan's meta (preprocess/cocoify_obman.py), so they are derived here by the same rules:
OpenGL camera -> OpenCV camera, affine_transform -> its rigid part, box of the object at rest in metres.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exports.base import Record
from exports.gsdf.sdf import Normalisation, Surface
from exports.obman.camera import SIZE, TO_OPENGL, Placement
from exports.obman.meta import OWN_KEY, moved
from pipeline.hand_model.hand import Hand
from pipeline.types import F64

DECIMALS = 8  # of metres and radians
ARRAYS: dict[str, tuple[int, ...]] = {  # what the readers take from an annotation, and its shape
    "bbox": (4,),
    "hand_joints_3d": (21, 3),
    "hand_poses": (48,),
    "obj_transform": (4, 4),
    "obj_center_3d": (3,),
    "obj_corners_3d": (8, 3),
    "obj_rest_corners_3d": (8, 3),
}
SDF_ARRAYS: dict[str, tuple[int, ...]] = {"sdf_scale": (1,), "sdf_offset": (3,)}


def rigid(affine: NDArray[np.floating]) -> F64:
    """(4, 4) ObMan's affine_transform (scale included, OpenGL) -> rotation and shift alone, OpenCV camera."""
    linear = TO_OPENGL @ affine[:3, :3].astype(np.float64)
    u, _, vt = np.linalg.svd(linear)
    matrix = np.eye(4)
    matrix[:3, :3] = u @ vt
    matrix[:3, 3] = TO_OPENGL @ affine[:3, 3].astype(np.float64)
    return np.round(matrix, DECIMALS) + 0.0


def box_corners(points: NDArray[np.floating]) -> F64:
    """(8, 3) corners of the box about points (N, 3), in gSDF's order: z slowest, then x, then y."""
    (x, y, z) = np.stack([points.min(0), points.max(0)], 1)
    return np.array([(x[i], y[j], z[k]) for k in (0, 1) for i in (0, 1) for j in (0, 1)])


def at_rest(transform: F64, vertices: F64) -> F64:
    """(V, 3) metres, OpenCV camera -> metres in the object's own frame."""
    return np.asarray((vertices - transform[:3, 3]) @ transform[:3, :3])


def in_camera(transform: F64, points: F64) -> F64:
    """(N, 3) metres in the object's own frame -> metres, OpenCV camera."""
    return np.asarray(points @ transform[:3, :3].T + transform[:3, 3])


def annotation(
    record: Record,
    model: Hand,
    placement: Placement,
    meta: dict[str, Any],
    obj: Surface,
    norm: Normalisation | None,
) -> dict[str, Any]:
    """gSDF's keys but for the ids; with `norm`, those of the signed distances too. JSON."""
    made = record.reconstruction
    pose = moved(made.hand, made.hand_joints[0], placement)
    transform = rigid(meta["affine_transform"])
    rest = np.round(box_corners(at_rest(transform, obj.vertices)), DECIMALS) + 0.0
    values = {
        "hand_joints_3d": meta["coords_3d"].astype(np.float64) @ TO_OPENGL,
        "hand_poses": np.concatenate([pose.global_orient, pose.hand_pose]),
        "obj_transform": transform,
        "obj_center_3d": transform[:3, 3],
        "obj_corners_3d": in_camera(transform, rest),
        "obj_rest_corners_3d": rest,
    }
    kept = {name: (np.round(value, DECIMALS) + 0.0).tolist() for name, value in values.items()}
    if norm is not None:  # float32 as they are: the distances were made with exactly these
        kept |= {"sdf_scale": norm.scale.tolist(), "sdf_offset": norm.offset.tolist()}
    own = {
        "pair_id": record.pair_id,
        "revision": record.revision,
        "hand_model": model.name,
        "betas": made.hand.betas.tolist(),
        "transl": np.round(pose.transl, DECIMALS).tolist(),
    }
    return {"bbox": [0, 0, SIZE, SIZE], **kept, OWN_KEY: own}


def align_meta(meta: dict[str, Any], annotated: dict[str, Any]) -> dict[str, Any]:
    """ObMan's meta with the two keys that AlignSDF adds: (9, 3) centre and corners, OpenGL camera and at rest."""
    rest = np.array([[0.0, 0.0, 0.0], *annotated["obj_rest_corners_3d"]])
    seen = np.array([annotated["obj_center_3d"], *annotated["obj_corners_3d"]]) @ TO_OPENGL
    return meta | {"obj_rest_corners_3d": rest.astype(np.float32), "obj_corners_3d": seen.astype(np.float32)}
