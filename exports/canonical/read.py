"""The members of a canonical sample as the record they were made of.

What comes back equals what went in, but for: the photo's pixels unless they were written as PNG; hand vertices, contact
distances, object vertices and uv, which went through float32; numbers in metrics, diagnostics and provenance that were
not finite, which are None (metrics: NaN); and tuples in them, which are lists.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from exports import glb
from exports.base import Record
from exports.canonical.layout import ARRAYS, MASKS
from exports.canonical.sample import PARAMETERS
from pipeline.types import (
    F64,
    U8,
    Camera,
    Completion,
    Contacts,
    HandEstimate,
    HandPose,
    Mask,
    Masks,
    Mesh,
    ObjectMesh,
    ObjectPose,
    Photo,
    Reconstruction,
    ViewPrior,
)


def record_of(members: Mapping[str, bytes]) -> Record:
    """The record. Raises ValueError (KeyError, TypeError) for members that are broken or missing."""
    told, more = json.loads(members["json"]), json.loads(members["details.txt"])
    arrays = {name: array(members, name) for name in ARRAYS}
    masks = {name: mask(members, name) for name in MASKS}
    pose, camera, hand = told["object"], told["camera"], told["hand"]
    touching = tuple(more["touching"])
    made = Reconstruction(
        camera=Camera(np.array(camera["K"], dtype=np.float64), camera["width"], camera["height"], camera["source"]),
        masks=Masks(
            masks["hand_mask"],
            masks["object_mask"],
            masks["arm_mask"],
            _number(more["masks"]["score"]),
            tuple(more["masks"]["notes"]),
        ),
        completion=Completion(masks["amodal_mask"], picture(members, "completion"), tuple(more["completion"]["notes"])),
        estimate=_estimate(more["estimate"], hand["model"]),
        hand=_pose(hand),
        hand_verts=arrays["hand_verts"],
        hand_joints=arrays["hand_joints"],
        object=_object(members, pose["kind"], more["object"]),
        object_pose=ObjectPose(np.array(pose["rotation"]), np.array(pose["transl"]), pose["scale"]),
        contacts=Contacts(masks["contact_front"], masks["contact_back"], arrays["contact_distance"], touching),
        metrics={name: _number(value) for name, value in more["metrics"].items()},
        diagnostics=more["diagnostics"],
    )
    photo = Photo(more["photo"]["name"], told["photo"]["sha256"], picture(members, "photo"), more["photo"]["focal_px"])
    return Record(more["pair_id"], told["revision"], photo, made, more["provenance"])


def array(members: Mapping[str, bytes], name: str) -> F64:
    """One of the `ARRAYS` of the layout, as float64. Raises ValueError when it is not what is said there."""
    shape, dtype = ARRAYS[name]
    found = np.load(io.BytesIO(members[f"{name}.npy"]), allow_pickle=False)
    if found.shape != shape or found.dtype != np.dtype(dtype):
        raise ValueError(f"is {found.dtype} of shape {found.shape}, not {np.dtype(dtype)} of shape {shape}")
    if not np.isfinite(found).all():
        raise ValueError("is not finite")
    return np.asarray(found, dtype=np.float64)


def mask(members: Mapping[str, bytes], name: str) -> Mask:
    """One of the masks, bool (H, W). Raises ValueError when it holds anything but 0 and 255."""
    found = _decoded(members[f"{name}.png"])
    if found.ndim != 2 or found.dtype != np.uint8 or not np.isin(found, (0, 255)).all():
        raise ValueError("is not a mask of 0 and 255")
    return np.asarray(found > 0)


def picture(members: Mapping[str, bytes], name: str) -> U8:
    """Photo or completion, (H, W, 3) RGB."""
    data = members[f"{name}.jpg" if f"{name}.jpg" in members else f"{name}.png"]
    found = _decoded(data)
    if found.ndim != 3 or found.shape[2] != 3 or found.dtype != np.uint8:
        raise ValueError("is not a picture of three colours")
    return np.ascontiguousarray(found[..., ::-1])


def depth(members: Mapping[str, bytes]) -> F64:
    """(H, W) metres along z, inf where there is no surface."""
    steps = _decoded(members["depth.png"])
    if steps.ndim != 2 or steps.dtype != np.uint16:
        raise ValueError("is not a picture of 16-bit numbers")
    return np.where(steps > 0, steps * json.loads(members["json"])["depth_unit"], np.inf)


def _decoded(data: bytes) -> NDArray[Any]:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if found is None:
        raise ValueError("cannot be read as an image")
    return np.asarray(found)


def _pose(given: Mapping[str, Any]) -> HandPose:
    if given["side"] not in ("left", "right"):
        raise ValueError(f"side is {given['side']!r}")
    return HandPose(given["side"], *(np.array(given[name], dtype=np.float64) for name in PARAMETERS))


def _estimate(given: Mapping[str, Any], model: str) -> HandEstimate:
    numbers = (_number(given[name]) for name in ("residual_px", "residual_mm", "score"))
    return HandEstimate(_pose(given), model, np.array(given["keypoints"], dtype=np.float64), *numbers)


def _object(members: Mapping[str, bytes], kind: str, given: Mapping[str, Any]) -> ObjectMesh:
    (part,) = glb.decode(members["object.glb"])
    if part.uv is None:
        raise ValueError("has no texture coordinates")
    texture = np.ascontiguousarray(_decoded(part.texture)[..., ::-1])
    mesh = Mesh(part.vertices.astype(np.float64), part.faces.astype(np.int64), part.uv.astype(np.float64), texture)
    prior = given["prior"]
    starts = np.array(prior["starts"], dtype=np.float64).reshape(-1, 3, 3)
    view = ViewPrior(np.array(prior["rotation"]), np.array(prior["transl"]), starts, _number(prior["depth_known"]))
    scores = {name: _number(value) for name, value in given["scores"].items()}
    return ObjectMesh(mesh, view, kind, scores, tuple(given["notes"]))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
