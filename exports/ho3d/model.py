"""An object the way YCB keeps it, which is where readers of HO-3D and DexYCB look for it.

    models/<name>/
        textured_simple.obj + .obj.mtl + texture_map.png    metres, box centred; v, vt, vn; one group
        points.xyz                                          points of the surface, metres

The scale is in the mesh, so poses are rigid. The folder is named after the content, so pairs of one object of one size
share it. Readers keep faces as int16, hence the limit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from exports.base import Record, UnsuitableRecord
from exports.obman.mesh import MAX_VERTICES, NormalisedObject, normalise, sample_surface
from exports.pictures import bgr, png
from exports.text import rows
from pipeline.types import F64, I64

FOLDER = "models"
OBJ, MTL, TEXTURE, POINTS = "textured_simple.obj", "textured_simple.obj.mtl", "texture_map.png", "points.xyz"
MODEL_FILES = (OBJ, MTL, TEXTURE, POINTS)
SURFACE_POINTS = 2_500  # as many as YCB's files have, about
METRE_DECIMALS = 6
POSE_DECIMALS = 9  # of radians and metres


@dataclass(frozen=True)
class Model:
    """A metric mesh and where it is. Frame of the pose: OpenCV camera."""

    name: str
    vertices: F64  # (V, 3) metres, welded, about the centre of their box; as written
    faces: I64  # (F, 3)
    rotvec: F64  # (3,) and
    transl: F64  # (3,) metres: X_camera = R(rotvec) @ X + transl
    shape: NormalisedObject  # with its texture

    @property
    def placed(self) -> F64:
        """(V, 3) metres, camera."""
        return np.asarray(self.vertices @ Rotation.from_rotvec(self.rotvec).as_matrix().T + self.transl)

    @property
    def corners(self) -> F64:
        """(8, 3) corners of the resting box, x slowest: the order in which HO-3D's scripts draw them."""
        return box_corners(self.vertices)


def model_of(record: Record) -> Model:
    """A record's object. Raises UnsuitableRecord when the mesh is empty, broken or too large."""
    mesh, pose = record.reconstruction.object.mesh, record.reconstruction.object_pose
    count = len(np.unique(mesh.faces))
    if count > MAX_VERTICES:
        raise UnsuitableRecord(
            f"the object's mesh has {count} vertices; readers that keep faces as int16 stop at 32767"
        )
    shape = normalise(mesh)
    size = round(pose.scale * shape.diagonal, POSE_DECIMALS)
    if not np.isfinite(size) or size <= 0:
        raise UnsuitableRecord("the object has no size")
    digest = hashlib.sha256(f"{shape.sample_id} {size:.9f}".encode()).hexdigest()
    return Model(
        name=f"{_slug(record.provenance)}_{digest[:12]}",
        vertices=np.round(shape.vertices.astype(np.float64) * size, METRE_DECIMALS) + 0.0,
        faces=shape.faces.astype(np.int64),
        rotvec=np.round(Rotation.from_matrix(pose.rotation).as_rotvec(), POSE_DECIMALS),
        transl=np.round(pose.scale * pose.rotation @ shape.centre + pose.transl, POSE_DECIMALS),
        shape=shape,
    )


def model_files(model: Model) -> dict[str, bytes]:
    """The files of one object by path below the root."""
    contents = {
        OBJ: _obj_text(model).encode("ascii"),
        MTL: f"newmtl material_0\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {TEXTURE}\n".encode(),
        TEXTURE: png(bgr(model.shape.texture)),
        POINTS: rows("%.6f %.6f %.6f", _points(model)).encode("ascii"),
    }
    return {f"{FOLDER}/{model.name}/{file}": data for file, data in contents.items()}


def box_corners(vertices: F64) -> F64:
    """(8, 3) corners of the axis-aligned box of (V, 3) points; x slowest, z fastest."""
    low, high = vertices.min(0), vertices.max(0)
    pick = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    corners: F64 = np.where(pick == 1, high, low)
    return corners


def _slug(provenance: dict[str, Any]) -> str:
    """What people call the object, where that is fit for a path."""
    for key in ("object_id", "class_id"):
        name = str(provenance.get(key) or "")
        if name and len(name) <= 40 and name.isascii() and all(c.isalnum() or c in "-_" for c in name):
            return name
    return "object"


def _points(model: Model) -> F64:
    """Surface points, and the outermost vertices so that readers who take the box or diameter of them get it right."""
    size = np.linalg.norm(np.ptp(model.vertices, 0)) / np.linalg.norm(np.ptp(model.shape.vertices, 0))
    inner = sample_surface(model.shape, SURFACE_POINTS).astype(np.float64) * size
    outer = model.vertices[np.unique([model.vertices.argmin(0), model.vertices.argmax(0)])]
    points: F64 = np.concatenate([outer, np.clip(inner, model.vertices.min(0), model.vertices.max(0))])
    return points + 0.0


def _obj_text(model: Model) -> str:
    corners = np.stack([model.faces, model.shape.uv_faces, model.faces], -1) + 1
    return (
        f"mtllib {MTL}\n"
        + rows("v %.6f %.6f %.6f", model.vertices)
        + rows("vt %.6f %.6f", model.shape.uv)
        + rows("vn %.6f %.6f %.6f", _normals(model.vertices, model.faces))
        + "usemtl material_0\n"
        + rows("f %d/%d/%d %d/%d/%d %d/%d/%d", corners)
    )


def _normals(vertices: F64, faces: I64) -> F64:
    """(V, 3) unit normals, weighted by area; +z where a vertex has none."""
    corners = vertices[faces]
    each = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], each)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.round(np.where(length > 0, normals / np.maximum(length, 1e-300), [0.0, 0.0, 1.0]), 6) + 0.0
