"""Meshes without a texture as OBJ text that strict readers take, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exports.text import rows
from pipeline.types import F64, I64


def obj_text(vertices: F64, faces: NDArray[np.integer]) -> bytes:
    """One object of v, vt, vn and `f a/1/a`; metres to 0.1 micrometres. The one vt says nothing.

    Some readers fail without vt or vn. With a single vt none of them splits a vertex, so the mesh stays closed.
    """
    normals = np.round(vertex_normals(vertices, faces), 4) + 0.0
    text = rows("v %.7f %.7f %.7f", vertices) + "vt 0 0\n" + rows("vn %.4f %.4f %.4f", normals)
    return (text + rows("f %d/1/%d %d/1/%d %d/1/%d", np.repeat(faces + 1, 2, axis=1))).encode("ascii")


def read_obj(text: str) -> tuple[F64, I64]:
    """Vertices (V, 3) and faces (F, 3) of such a file. Raises ValueError for one that is not closed triangles."""
    words = [line.split() for line in text.splitlines() if line]
    vertices = np.array([word[1:4] for word in words if word[0] == "v"], dtype=np.float64)
    corners = [word[1:] for word in words if word[0] == "f"]
    if not len(vertices) or not corners or any(len(face) != 3 for face in corners):
        raise ValueError("has no vertices, no faces, or faces that are no triangles")
    faces = np.array([[corner.split("/")[0] for corner in face] for face in corners], dtype=np.int64) - 1
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise ValueError("has faces that name no vertex, or vertices that are not finite")
    return vertices, faces


def vertex_normals(vertices: F64, faces: NDArray[np.integer]) -> F64:
    """(V, 3) unit normals, faces weighted by area; (0, 0, 1) where there is none."""
    corners = vertices[faces]
    of_face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [np.bincount(faces.reshape(-1), np.repeat(of_face[:, axis], 3), len(vertices)) for axis in range(3)], 1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.maximum(length, 1e-300), [0.0, 0.0, 1.0])
