"""A pair as one binary glTF: nodes `hand` and `object`, smooth normals, materials that need no environment map."""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np
import trimesh
from PIL import Image

from annotator.report.skin import skin_colors
from pipeline.hand_model import load_hand
from pipeline.types import F64, I64, U8, Reconstruction

CREASE_DEG = 50.0  # faces that meet at a sharper angle keep their own normals
VIEWER_TEXTURE = 512  # pixels: the longer side of the texture that goes into a page
VIEWER_JPEG_QUALITY = 80
VIEWER_STEP = 2.0**-15  # metres, 0.03 mm: short binary fractions make the model smaller once gzipped
VIEWER_UV_STEP = VIEWER_NORMAL_STEP = 2.0**-11
OPENCV_TO_GLTF = np.diag([1.0, -1.0, -1.0])  # y down, z forward -> y up, z backward


def pair_glb(reconstruction: Reconstruction) -> bytes:
    """The pair as it is: metres in the OpenCV camera frame, the full texture, vertices in their stored order."""
    mesh = reconstruction.object.mesh
    placed = reconstruction.hand_verts, object_vertices(reconstruction)
    return _glb(reconstruction, placed, mesh.uv, Image.fromarray(mesh.texture), normal_step=0.0)


def viewer_glb(reconstruction: Reconstruction) -> bytes:
    """The pair for a 3D viewer: y up, centred, seen as in the photo from +z; metres, a small JPEG texture."""
    center = bounds(reconstruction)[0]
    hand, thing = (
        _stepped((verts - center) @ OPENCV_TO_GLTF.T, VIEWER_STEP)
        for verts in (reconstruction.hand_verts, object_vertices(reconstruction))
    )
    mesh = reconstruction.object.mesh
    uv = _stepped(mesh.uv, VIEWER_UV_STEP)
    return _glb(reconstruction, (hand, thing), uv, _jpeg(mesh.texture), VIEWER_NORMAL_STEP)


def object_vertices(reconstruction: Reconstruction) -> F64:
    """(V, 3) metres, camera frame."""
    pose = reconstruction.object_pose
    return pose.scale * reconstruction.object.mesh.vertices @ pose.rotation.T + pose.transl


def hand_faces(reconstruction: Reconstruction) -> I64:
    """(F, 3) faces of the hand, closed at the wrist."""
    return load_hand(reconstruction.hand.side, reconstruction.estimate.model).faces


def bounds(reconstruction: Reconstruction) -> tuple[F64, float]:
    """Centre (3,) and radius of a ball around hand and object, metres, camera frame."""
    points = np.concatenate([reconstruction.hand_verts, object_vertices(reconstruction)])
    center = (points.min(0) + points.max(0)) / 2
    return center, float(np.linalg.norm(points - center, axis=1).max())


def _glb(
    reconstruction: Reconstruction, placed: tuple[F64, F64], uv: F64, texture: Image.Image, normal_step: float
) -> bytes:
    visual: Any = trimesh.visual  # trimesh types only part of itself
    scene: Any = trimesh.Scene()
    skin = visual.TextureVisuals(
        material=visual.material.PBRMaterial(
            name="skin", baseColorFactor=[255, 255, 255, 255], metallicFactor=0.0, roughnessFactor=0.65
        )
    )
    skin.vertex_attributes["color"] = _linear(skin_colors(reconstruction.contacts.distance))
    printed = visual.TextureVisuals(
        uv=np.stack([uv[:, 0], 1.0 - uv[:, 1]], 1),  # trimesh counts v from the bottom
        material=visual.material.PBRMaterial(
            name="photo", baseColorTexture=texture, metallicFactor=0.0, roughnessFactor=0.8
        ),
    )
    parts = (
        ("hand", placed[0], hand_faces(reconstruction), skin),
        ("object", placed[1], reconstruction.object.mesh.faces, printed),
    )
    for name, verts, faces, looks in parts:
        normals = _stepped(creased_normals(verts, faces), normal_step)
        shape = trimesh.Trimesh(verts, faces, vertex_normals=normals, visual=looks, process=False, validate=False)
        scene.add_geometry(shape, node_name=name, geom_name=name)
    exact = normal_step == 0.0
    return cast(bytes, scene.export(file_type="glb", include_normals=True, unitize_normals=exact))


def _stepped(values: F64, step: float) -> F64:
    """`values` at multiples of `step`; as they are when it is 0."""
    return np.round(values / step) * step if step else values


def creased_normals(vertices: F64, faces: I64, crease_deg: float = CREASE_DEG) -> F64:
    """(V, 3) unit normals, smooth across uv seams, sharp where a seam is also an edge.

    A vertex takes the area-weighted normals of all faces that meet at its place and turn away from its own faces by
    less than the crease angle. So a can is round across the seam of its label and a carton's panels stay flat.
    """
    corners = vertices[faces]
    weighted = cast(F64, np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    own = np.zeros_like(vertices)
    np.add.at(own, faces.reshape(-1), np.repeat(weighted, 3, axis=0))
    own = _unit(own)
    _, place = np.unique(vertices, axis=0, return_inverse=True)
    place = place.reshape(-1)
    order = np.argsort(place, kind="stable")
    first = np.searchsorted(place[order], np.arange(place.max() + 2))
    face_unit, cosine = _unit(weighted), np.cos(np.radians(crease_deg))
    normals = own.copy()
    corner_place = place[faces].reshape(-1)
    corner_order = np.argsort(corner_place, kind="stable")
    corner_first = np.searchsorted(corner_place[corner_order], np.arange(place.max() + 2))
    for p in np.flatnonzero(np.diff(first) > 1):  # only places that several vertices share have anything to decide
        meeting = corner_order[corner_first[p] : corner_first[p + 1]] // 3
        for v in order[first[p] : first[p + 1]]:
            near = meeting[face_unit[meeting] @ own[v] > cosine]
            if len(near):
                normals[v] = weighted[near].sum(0)
    return _unit(normals)


def _unit(vectors: F64) -> F64:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return cast(F64, np.where(length > 0, vectors / np.maximum(length, 1e-30), [0.0, 0.0, 1.0]))


def _linear(srgb: F64) -> U8:
    """sRGB colours in [0, 1] -> the linear 8-bit RGBA that glTF's COLOR_0 wants."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    rgba = np.concatenate([linear, np.ones((len(linear), 1))], 1)
    return cast(U8, np.rint(rgba * 255).astype(np.uint8))


def _jpeg(texture: U8) -> Image.Image:
    """A picture that trimesh writes as JPEG, no larger than the viewer needs."""
    image = Image.fromarray(texture)
    image.thumbnail((VIEWER_TEXTURE, VIEWER_TEXTURE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=VIEWER_JPEG_QUALITY)
    return Image.open(data)
