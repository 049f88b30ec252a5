"""The pair in 3D: a GLB with hand and object, and the `.fo3d` scene that shows it from where the photo was taken."""

from __future__ import annotations

import math
import uuid
from typing import Any

import numpy as np

from exports import glb
from exports.base import UnsuitableRecord
from exports.pictures import bgr, jpeg
from pipeline.types import I64, Reconstruction

TO_GL = np.diag([1.0, -1.0, -1.0])  # OpenCV's camera axes -> glTF's: y up, looking along -z
SKIN = (0.75, 0.45, 0.32)
NEAR, FAR = 0.01, 100.0  # metres


def model_of_pair(made: Reconstruction, faces: I64) -> bytes:
    """GLB with the meshes 'hand' (778 vertices in their order) and 'object': metres, glTF's axes, the camera at 0.

    Raises UnsuitableRecord.
    """
    mesh = made.object.mesh
    if not len(mesh.faces) or not np.isfinite(mesh.vertices).all():
        raise UnsuitableRecord("the object's mesh has no faces or is not finite")
    hand = (made.hand_verts @ TO_GL).astype(np.float32)
    placed = (made.object_pose.place(mesh.vertices) @ TO_GL).astype(np.float32)
    return glb.encode(
        [
            glb.Part("hand", hand, faces, color=SKIN),
            glb.Part("object", placed, mesh.faces, mesh.uv.astype(np.float32), jpeg(bgr(mesh.texture))),
        ]
    )


def scene(sample_id: str, focal: float, width: int, height: int) -> dict[str, Any]:
    """The `.fo3d` of `<sample_id>.glb`, which lies beside it. focal: of the height, pixels."""
    fov = 2 * math.degrees(math.atan(height / 2 / focal))
    pair = _node("GltfMesh", "pair", sample_id)
    pair["defaultMaterial"] = {
        "_type": "MeshStandardMaterial",
        "opacity": 1.0,
        "wireframe": False,
        "color": "#808080",
        "emissiveColor": "#000000",
        "emissiveIntensity": 0.0,
        "metalness": 0.0,
        "roughness": 1.0,
    }
    pair["gltfPath"] = f"{sample_id}.glb"
    return _node("Scene", "Scene", sample_id) | {
        "children": [pair],
        "__FO3D_VERSION": "1.0",
        "camera": {
            "position": [0.0, 0.0, 0.0],
            "lookAt": [0.0, 0.0, -1.0],
            "aspect": round(width / height, 6),
            "up": "Y",
            "fov": round(fov, 6),
            "near": NEAR,
            "far": FAR,
        },
        "lights": None,
        "background": None,
    }


def _node(kind: str, name: str, sample_id: str) -> dict[str, Any]:
    return {
        "_type": kind,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{sample_id} {name}")),
        "name": name,
        "visible": True,
        "position": [0.0, 0.0, 0.0],
        "quaternion": [0.0, 0.0, 0.0, 1.0],
        "scale": [1.0, 1.0, 1.0],
        "children": [],
    }
