"""Recorded human grasps with their objects: the ground truth of the benchmark.

    GRASPS/*.npz   object_id (N,), joints_obj (N, 21, 3) metres in the object's frame, right hands, wrist first then
                   index, middle, ring, little, thumb; optional object_pose_world (N, 7) = x y z qw qx qy qz with
                   gravity along world -z (else the object's -z is down)
    MESHES/        one .glb, .obj or .ply per object, metres, the same frame, named <object_id> or *_<object_id>

The recordings hold joints only. The open hand is fitted to them, and what of the joints it cannot explain is
reported with every scene (`residual_mm`).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from scipy.spatial.transform import Rotation

from pipeline.errors import BadMesh, HoiError
from pipeline.evaluate.lengths import LONG, OBJECT_METRES, PALM, PALM_METRES, not_metres
from pipeline.hand.anatomy import beyond_limits, joint_limits
from pipeline.hand.least_squares import minimise
from pipeline.hand.registration import kabsch
from pipeline.hand_model import load_hand
from pipeline.types import F64, HandPose, Mesh

# The recordings' joint order -> OpenPose: wrist, thumb .. little.
TO_OPENPOSE = (0, 17, 18, 19, 20, *range(1, 17))
WRIST, MIDDLE_BASE = 0, 5  # in the recordings' order
REQUIRED, OPTIONAL = ("object_id", "joints_obj"), ("object_pose_world",)
SHAPES = {"joints_obj": (21, 3), "object_pose_world": (7,)}
GIVE = "give --grasps a folder of .npz, or one, with object_id (N,) and joints_obj (N, 21, 3) in metres"
UNIT = 0.01  # how far a quaternion's length may be from 1
MESH_TYPES = (".glb", ".obj", ".ply")
SIGMA_JOINT = 0.002  # metres: how closely the fit follows the recording
SIGMA_LIMIT = 0.05  # radians beyond a joint's range
WEIGHT_GRASP = 0.05  # of squared whitened coefficients: enough to choose among equal fits
WEIGHT_BETAS = 30.0  # the recordings are of a mean-shape hand; free betas buy 0.6 mm with thin fingers that hold less


# What numpy raises for a file that is no .npz, is another kind of numpy file, or is broken inside.
_UNREADABLE = (
    *(ValueError, OSError, EOFError, AttributeError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


class BadBenchmark(HoiError):
    """The folders of grasps or meshes do not hold what `evaluate` needs."""


@dataclass(frozen=True)
class Grasp:
    """One recorded grasp and the mesh it holds; its number tells it from the others."""

    number: int  # in the file
    object_id: str
    joints: F64 = field(compare=False)  # (21, 3) metres, object frame, OpenPose order, right hand
    down: F64 = field(compare=False)  # (3,) unit vector of gravity in the object's frame
    mesh_file: Path


def load_grasps(grasps: Path, meshes: Path) -> list[Grasp]:
    """Every grasp of every .npz in a folder (or of one file). Raises BadBenchmark, also for a missing mesh."""
    files = sorted(grasps.glob("*.npz")) if grasps.is_dir() else [grasps]
    if not files or not files[0].is_file():
        raise BadBenchmark(f"{grasps}: no .npz of grasps here; {GIVE}")
    found: list[Grasp] = []
    for file in files:
        arrays = _arrays(file)
        ids, joints, poses = arrays["object_id"], arrays["joints_obj"], arrays.get("object_pose_world")
        for i, object_id in enumerate(map(str, ids)):
            down = np.array([0.0, 0.0, -1.0])
            if poses is not None:
                down = Rotation.from_quat(poses[i, 3:], scalar_first=True).inv().apply(down)
            found.append(
                Grasp(len(found), object_id, joints[i][list(TO_OPENPOSE)], down, _mesh_file(meshes, object_id))
            )
    if not found:
        raise BadBenchmark(f"{grasps}: holds no grasp; {GIVE}")
    return found


def check_meshes(grasps: Iterable[Grasp]) -> None:
    """Raises BadMesh or BadBenchmark for a mesh that encloses no volume or is not in metres."""
    for file in dict.fromkeys(grasp.mesh_file for grasp in grasps):
        vertices, _ = closed(load_mesh(file), file)
        wrong = not_metres("the vertices", LONG, float(np.ptp(vertices, axis=0).max()), OBJECT_METRES)
        if wrong is not None:
            raise BadBenchmark(f"{file}: {wrong}")


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of one recording, checked."""
    try:
        with np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in (*REQUIRED, *OPTIONAL) if name in data.files}
    except _UNREADABLE as error:
        raise BadBenchmark(f"{file}: not an .npz that can be read; {GIVE}") from error
    for name in REQUIRED:
        if name not in arrays:
            raise BadBenchmark(f"{file}: lacks the array '{name}'; {GIVE}")
    if arrays["object_id"].ndim != 1:
        raise BadBenchmark(f"{file}: object_id is {arrays['object_id'].shape}, not (N,)")
    n = len(arrays["object_id"])
    for name, shape in SHAPES.items():
        if name not in arrays:
            continue
        numbers = arrays[name].dtype.kind in "fiu" and np.isfinite(arrays[name]).all()
        if arrays[name].shape != (n, *shape) or not numbers:
            raise BadBenchmark(
                f"{file}: {name} is {arrays[name].shape}, not ({n}, {', '.join(map(str, shape))}) finite numbers"
            )
        arrays[name] = arrays[name].astype(np.float64)
    _check_units(file, arrays)
    return arrays


def _check_units(file: Path, arrays: dict[str, np.ndarray]) -> None:
    joints = arrays["joints_obj"]
    for i, palm in enumerate(np.linalg.norm(joints[:, MIDDLE_BASE] - joints[:, WRIST], axis=1)):
        wrong = not_metres(f"the joints of grasp {i}", PALM, float(palm), PALM_METRES)
        if wrong is not None:
            raise BadBenchmark(f"{file}: {wrong}")
    for i, length in enumerate(np.linalg.norm(arrays.get("object_pose_world", np.empty((0, 7)))[:, 3:], axis=1)):
        if abs(length - 1) > UNIT:
            raise BadBenchmark(
                f"{file}: object_pose_world[{i}] ends in a quaternion of length {length:.3g}, not 1; "
                "a pose is x y z qw qx qy qz"
            )


def _mesh_file(meshes: Path, object_id: str) -> Path:
    for path in sorted(meshes.iterdir()) if meshes.is_dir() else []:
        if path.suffix.lower() in MESH_TYPES and (path.stem == object_id or path.stem.endswith(f"_{object_id}")):
            return path
    expected = "give --meshes a folder with <object_id>.glb, .obj or .ply"
    raise BadBenchmark(f"{meshes}: no mesh for object '{object_id}'; {expected} of every object")


@lru_cache(maxsize=32)
def load_mesh(path: Path) -> Mesh:
    """A textured mesh file, in the file's own units, with seams welded where no texture needs them.

    A mesh without a picture gets one texel of its base colour. Raises BadMesh.
    """
    try:
        loaded: Any = trimesh.load(path, force="mesh", process=False)
    except Exception as error:
        raise BadMesh(f"{path}: not a mesh that can be read ({error})") from error
    vertices, faces = np.asarray(loaded.vertices, np.float64), np.asarray(loaded.faces, np.int64)
    if not len(faces) or not np.isfinite(vertices).all():
        raise BadMesh(f"{path}: the mesh is empty or not finite")
    uv = getattr(loaded.visual, "uv", None)
    material = getattr(loaded.visual, "material", None)
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if uv is None or picture is None:
        colour = np.asarray(getattr(material, "main_color", [128, 128, 128, 255]), np.uint8)[:3]
        return Mesh(vertices, faces, np.zeros((len(vertices), 2)), colour.reshape(1, 1, 3).copy())
    flipped = np.stack([np.asarray(uv)[:, 0] % 1.0, 1.0 - np.asarray(uv)[:, 1] % 1.0], 1)
    return Mesh(vertices, faces, flipped, np.asarray(picture.convert("RGB")).copy())


def closed(mesh: Mesh, file: Path) -> tuple[F64, np.ndarray]:
    """Vertices and faces of a textured mesh without the duplicates that texture seams need, watertight.

    Raises BadMesh, naming the file it is from.
    """
    from pipeline.geometry.watertight import make_watertight

    _, first, inverse = np.unique(np.round(mesh.vertices, 7), axis=0, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1)[mesh.faces]
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    try:
        return make_watertight(mesh.vertices[first], faces[distinct])
    except BadMesh as error:
        raise BadMesh(f"{file}: {error}") from error


def fit_hand(joints: F64) -> tuple[HandPose, float]:
    """The open right hand through (21, 3) joints in metres, and the mean distance that remains in millimetres."""
    model = load_hand("right")
    zero, target = np.zeros(3), torch.as_tensor(joints, dtype=torch.float32)
    rest = model.posed(HandPose("right", zero, model.mean_pose, np.zeros(10), zero))[1]
    palm = [0, 1, 5, 9, 13, 17]
    rotation = kabsch(rest[palm], joints[palm])
    mean, std = (torch.as_tensor(a, dtype=torch.float32) for a in (model.mean_pose, model.component_std))
    components = torch.as_tensor(model.components, dtype=torch.float32)
    limits = joint_limits("right")

    def posed(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        articulation = mean + (x[3:48] * std) @ components
        return articulation, model(x[None, :3], articulation[None], x[None, 48:58], x[None, 58:])[1][0]

    def residuals(x: torch.Tensor) -> torch.Tensor:
        articulation, found = posed(x)
        return torch.cat(
            [
                ((found - target) / SIGMA_JOINT).reshape(-1),
                beyond_limits(articulation, limits) / SIGMA_LIMIT,
                x[3:48] * WEIGHT_GRASP**0.5,
                x[48:58] * WEIGHT_BETAS**0.5,
            ]
        )

    start = torch.zeros(61)
    start[:3] = torch.as_tensor(Rotation.from_matrix(rotation).as_rotvec(), dtype=torch.float32)
    start[58:] = torch.as_tensor(joints[0] - rest[0], dtype=torch.float32)
    x, _ = minimise(residuals, start, steps=25)
    articulation, found = posed(x)
    residual = float((found - target).norm(dim=-1).mean() * 1000)
    numbers = (x[:3], articulation, x[48:58], x[58:])
    return HandPose("right", *(n.detach().double().numpy() for n in numbers)), residual
