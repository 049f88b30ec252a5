"""Signed distance to a triangle mesh, exact everywhere, with a gradient that points along the shortest way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import igl
import numpy as np
from numpy.typing import ArrayLike

from pipeline.errors import BadMesh
from pipeline.geometry.orientation import Interior, orient_outward
from pipeline.types import F64

if TYPE_CHECKING:
    from torch import Tensor

ON_SURFACE = 1e-9  # metres; closer than this, (point - closest) has no usable direction


class SignedDistance:
    """Metres to the surface of a mesh, negative inside.

    vertices: (V, 3), faces: (F, 3). The distance is exact (AABB tree), the sign comes from the generalised
    winding number, which stays right where faces are missing, doubled or buried inside the mesh; faces are
    turned coherently outward first. Raises BadMesh for an empty mesh or one that is not finite.
    """

    def __init__(self, vertices: ArrayLike, faces: ArrayLike) -> None:
        self.vertices = np.ascontiguousarray(vertices, dtype=np.float64)
        self.faces = orient_outward(self.vertices, np.asarray(faces))
        corners = self.vertices[self.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(normals, axis=1, keepdims=True)
        if not area.any():
            raise BadMesh("the mesh has no surface: every face is degenerate")
        self.normals = normals / np.maximum(area, 1e-300)
        self._tree = igl.AABB()
        self._tree.init(self.vertices, self.faces)
        self._interior = Interior(self.vertices, self.faces)

    def query(self, points: ArrayLike) -> tuple[F64, F64]:
        """(N, 3) metres -> distance (N,) and the closest surface points (N, 3)."""
        distance, _, closest = self.closest(np.asarray(points))
        return distance, closest

    def __call__(self, points: Tensor) -> Tensor:
        """(N, 3) metres -> (N,), differentiable: the gradient is sign * (p - c) / |p - c|, a unit vector.

        On the surface itself it is the face's normal. The query runs on the CPU whatever the tensor's device.
        """
        queried = points.detach().cpu().double().numpy()
        distance, face, closest = self.closest(queried)
        return along(points, distance, closest, self.normals[face])

    def closest(self, points: np.ndarray) -> tuple[F64, np.ndarray, F64]:
        """(N, 3) metres -> distance (N,), the closest face (N,) and the point on it (N, 3)."""
        points = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
        squared, face, closest = self._tree.squared_distance(self.vertices, self.faces, points)
        return np.where(self._interior(points), -1.0, 1.0) * np.sqrt(squared), face, closest


def along(points: Tensor, distance: F64, closest: F64, normals: F64) -> Tensor:
    """Signed distance (N,) whose gradient is the unit vector from the closest surface point (N, 3) to the point.

    On the surface itself it is the face's normal (N, 3).
    """
    offset = points.detach().cpu().double().numpy() - closest
    direction = normals.copy()
    away = np.abs(distance) > ON_SURFACE
    direction[away] = offset[away] / distance[away, None]
    # direction . (p - c) is the signed distance, and with both held fixed its gradient is the direction.
    return ((points - points.new_tensor(closest)) * points.new_tensor(direction)).sum(-1)
