"""Depth of a mesh, rendered only in the part of the picture that the mesh can cover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.camera import project
from pipeline.geometry.layers import NEAR, depth_map
from pipeline.types import F64


def depth_in_view(
    verts: NDArray[np.floating],
    faces: NDArray[np.integer],
    K: F64,
    height: int,
    width: int,
    onto: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(height, width) metres along z of the nearest surface, inf where none is; arguments as `depth_map`'s.

    `onto`: such a picture of something else, which is drawn over where this mesh is nearer, and returned.
    """
    depth = np.full((height, width), np.inf) if onto is None else onto
    x0, y0, x1, y1 = 0, 0, width, height
    if np.isfinite(verts).all() and verts[:, 2].min() > NEAR:
        pixels = project(np.asarray(verts, dtype=np.float64), K)
        x0, y0 = np.clip(np.floor(pixels.min(0)), 0, (width, height)).astype(int)
        x1, y1 = np.clip(np.ceil(pixels.max(0)), 0, (width, height)).astype(int)
    if x0 < x1 and y0 < y1:
        part = K.copy()
        part[:2, 2] -= (x0, y0)
        window = depth[y0:y1, x0:x1]
        np.minimum(window, depth_map(verts, faces, part, y1 - y0, x1 - x0), out=window)
    return depth
