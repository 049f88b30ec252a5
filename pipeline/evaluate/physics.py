"""Simulation displacement: does the hand hold the object when gravity is switched on? (METHOD 3)

    object -> convex parts (its hull when nearly convex, else coacd) \\
    hand   -> fixed concave mesh                                       -> PyBullet -> how far the object moved

The settings are those of the lineage of ObMan's evaluation: mass 1, friction 3, restitution 0.5 for the object
and 0 for the hand, 150 solver iterations, 35 steps of 1/240 s, Bullet's default damping.
"""

from __future__ import annotations

import functools
import importlib
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import ConvexHull

from pipeline.geometry.orientation import checked, signed_volume
from pipeline.geometry.watertight import make_watertight, simplify
from pipeline.types import F64, I64

MASS, FRICTION = 1.0, 3.0  # kg, Coulomb coefficient of both bodies
HAND_RESTITUTION, OBJECT_RESTITUTION = 0.0, 0.5
SOLVER_ITERATIONS = 150
NEARLY_CONVEX = 1.05  # hull volume over mesh volume up to which the hull alone stands for the object
DECOMPOSED_FACES = 3000  # coacd's time grows with faces, its parts hardly change
CONCAVITY, MAX_PARTS, COACD_SEED = 0.08, 16, 0

Parts = tuple[tuple[F64, I64], ...]


def _import_quietly(name: str) -> ModuleType:
    """pybullet greets on the file descriptors of stdout and stderr, where a command's data or progress bar goes."""
    kept = os.dup(1), os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        return importlib.import_module(name)
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (*kept, silence):
            os.close(descriptor)


bullet = _import_quietly("pybullet")


def simulation_displacement_cm(
    hand_v: ArrayLike,
    hand_f: ArrayLike,
    obj_v: ArrayLike,
    obj_f: ArrayLike,
    gravity: tuple[float, float, float] = (0, 9.8, 0),
    steps: int = 35,
    dt: float = 1 / 240,
) -> float:
    """Centimetres the object's centre of mass moves in `steps` of `dt` seconds, the hand fixed.

    Vertices (V, 3) in metres, camera frame; gravity in m/s^2 (camera +y: the photo is upright). Deterministic.
    Raises BadMesh when the object cannot be made watertight.
    """
    obj_v, obj_f = make_watertight(obj_v, obj_f)
    center = center_of_mass(obj_v, obj_f)
    return parts_displacement_cm(hand_v, hand_f, convex_parts(obj_v, obj_f), center, gravity, steps, dt)


def parts_displacement_cm(
    hand_v: ArrayLike,
    hand_f: ArrayLike,
    parts: Parts,
    center: F64,
    gravity: tuple[float, float, float] = (0, 9.8, 0),
    steps: int = 35,
    dt: float = 1 / 240,
) -> float:
    """`simulation_displacement_cm` of an object whose convex parts and centre of mass (3,) are known already."""
    moved = _simulate(checked(hand_v, hand_f), parts, center, gravity, steps, dt)
    return float(np.linalg.norm(moved - center) * 100)


def center_of_mass(vertices: F64, faces: I64) -> F64:
    """(3,) of the solid a closed mesh bounds, by tetrahedra from its mean vertex."""
    origin = vertices.mean(0)
    corners = vertices[faces] - origin
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    return cast(F64, origin + (volume[:, None] * corners.sum(1) / 4).sum(0) / volume.sum())


def convex_parts(vertices: F64, faces: I64) -> Parts:
    """Convex meshes (vertices, faces) that together stand for a watertight mesh; cached per process."""
    return _convex_parts(vertices.tobytes(), faces.tobytes())


@functools.lru_cache(maxsize=64)
def _convex_parts(vertex_bytes: bytes, face_bytes: bytes) -> Parts:
    fine = np.frombuffer(vertex_bytes).reshape(-1, 3), np.frombuffer(face_bytes, dtype=np.int64).reshape(-1, 3)
    vertices, faces = simplify(*fine, DECOMPOSED_FACES)
    if ConvexHull(vertices).volume < NEARLY_CONVEX * signed_volume(vertices, faces):
        return (_hull(vertices),)
    import coacd

    coacd.set_log_level("off")
    parts = coacd.run_coacd(
        coacd.Mesh(vertices, faces),
        threshold=CONCAVITY,
        max_convex_hull=MAX_PARTS,
        preprocess_mode="off",
        resolution=500,
        mcts_nodes=10,
        mcts_iterations=30,
        seed=COACD_SEED,
    )
    return tuple(_hull(np.asarray(part_vertices, dtype=np.float64)) for part_vertices, _ in parts)


def _hull(points: F64) -> tuple[F64, I64]:
    hull = ConvexHull(points)
    index = np.full(len(points), -1)
    index[hull.vertices] = np.arange(len(hull.vertices))
    return points[hull.vertices], index[hull.simplices]


def _simulate(
    hand: tuple[F64, I64], parts: Parts, center: F64, gravity: tuple[float, float, float], steps: int, dt: float
) -> F64:
    """(3,) where the object's centre of mass ends."""
    client = bullet.connect(bullet.DIRECT)
    try:
        bullet.setPhysicsEngineParameter(
            fixedTimeStep=dt,
            numSolverIterations=SOLVER_ITERATIONS,
            deterministicOverlappingPairs=1,
            enableFileCaching=0,
            physicsClientId=client,
        )
        bullet.setGravity(*gravity, physicsClientId=client)
        # Bullet reads the files a second time when it makes the bodies.
        with tempfile.TemporaryDirectory() as folder:
            hand_file = _write_obj(Path(folder) / "hand.obj", (hand,))
            object_file = _write_obj(Path(folder) / "object.obj", tuple((v - center, f) for v, f in parts))
            hand_shape = bullet.createCollisionShape(
                bullet.GEOM_MESH,
                fileName=hand_file,
                flags=bullet.GEOM_FORCE_CONCAVE_TRIMESH,
                physicsClientId=client,
            )
            object_shape = bullet.createCollisionShape(bullet.GEOM_MESH, fileName=object_file, physicsClientId=client)
            fixed = bullet.createMultiBody(0, hand_shape, physicsClientId=client)
            body = bullet.createMultiBody(MASS, object_shape, basePosition=center.tolist(), physicsClientId=client)
        for which, restitution in ((fixed, HAND_RESTITUTION), (body, OBJECT_RESTITUTION)):
            bullet.changeDynamics(which, -1, lateralFriction=FRICTION, restitution=restitution, physicsClientId=client)
        for _ in range(steps):
            bullet.stepSimulation(physicsClientId=client)
        position, _ = bullet.getBasePositionAndOrientation(body, physicsClientId=client)
        return np.array(position)
    finally:
        bullet.disconnect(client)


def _write_obj(path: Path, parts: Parts) -> str:
    """One file with an object per part; Bullet reads it as the compound of their convex hulls."""
    lines, first = [], 1
    for number, (vertices, faces) in enumerate(parts):
        lines.append(f"o part{number}")
        lines += ["v {:.9f} {:.9f} {:.9f}".format(*vertex) for vertex in vertices.tolist()]
        lines += ["f {} {} {}".format(*face) for face in (faces + first).tolist()]
        first += len(vertices)
    path.write_text("\n".join(lines) + "\n")
    return str(path)
