"""The numbers of one DexYCB sequence: are they all there, of their kind, and do its files agree with each other?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from exports.dexycb.label import pose_from_pca
from exports.dexycb.layout import HAND_LABEL, LARGEST_U8, meta_of
from exports.hands import MODEL_TOLERANCE
from exports.ho3d.view import WIDTH
from pipeline.geometry.camera import project
from pipeline.hand_model.hand import Hand
from pipeline.types import F64

CLOSE = 1e-5  # metres, or of a rotation's entries, between numbers that say the same
CLOSE_PIXELS = 1e-2
CAMERA = ("fx", "fy", "ppx", "ppy")


@dataclass(frozen=True)
class Frame:
    """A sequence's one frame, of the right structure."""

    label: Mapping[str, NDArray[Any]]
    pose: Mapping[str, NDArray[Any]]
    own: Mapping[str, Any]
    intrinsics: Mapping[str, Any]
    mano: Mapping[str, Any]
    hand: Hand | None

    @property
    def K(self) -> F64:
        """(3, 3) as the toolkit builds it."""
        fx, fy, x, y = (float(self.intrinsics["color"][key]) for key in CAMERA)
        return np.array([[fx, 0, x], [0, fy, y], [0, 0, 1]])


def meta_problems(meta: Mapping[str, Any], sample: Mapping[str, Any], number: int) -> Iterator[str]:
    """meta.yml against what the manifest says of the sample."""
    for key, value in meta_of(sample, number).items():
        if key not in meta:
            yield f"'{key}' is missing"
        elif type(meta[key]) is not type(value) or meta[key] != value:
            yield f"'{key}' is {meta[key]!r}, not {value!r}"


def own_problems(own: Mapping[str, Any], sample: Mapping[str, Any]) -> Iterator[str]:
    """hoi_annotate.json against the manifest; and has it what the rest is compared with?"""
    for key in ("pair_id", "revision", "groups", "side", "hand_model"):
        if key not in own:
            yield f"'{key}' is missing"
        elif own[key] != sample.get(key):
            yield f"'{key}' is not what the manifest says"
    for key, inner, shape in (("K", None, (3, 3)), ("window", None, (4,)), ("object_in_photo", "rotation", (3, 3))):
        value = own.get(key)
        if inner is not None:
            value = value.get(inner) if isinstance(value, dict) else None
        if not _is_numbers(value, shape):
            yield f"'{key}' is not {'x'.join(map(str, shape))} finite numbers"


def structure(
    arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[tuple[int, ...], type]], number: int | None
) -> Iterator[str]:
    """Missing keys, wrong kinds and shapes, values that are not finite. number: the object's, of arrays with `seg`."""
    wanted = dict(expected)
    if number is not None:
        wanted["seg"] = ((480, 640), np.uint8 if number <= LARGEST_U8 else np.uint16)
    for key, (shape, dtype) in wanted.items():
        value = arrays.get(key)
        if value is None:
            yield f"'{key}' is missing"
        elif value.shape != shape or value.dtype != dtype:
            yield f"'{key}' is not a {np.dtype(dtype).name} array of shape {shape}"
        elif not np.isfinite(value).all():
            yield f"'{key}' is not finite"
        elif key == "seg" and not set(np.unique(value).tolist()) <= {0, number, HAND_LABEL}:
            yield f"'seg' has other values than 0, {number} (the object) and {HAND_LABEL} (the hand)"


def calibration(read: Mapping[str, Any], serial: str) -> dict[str, Iterator[str]]:
    """Problems of the three calibration files, each by itself."""
    return {
        "intrinsics": _intrinsics(read["intrinsics"]),
        "extrinsics": _extrinsics(read["extrinsics"], serial),
        "mano": _mano(read["mano"]),
    }


def _intrinsics(content: Mapping[str, Any]) -> Iterator[str]:
    for name in ("color", "depth"):
        camera = content.get(name)
        if not isinstance(camera, dict):
            yield f"'{name}' is missing or not a mapping"
            continue
        for key in CAMERA:
            if not _is_numbers(camera.get(key), ()):
                yield f"'{name}.{key}' is missing or not a finite number"
    if content.get("color") != content.get("depth"):
        yield "'depth' is not 'color', to which the depth is aligned"


def _extrinsics(content: Mapping[str, Any], serial: str) -> Iterator[str]:
    if content.get("master") != serial:
        yield f"'master' is not {serial!r}, the only camera"
    given = content.get("extrinsics")
    if not isinstance(given, dict) or set(given) != {serial, "apriltag"}:
        yield f"'extrinsics' does not name {serial!r} and 'apriltag'"
        return
    for name, value in given.items():
        if not _is_numbers(value, (12,)):
            yield f"'extrinsics.{name}' is not 12 finite numbers"
            continue
        pose = np.array(value, dtype=np.float64).reshape(3, 4)
        if not np.abs(pose[:, :3] @ pose[:, :3].T - np.eye(3)).max() < CLOSE or np.linalg.det(pose[:, :3]) < 0:
            yield f"'extrinsics.{name}' does not begin with a rotation"
        elif name == serial and not np.array_equal(pose, np.eye(3, 4)):
            yield f"'extrinsics.{name}' is not the identity, though the camera is the world"


def _mano(content: Mapping[str, Any]) -> Iterator[str]:
    if not _is_numbers(content.get("betas"), (10,)):
        yield "'betas' is missing or not 10 finite numbers"


def consistent(frame: Frame, kind: str) -> Iterator[str]:
    """Values of the file `kind` that contradict others."""
    checks = {"intrinsics": _window, "mano": _betas, "label": _label, "pose": _pose}
    yield from checks[kind](frame)


def _window(frame: Frame) -> Iterator[str]:
    x, y, width, height = (float(value) for value in frame.own["window"])
    if width <= 0 or width * 3 != height * 4:
        yield "cannot be compared: 'window' of hoi_annotate.json is not 4:3"
        return
    K = np.array(frame.own["K"], dtype=np.float64)
    K[:2, 2] -= (x, y)
    K[:2] *= WIDTH / width
    K[:2, 2] -= 0.5
    if not np.abs(K - frame.K).max() < CLOSE_PIXELS:
        yield "'color' is not the camera of the photo's window"


def _betas(frame: Frame) -> Iterator[str]:
    given = frame.own.get("hand_in_photo")
    betas: Any = given.get("betas") if isinstance(given, dict) else None
    if not _is_numbers(betas, (10,)) or not np.abs(np.subtract(betas, frame.mano["betas"])).max() < CLOSE:
        yield "'betas' are not those of hoi_annotate.json"


def _label(frame: Frame) -> Iterator[str]:
    label = frame.label
    joints, verts = label["joint_3d"][0].astype(np.float64), label["hand_verts"][0].astype(np.float64)
    tolerance = CLOSE_PIXELS * max(1.0, frame.K[0, 0] / 1e3)
    if not joints[:, 2].min() > 0:
        yield "'joint_3d' is not in front of the camera"
    elif not np.abs(project(joints, frame.K) - label["joint_2d"][0]).max() < tolerance:
        yield "'joint_2d' is not where the intrinsics project 'joint_3d'"
    rotation = label["pose_y"][0, :, :3].astype(np.float64)
    if not np.abs(rotation - frame.own["object_in_photo"]["rotation"]).max() < CLOSE:
        yield "'pose_y' does not turn the object as hoi_annotate.json does"
    if frame.hand is None:
        return
    pose = pose_from_pca(label["pose_m"][0], np.array(frame.mano["betas"], dtype=np.float64), frame.hand)
    given_verts, given_joints = frame.hand.posed(pose)
    for key, gap in (("hand_verts", given_verts - verts), ("joint_3d", given_joints - joints)):
        if not np.abs(gap).max() <= 2 * MODEL_TOLERANCE:
            yield f"'pose_m' and the betas give a hand {np.abs(gap).max() * 1e3:.1f} mm from '{key}'"


def _pose(frame: Frame) -> Iterator[str]:
    if not np.abs(frame.pose["pose_m"][0] - frame.label["pose_m"]).max() < CLOSE:
        yield "'pose_m' is not that of the labels"
    given = frame.pose["pose_y"][0, 0].astype(np.float64)
    if not abs(np.linalg.norm(given[:4]) - 1) < CLOSE:
        yield "'pose_y' does not begin with a quaternion"
        return
    pose = np.concatenate([Rotation.from_quat(given[:4]).as_matrix(), given[4:, None]], 1)
    if not np.abs(pose - frame.label["pose_y"][0]).max() < CLOSE:
        yield "'pose_y' is not that of the labels"


def _is_numbers(value: Any, shape: tuple[int, ...]) -> bool:
    try:
        array = np.array(value)
    except ValueError:
        return False
    return array.shape == shape and array.dtype.kind in "if" and bool(np.isfinite(array).all())
