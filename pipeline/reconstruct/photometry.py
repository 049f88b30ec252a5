"""What the photo says about a shape besides its outline: contrast along its edges, shading over its normals."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.raster import depth_layers
from pipeline.reconstruct.view import SIZE, View, sample
from pipeline.types import F64, I64

NOISE = 1e-4  # luminance variance of grain, a hundredth of the range
CLEAR_EDGE = 0.06  # luminance step over 3 pixels that only a real edge makes


def edge_contrast(view: View, line: F64) -> float:
    """-1..1: how much more luminance changes across a line of (n, 2) pixels than across lines beside it."""
    tangent = np.gradient(line, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / (np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9)
    on = max(_change(view, line + k * normal, normal) for k in (-2, 0, 2))
    beside = np.mean([_change(view, line + k * normal, normal) for k in (-11, -7, 7, 11)])
    return float(np.clip((on - beside) / CLEAR_EDGE, -1, 1))


def _change(view: View, line: F64, normal: F64) -> float:
    """Mean absolute luminance step over 3 pixels, where the photo shows the object; 0 where it does not."""
    shown = sample(view.inner.astype(np.float64), line) > 0.5
    if shown.sum() < 4:
        return 0.0
    step = sample(view.grey, line + 1.5 * normal) - sample(view.grey, line - 1.5 * normal)
    return float(np.abs(step[shown]).mean())


def shading(view: View, normals: F64) -> float:
    """0..1: the share of the picture's brightness variance that one distant light on this shape explains.

    normals: (S, S, 3) of the visible surface, zero where there is none. Least squares of luminance on the
    normals (Lambert with ambient light), over the object's own pixels.
    """
    inner = view.inner & (np.abs(normals).sum(-1) > 0)
    if inner.sum() < 200:
        return 0.0
    design = np.concatenate([normals[inner], np.ones((int(inner.sum()), 1))], 1)
    value = view.grey[inner]
    rest = value - design @ np.linalg.lstsq(design, value, rcond=None)[0]
    return explained_share(float(rest.var()), float(value.var()))


def explained_share(rest: float, total: float) -> float:
    """0..1 of a luminance variance; variance that is mere noise explains nothing."""
    return float(np.clip(1 - (rest + NOISE) / (total + NOISE), 0, 1))


def visible_normals(view: View, vertices: F64, faces: I64) -> F64:
    """(S, S, 3) unit normals of the nearest faces, zero on the background."""
    first = depth_layers(vertices, faces, view.K, SIZE, SIZE, k=1).face[..., 0]
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    return np.where((first >= 0)[..., None], normals[first], 0.0)
