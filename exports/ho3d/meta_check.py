"""The keys of one HO-3D meta: are they all there, of their kind, and do they agree with each other?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from exports.hands import MODEL_TOLERANCE, hand_here
from exports.ho3d.meta import (
    ARRAYS,
    OPENPOSE_TO_MANO,
    OWN_KEY,
    VERTEX_ARRAYS,
    bounding_box,
    contact,
    place,
)
from exports.ho3d.model import box_corners
from exports.ho3d.model_check import MeshRead
from exports.ho3d.view import WIDTH
from pipeline.errors import HoiError
from pipeline.types import HandPose

CLOSE = 1e-5  # metres between numbers that say the same
Meta = dict[str, Any]


def structure(meta: Meta, version: str, joints: str) -> Iterator[str]:
    """Missing keys, wrong kinds and shapes, values that are not finite."""
    expected: dict[str, tuple[tuple[int, ...], type]] = {key: (shape, np.float64) for key, shape in ARRAYS.items()}
    expected["handJoints3D"] = ((21, 3) if joints == "all" else (3,), np.float64)
    if version == "v3":
        expected |= VERTEX_ARRAYS
    for key, (shape, dtype) in expected.items():
        value = meta.get(key)
        if key not in meta:
            yield f"'{key}' is missing"
        elif not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != dtype:
            yield f"'{key}' is not a {np.dtype(dtype).name} array of shape {shape}"
        elif not np.isfinite(value).all():
            yield f"'{key}' is not finite"
    kinds = {"objName": str, "objLabel": int, "camIDList": list, OWN_KEY: dict}
    if joints == "root":
        kinds["handBoundingBox"] = list
    for key, kind in kinds.items():
        if key not in meta:
            yield f"'{key}' is missing"
        elif not isinstance(meta[key], kind):
            yield f"'{key}' is not a {kind.__name__}"
    box = meta.get("handBoundingBox", [0.0] * 4)
    if isinstance(box, list) and not (len(box) == 4 and all(isinstance(v, float) and np.isfinite(v) for v in box)):
        yield "'handBoundingBox' is not [left, top, right, bottom]"
    if isinstance(meta.get("camIDList"), list) and meta["camIDList"] != ["0"]:
        yield "'camIDList' does not name the one camera '0'"
    own = meta.get(OWN_KEY)
    for key, (count, dtype) in {"hand_verts": (778, np.float32), "hand_joints": (21, np.float64)}.items():
        value = own.get(key) if isinstance(own, dict) else None
        if isinstance(own, dict) and not (
            isinstance(value, np.ndarray) and value.shape == (count, 3) and value.dtype == dtype
        ):
            yield f"'{OWN_KEY}.{key}' is not a {np.dtype(dtype).name} array of shape ({count}, 3)"


def consistent(meta: Meta, sample: Mapping[str, Any], model: MeshRead | None, label: int) -> Iterator[str]:
    """Of a meta with the right structure: values that contradict others."""
    own = meta[OWN_KEY]
    for key in ("pair_id", "revision", "groups"):
        if own.get(key) != sample.get(key):
            yield f"'{OWN_KEY}.{key}' is not what the manifest says"
    yield from _camera(meta)
    yield from _hand(meta)
    if meta["objName"] != sample.get("model"):
        yield "'objName' is not the model that the manifest names"
        return
    if meta["objLabel"] != label:
        yield f"'objLabel' is {meta['objLabel']}, but the object is number {label} by name"
    if (
        not np.abs(place(meta["objRot"], meta["objTrans"], meta["objCorners3DRest"]) - meta["objCorners3D"]).max()
        < CLOSE
    ):
        yield "'objRot' and 'objTrans' do not take 'objCorners3DRest' to 'objCorners3D'"
    if model is None:
        return
    if not np.abs(box_corners(model.vertices) - meta["objCorners3DRest"]).max() < CLOSE:
        yield "'objCorners3DRest' is not the box of the model"
    if "handVertDist" in meta:
        yield from _contact(meta, model)


def _camera(meta: Meta) -> Iterator[str]:
    own, K = meta[OWN_KEY], meta["camMat"]
    try:
        photo = np.asarray(own["K"], dtype=np.float64)
        x, y, width, height = (float(value) for value in own["window"])
        whole = np.array([[1, 0, -x], [0, 1, -y], [0, 0, width / WIDTH]]) * (WIDTH / width) @ photo
        whole[:2, 2] -= 0.5
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        yield f"'{OWN_KEY}' does not say the photo's K and window ({error!r})"
        return
    if whole.shape != (3, 3) or abs(width * 3 - height * 4) > 0 or not np.abs(whole - K).max() < 1e-3:
        yield "'camMat' is not that of the photo's window"


def _hand(meta: Meta) -> Iterator[str]:
    own = meta[OWN_KEY]
    verts, joints = own["hand_verts"].astype(np.float64), own["hand_joints"]
    if not max(verts[:, 2].max(), joints[:, 2].max()) < 0:
        yield "the hand is not in front of the OpenGL camera (z < 0)"
        return
    expected = joints if meta["handJoints3D"].ndim == 2 else joints[0]
    if not np.abs(meta["handJoints3D"] - expected).max() < CLOSE:
        yield f"'handJoints3D' is not '{OWN_KEY}.hand_joints'"
    if "handBoundingBox" in meta:
        box = bounding_box(verts, meta["camMat"])
        if not np.abs(np.subtract(meta["handBoundingBox"], box)).max() < 1:
            yield "'handBoundingBox' is not about the hand"
    hand = hand_here("right", own.get("hand_model"))
    if hand is None:
        yield f"hand model '{own.get('hand_model')}' is not here, so its parameters were not checked"
        return
    pose = HandPose("right", meta["handPose"][:3], meta["handPose"][3:], meta["handBeta"], meta["handTrans"])
    given_verts, given_joints = hand.posed(pose)
    for key, gap in (
        ("hand_verts", np.abs(given_verts - verts).max()),
        ("hand_joints", np.abs(given_joints[OPENPOSE_TO_MANO] - joints).max()),
    ):
        if not gap <= 2 * MODEL_TOLERANCE:
            yield (f"'handPose', 'handTrans' and 'handBeta' give a hand {gap * 1e3:.1f} mm from '{OWN_KEY}.{key}'")


def _contact(meta: Meta, model: MeshRead) -> Iterator[str]:
    verts = meta[OWN_KEY]["hand_verts"].astype(np.float64)
    try:
        expected = contact(verts, place(meta["objRot"], meta["objTrans"], model.vertices), model.faces)
    except HoiError as error:
        yield f"contact cannot be measured: {error}"
        return
    near = np.abs(expected["handVertDist"] - 0.004) > CLOSE  # vertices just at a limit may fall either way
    off = expected["handVertDist"] > CLOSE
    if not np.abs(meta["handVertDist"] - expected["handVertDist"]).max() < CLOSE:
        yield "'handVertDist' is not the distance to the model"
    if (meta["handVertContact"] != expected["handVertContact"])[near].any():
        yield "'handVertContact' is not where the hand is nearer than 4 mm"
    if (meta["handVertIntersec"] != expected["handVertIntersec"])[off].any():
        yield "'handVertIntersec' is not where the hand is inside the model"
    # Of several nearest points any may be given, so what counts is how far it is.
    reach = np.linalg.norm(meta["handVertObjSurfProj"] - verts, axis=1)
    if not np.abs(reach - expected["handVertDist"]).max() < CLOSE:
        yield "'handVertObjSurfProj' is not the nearest point of the model"
