"""An object the way ShapeNet keeps it, which is where ObMan's loaders look for it.

    ShapeNetCore.v2/<class_id>/<sample_id>/models/
        model_normalized.obj + .mtl + texture.png    box centred, diagonal 1; v, vt, vn; one object, one material
        model_normalized.pkl                         {vertices, faces}, welded
        surface_points.pkl                           (N, 3), uniform on the surface

The directory is named after the content, so pairs of one object share it. Readers split a vertex for every
(v, vt) it is used with and keep faces as int16, hence the limit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from exports import numpy_pickle
from exports.base import UnsuitableRecord
from exports.pictures import bgr, png
from exports.text import rows
from pipeline.types import F64, I64, U8, Mesh

MAX_VERTICES = np.iinfo(np.int16).max
SURFACE_POINTS = 10_000
DECIMALS = 6  # of a diagonal of 1: a micrometre on a metre


@dataclass(frozen=True)
class NormalisedObject:
    """A mesh in ShapeNet's normalised frame: X_mesh = diagonal * X + centre."""

    vertices: NDArray[np.float32]  # (V, 3) welded
    faces: NDArray[np.int32]  # (F, 3) into vertices
    uv: F64  # (U, 2) OBJ convention: v grows upward
    uv_faces: I64  # (F, 3) into uv
    texture: U8  # (h, w, 3) RGB
    centre: F64  # (3,) mesh units
    diagonal: float  # mesh units
    sample_id: str  # hex, from the content

    @property
    def to_mesh(self) -> F64:
        """(4, 4) normalised frame -> mesh frame."""
        matrix = np.diag([self.diagonal, self.diagonal, self.diagonal, 1.0])
        matrix[:3, 3] = self.centre
        return matrix


def normalise(mesh: Mesh) -> NormalisedObject:
    """Centre, scale and weld a textured mesh. Raises UnsuitableRecord when it is empty, broken or too large."""
    if len(mesh.faces) == 0 or not np.isfinite(mesh.vertices).all():
        raise UnsuitableRecord("the object's mesh is empty or not finite")
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    centre, diagonal = (low + high) / 2, float(np.linalg.norm(high - low))
    if diagonal <= 0:
        raise UnsuitableRecord("the object's mesh is a single point")
    rounded = np.round((mesh.vertices - centre) / diagonal, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    vertices, index = _weld(rounded)
    faces = index[mesh.faces]
    real = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces, uv_faces = faces[real], mesh.faces[real]
    if _face_areas(vertices, faces).sum() <= 0:
        raise UnsuitableRecord("the object's mesh has no face with an area")
    corners = len(np.unique(uv_faces))  # a uv belongs to one vertex, so these are the (v, vt) pairs a reader makes
    if corners > MAX_VERTICES:
        raise UnsuitableRecord(f"the object's mesh has {corners} vertices; ObMan's loaders take {MAX_VERTICES}")
    uv = cast(F64, np.round(np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], 1), DECIMALS) + 0.0)
    single, small = vertices.astype(np.float32), faces.astype(np.int32)
    digest = hashlib.sha256()
    for array in (single, small, uv, uv_faces, mesh.texture):
        digest.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    sample_id = digest.hexdigest()[:32]
    return NormalisedObject(single, small, uv, uv_faces, mesh.texture, centre, diagonal, sample_id)


def files(obj: NormalisedObject) -> dict[str, bytes]:
    """The `models` folder of one object."""
    return {
        "model_normalized.obj": _obj_text(obj).encode("ascii"),
        "model_normalized.mtl": b"newmtl material_0\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd texture.png\n",
        "texture.png": png(bgr(obj.texture)),
        "model_normalized.pkl": numpy_pickle.dumps({"vertices": obj.vertices, "faces": obj.faces}),
        "surface_points.pkl": numpy_pickle.dumps(sample_surface(obj, SURFACE_POINTS)),
    }


def sample_surface(obj: NormalisedObject, count: int) -> NDArray[np.float32]:
    """(count, 3) points, uniform on the surface; the seed is the object's own name."""
    rng = np.random.default_rng(int(obj.sample_id, 16))
    vertices = obj.vertices.astype(np.float64)
    area = _face_areas(vertices, obj.faces)
    corners = vertices[obj.faces]
    start, one, other = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    face = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points = start.take(face, axis=0) + u * one.take(face, axis=0) + v * other.take(face, axis=0)
    return np.asarray(points, dtype=np.float32)


def _weld(vertices: F64) -> tuple[F64, I64]:
    """Vertices without repetition in order of first appearance, and where each of the old ones went."""
    _, first, inverse = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return vertices[first[order]], rank[inverse.reshape(-1)]


def _face_areas(vertices: F64, faces: NDArray[np.integer]) -> F64:
    """(F,) areas."""
    corners = vertices[faces]
    return np.asarray(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    )


def _normals(obj: NormalisedObject) -> F64:
    """(V, 3) unit vertex normals, weighted by area."""
    corners = obj.vertices.astype(np.float64)[obj.faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(obj.vertices), 3))
    for corner in range(3):
        np.add.at(normals, obj.faces[:, corner], face_normals)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.maximum(length, 1e-300), [0.0, 0.0, 1.0])


def _obj_text(obj: NormalisedObject) -> str:
    corners = np.stack([obj.faces, obj.uv_faces, obj.faces], -1) + 1
    return (
        "mtllib model_normalized.mtl\no model_normalized\n"
        + rows("v %.6f %.6f %.6f", obj.vertices)
        + rows("vt %.6f %.6f", obj.uv)
        + rows("vn %.6f %.6f %.6f", _normals(obj) + 0.0)
        + "usemtl material_0\n"
        + rows("f %d/%d/%d %d/%d/%d %d/%d/%d", corners)
    )
