"""A mesh out of a model or a file -> an ObjectMesh: checked, closed, coloured, with its view prior, in metres at s = 1.

Its colours come from its own texture where it has one; from its vertices, face by face into a small atlas, where those
are coloured; else from the photo, which is then what its hidden side shows too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipeline.errors import BadMesh
from pipeline.geometry.watertight import make_watertight, simplify
from pipeline.reconstruct.frames import Frame, best_view, known_view
from pipeline.reconstruct.square import Square, square_of
from pipeline.reconstruct.texture import cut_texture
from pipeline.types import F64, I64, U8, Camera, Completion, Mesh, ObjectMesh, Photo

MAX_FACES = 60_000  # a finer mesh costs minutes and shows nothing more in a photo
MAX_TEXTURE = 1024  # pixels


@dataclass(frozen=True)
class Shot:
    """What a reconstructor is asked about, and the square it is seen in."""

    photo: Photo
    completion: Completion
    camera: Camera
    distance: float  # metres along z from the camera to the object
    square: Square

    @classmethod
    def of(cls, photo: Photo, completion: Completion, camera: Camera, distance: float) -> Shot:
        """Raises EmptyMask."""
        return cls(photo, completion, camera, distance, square_of(photo, completion, camera))


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
    view: Frame | F64,
    shot: Shot,
    depth_known: float,
    notes: tuple[str, ...] = (),
) -> ObjectMesh:
    """The mesh as the pipeline wants it.

    view: the frame it is in, or its known rotation (3, 3) into a camera that looks straight at it (see frames.py).
    Raises BadMesh naming the photo and the model.
    """
    try:
        vertices, faces = make_watertight(mesh.vertices, mesh.faces)
        untouched = len(vertices) == len(mesh.vertices) and len(faces) == len(mesh.faces)
        if not untouched:
            notes = (*notes, f"the mesh of {kind} was not closed and was mended")
        if len(faces) > MAX_FACES:
            vertices, faces = simplify(vertices, faces, MAX_FACES)
            untouched = False
    except BadMesh as error:
        raise BadMesh(f"{shot.photo.name}: the mesh of {kind} cannot be used: {error}") from error
    target, camera, straight = shot.completion.amodal_mask, shot.camera, shot.square.to_camera
    if isinstance(view, Frame):
        prior = best_view(vertices, faces, view, target, camera, straight, depth_known)
    else:
        prior = known_view(vertices, view, target, camera, straight, depth_known)
    scale = shot.distance / float((vertices @ prior.rotation.T + prior.transl)[:, 2].mean())
    prior, vertices = replace(prior, transl=prior.transl * scale), vertices * scale
    if untouched and mesh.uv is not None and mesh.texture is not None:
        texture, uv = _shrunk(mesh.texture), np.mod(mesh.uv, 1.0) * [1.0, -1.0] + [0.0, 1.0]
    elif untouched and mesh.colours is not None:
        vertices, faces, uv, texture = _baked(vertices, faces, mesh.colours)
    else:
        seen = vertices @ prior.rotation.T + prior.transl
        texture, uv = cut_texture(shot.completion.image, target, camera, seen)
    return ObjectMesh(Mesh(vertices, faces, np.clip(uv, 0.0, 1.0), texture), prior, kind, {}, notes)


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
