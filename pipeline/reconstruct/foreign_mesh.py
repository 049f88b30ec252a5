"""A mesh out of a model or a file -> an ObjectMesh: checked, closed, coloured, with its view prior, in metres at s = 1.

Its colours come from its own texture where it has one; from its vertices, face by face into a small atlas, where those
are coloured; else from the photo, which is then what its hidden side shows too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.errors import BadMesh
from pipeline.geometry.watertight import is_watertight, make_watertight, simplify
from pipeline.reconstruct.frames import prior
from pipeline.reconstruct.texture import cut_texture
from pipeline.types import F64, I64, U8, Camera, Completion, Mesh, ObjectMesh, Photo, ViewPrior

MAX_FACES = 60_000  # a finer mesh costs minutes and shows nothing more in a photo
MAX_TEXTURE = 1024  # pixels


@dataclass(frozen=True)
class ForeignMesh:
    """What a model answered, in its own frame and units."""

    vertices: F64  # (V, 3)
    faces: I64  # (F, 3)
    colours: U8 | None = None  # (V, 3) RGB
    uv: F64 | None = None  # (V, 2); v grows upward, as in .obj and .glb files read by trimesh
    texture: U8 | None = None  # (h, w, 3) RGB


def object_mesh(
    kind: str,
    mesh: ForeignMesh,
    rotations: Iterable[F64],
    photo: Photo,
    completion: Completion,
    camera: Camera,
    distance: float,
    middle: F64,
    depth_known: float,
    notes: tuple[str, ...] = (),
) -> ObjectMesh:
    """The mesh as the pipeline wants it; see `frames.prior`. Raises BadMesh naming the photo and the model."""
    try:
        vertices, faces = make_watertight(mesh.vertices, mesh.faces)
        as_it_was = len(vertices) == len(mesh.vertices) and len(faces) == len(mesh.faces)
        if len(faces) > MAX_FACES:
            vertices, faces = simplify(vertices, faces, MAX_FACES)
            as_it_was = False
    except BadMesh as error:
        raise BadMesh(f"{photo.name}: {kind} made a mesh that cannot be used: {error}") from error
    if not is_watertight(mesh.vertices, mesh.faces):
        notes = (*notes, f"the mesh of {kind} was not closed and was remeshed")
    view = prior(vertices, faces, rotations, completion.amodal_mask, camera, middle, depth_known)
    middle_z = float((vertices @ view.rotation.T + view.transl)[:, 2].mean())
    scale = distance / middle_z
    view = ViewPrior(view.rotation, view.transl * scale, view.starts, view.depth_known)
    vertices = vertices * scale
    if as_it_was and mesh.uv is not None and mesh.texture is not None:
        texture, uv = _shrunk(mesh.texture), np.mod(mesh.uv, 1.0) * [1.0, -1.0] + [0.0, 1.0]
    elif as_it_was and mesh.colours is not None:
        vertices, faces, uv, texture = _baked(vertices, faces, mesh.colours)
    else:
        seen = vertices @ view.rotation.T + view.transl
        texture, uv = cut_texture(completion.image, completion.amodal_mask, camera, seen)
    return ObjectMesh(Mesh(vertices, faces, np.clip(uv, 0.0, 1.0), texture), view, kind, {}, notes)


def _shrunk(texture: U8) -> U8:
    shrink = min(1.0, MAX_TEXTURE / max(texture.shape[:2]))
    if shrink == 1.0:
        return np.ascontiguousarray(texture)
    size = max(1, round(texture.shape[1] * shrink)), max(1, round(texture.shape[0] * shrink))
    return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _baked(vertices: F64, faces: I64, colours: U8) -> tuple[F64, I64, F64, U8]:
    """Vertex colours as a texture: three corners of a 2 x 2 cell per face, which no other face shares."""
    count = len(faces)
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    corners = colours[faces].astype(np.float64)  # (F, 3, 3)
    cells = np.zeros((rows * columns, 2, 2, 3), np.uint8)
    cells[:count, 0, 0], cells[:count, 0, 1], cells[:count, 1, 0] = corners[:, 0], corners[:, 1], corners[:, 2]
    cells[:count, 1, 1] = np.clip(corners[:, 1] + corners[:, 2] - corners[:, 0], 0, 255)  # linear across the cell
    texture = cells.reshape(rows, columns, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(2 * rows, 2 * columns, 3)
    corner = 2.0 * np.stack(np.divmod(np.arange(count), columns)[::-1], 1)  # (F, 2) x, y texels
    inside = np.array([[0.5, 0.5], [1.5, 0.5], [0.5, 1.5]])
    uv = (corner[:, None] + inside) / [2 * columns, 2 * rows]
    own_faces = np.arange(3 * count, dtype=np.int64).reshape(-1, 3)
    return vertices[faces].reshape(-1, 3), own_faces, uv.reshape(-1, 2), np.ascontiguousarray(texture)
