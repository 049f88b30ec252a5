"""An asymmetric object, seen by the camera that a large reconstruction model believes it is seen by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import from_focal, project, rays
from pipeline.geometry.raster import coverage
from pipeline.types import F64, I64, Camera, Completion, Mask, ObjectMesh, Photo

WIDTH, HEIGHT, FOCAL = 1280, 960, 1150.0
DISTANCE = 0.5


def mug() -> trimesh.Trimesh:
    """A body, a handle on its +x +y side, a spout on the other, a foot: no view is another's mirror image. z is up."""
    solids = [
        trimesh.creation.box((0.5, 0.4, 0.8)),
        trimesh.creation.box((0.36, 0.14, 0.16), transform=shift(0.35, 0.12, 0.18)),
        trimesh.creation.box((0.12, 0.3, 0.12), transform=shift(-0.14, -0.3, 0.3)),
        trimesh.creation.box((0.2, 0.55, 0.12), transform=shift(0.12, -0.02, -0.42)),
    ]
    union = trimesh.boolean.union(solids, engine="manifold")
    union.vertices -= (union.vertices.min(0) + union.vertices.max(0)) / 2
    return union.subdivide()


def shift(x: float, y: float, z: float) -> F64:
    return np.asarray(trimesh.transformations.translation_matrix([x, y, z]))


def look_at(eye: F64, up: F64) -> F64:
    """(4, 4) camera to world, OpenGL axes, that looks at the origin: as the models' own code builds them."""
    z = eye / np.linalg.norm(eye)
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    return np.vstack([np.stack([x, np.cross(z, x), z, eye], 1), [0, 0, 0, 1]])


def sphere(azimuth: float, elevation: float, radius: float, up: str = "z", front: str = "x") -> F64:
    """(3,) where a camera is: `front` at azimuth 0, counter-clockwise about `up`."""
    axes = {"x": np.array([1.0, 0, 0]), "y": np.array([0, 1.0, 0]), "z": np.array([0, 0, 1.0])}
    a, e = np.deg2rad([azimuth, elevation])
    f, u = axes[front], axes[up]
    return np.asarray(radius * (np.cos(e) * (np.cos(a) * f + np.sin(a) * np.cross(u, f)) + np.sin(e) * u))


@dataclass(frozen=True)
class Seen:
    """The photo that a model's own camera makes of a mesh."""

    photo: Photo
    completion: Completion
    camera: Camera


def seen_by(vertices: F64, faces: I64, c2w: F64, fov: float, middle: tuple[float, float], pixels: float = 300) -> Seen:
    """Drawn in the model's own picture (OpenGL c2w, fov degrees), which a camera at the photo's sees straight ahead.

    `middle` and `pixels` say where the object is in the photo, and how large.
    """
    size = 1024
    w2c = np.diag([1.0, -1, -1, 1]) @ np.linalg.inv(c2w)
    own = vertices @ w2c[:3, :3].T + w2c[:3, 3]
    focal = size / 2 / np.tan(np.deg2rad(fov) / 2)
    flat = project(own, np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]))
    low, high = flat.min(0), flat.max(0)
    flat = (flat - (low + high) / 2) / float((high - low).max())  # in extents of the object
    camera = from_focal(FOCAL, WIDTH, HEIGHT, "given")
    ahead = rays(np.array(middle, float), camera.K)
    turn = Rotation.align_vectors(ahead[None], [[0, 0, 1.0]])[0]
    in_photo = project(turn.apply(np.column_stack([flat * pixels / FOCAL, np.ones(len(flat))])), camera.K)
    mask = coverage(in_photo, faces, HEIGHT, WIDTH) > 0.5
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[mask] = (200, 120, 40)
    photo = Photo("mug.jpg", "0" * 64, image)
    return Seen(photo, Completion(mask, image), camera)


def drawn(item: ObjectMesh, camera: Camera) -> Mask:
    """The silhouette of a mesh through its own prior, by our rasteriser."""
    points = item.mesh.vertices @ item.prior.rotation.T + item.prior.transl
    return coverage(project(points, camera.K), item.mesh.faces, HEIGHT, WIDTH) > 0.5


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())
