"""An object as BOP keeps it: metric (millimetres), origin in the middle of its box, textured PLY.

A mesh of a reconstruction has a scale of its own in every pair, and a BOP pose has none, so an object is a mesh at one
scale. It is known by the hash of its content until all samples are there and it gets its number.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from exports.base import UnsuitableRecord
from exports.gsdf.obj import vertex_normals
from exports.pictures import bgr, png
from exports.text import rows
from pipeline.errors import BadMesh
from pipeline.geometry.orientation import checked, first_at_place
from pipeline.types import F64, I64, U8, Mesh, ObjectPose

MM = 1000.0  # per metre
DECIMALS = 4  # of millimetres
NAMELESS = "TEXTURE"  # stands for the texture's name until the object has a number


@dataclass(frozen=True)
class Model:
    """One object in its own frame."""

    vertices: F64  # (V, 3) mm; one per place and texture coordinate
    faces: I64  # (F, 3)
    uv: F64  # (V, 2) v grows upward, as PLY readers have it
    texture: U8  # (h, w, 3) RGB
    centre: F64  # (3,) mesh units: what became the origin

    @property
    def content_id(self) -> str:
        """Hex, the same for equal objects."""
        digest = hashlib.sha256()
        for array in (self.vertices, self.faces, self.uv, self.texture):
            digest.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]

    def pose(self, placed: ObjectPose) -> tuple[F64, F64]:
        """cam_R_m2c (3, 3) and cam_t_m2c (3,) mm, OpenCV camera."""
        return placed.rotation, placed.place(self.centre[None])[0] * MM


def model_of(mesh: Mesh, placed: ObjectPose) -> Model:
    """The mesh in millimetres. Raises UnsuitableRecord when it is empty or not finite."""
    try:
        vertices, faces = checked(mesh.vertices, mesh.faces)
    except BadMesh as error:
        raise UnsuitableRecord(str(error)) from error
    used, index = np.unique(faces, return_inverse=True)
    centre = (vertices[used].min(0) + vertices[used].max(0)) / 2
    metric = np.round((vertices[used] - centre) * (placed.scale * MM), DECIMALS) + 0.0
    uv = np.round(np.stack([mesh.uv[used, 0], 1 - mesh.uv[used, 1]], 1), 6) + 0.0
    return Model(metric, index.reshape(-1, 3).astype(np.int64), uv, mesh.texture, centre)


def ply_text(model: Model) -> bytes:
    """ASCII PLY with normals and texture coordinates; the texture's name is still to be filled in."""
    places = first_at_place(model.vertices)  # a seam of the texture is no edge of the surface
    normals = np.round(vertex_normals(model.vertices, places[model.faces])[places], 4) + 0.0
    names = ("x", "y", "z", "nx", "ny", "nz", "texture_u", "texture_v")
    header = ["ply", "format ascii 1.0", f"comment TextureFile {NAMELESS}", f"element vertex {len(model.vertices)}"]
    header += [f"property float {name}" for name in names]
    header += [f"element face {len(model.faces)}", "property list uchar int vertex_indices", "end_header"]
    vertices = np.concatenate([model.vertices, normals, model.uv], 1)
    body = rows("%.4f %.4f %.4f %.4f %.4f %.4f %.6f %.6f", vertices) + rows("3 %d %d %d", model.faces)
    return ("\n".join(header) + "\n" + body).encode("ascii")


def named(ply: bytes, texture: str) -> bytes:
    """The PLY with its texture's name."""
    return ply.replace(f"comment TextureFile {NAMELESS}\n".encode(), f"comment TextureFile {texture}\n".encode(), 1)


def texture_png(model: Model) -> bytes:
    """The texture as a picture."""
    return png(bgr(model.texture))


def info(vertices: F64) -> dict[str, Any]:
    """An entry of models_info.json: box and diameter (largest distance of two vertices), mm."""
    low, size = vertices.min(0), np.ptp(vertices, axis=0)
    values = {f"min_{axis}": low[i] for i, axis in enumerate("xyz")}
    values |= {f"size_{axis}": size[i] for i, axis in enumerate("xyz")} | {"diameter": diameter(vertices)}
    return {name: round(float(value), DECIMALS) for name, value in values.items()}


def diameter(points: F64) -> float:
    """Largest distance between any two of the points (N, 3)."""
    points = np.unique(points, axis=0)
    with contextlib.suppress(QhullError, ValueError):  # flat, or fewer than four
        points = points[ConvexHull(points).vertices]
    largest = 0.0
    for start in range(0, len(points), 1000):  # a hull can have all points of a mesh
        for other in range(start, len(points), 1000):
            block = points[start : start + 1000, None] - points[None, other : other + 1000]
            largest = max(largest, float(np.sqrt((block**2).sum(-1).max())))
    return largest


def read_ply(text: str) -> tuple[F64, I64, F64, str]:
    """Vertices (V, 3), faces (F, 3), uv (V, 2), name of the texture. Raises ValueError for anything but our own PLY."""
    head, _, body = text.partition("end_header\n")
    words = [line.split() for line in head.splitlines()]
    names = [word[2] for word in words if word[0] == "property" and word[1] == "float"]
    count = {word[1]: int(word[2]) for word in words if word[0] == "element"}
    texture = [word[2] for word in words if word[:2] == ["comment", "TextureFile"]]
    lists = [word for word in words if word[:2] == ["property", "list"]]
    lines = body.splitlines()
    if names != ["x", "y", "z", "nx", "ny", "nz", "texture_u", "texture_v"] or len(texture) != 1 or len(lists) != 1:
        raise ValueError("lacks places, normals, texture coordinates or the texture's name")
    if len(lines) != count["vertex"] + count["face"] or words[1] != ["format", "ascii", "1.0"]:
        raise ValueError("has not as many lines as it says, or is not ASCII")
    vertices = np.array([line.split() for line in lines[: count["vertex"]]], dtype=np.float64)
    corners = np.array([line.split() for line in lines[count["vertex"] :]], dtype=np.int64)
    if vertices.shape[1:] != (8,) or corners.shape[1:] != (4,) or (corners[:, 0] != 3).any() or corners.min() < 0:
        raise ValueError("has vertices of another width than it says, or faces that are no triangles")
    if corners[:, 1:].max() >= len(vertices) or not np.isfinite(vertices).all():
        raise ValueError("has faces that name no vertex, or vertices that are not finite")
    return vertices[:, :3], corners[:, 1:], vertices[:, 6:], texture[0]
