"""Inflation (bananas, controllers, tools): the silhouette swells like a balloon, Laplace(h) = -4, depth = sqrt(h).

The depth field lives on viewing rays, so the mesh projects back onto the silhouette whatever its depth.
On a disc the balloon is a sphere; elsewhere the half depth is bounded by the local half width, and flattened
further when the picture's shading does not speak for a round shape.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve
from skimage.measure import marching_cubes

from pipeline.geometry.watertight import simplify
from pipeline.reconstruct.candidate import Candidate
from pipeline.reconstruct.photometry import shading
from pipeline.reconstruct.view import SIZE, View
from pipeline.types import F64, I64, Mask

SOLVE_AREA = 7000  # pixels of silhouette in the grid on which the balloon is solved ...
MESH_AREA = 1300  # ... and in the one it is meshed on, for 6000 faces: thin things get finer grids
MAX_FACES = 6000
THINNEST = 0.5  # of the round depth, when nothing in the picture says that it is round
FLAT_SHADING, ROUND_SHADING = 0.15, 0.40  # explained brightness variance of flat and of round things


def fit(view: View) -> Candidate:
    """The inflated silhouette, as round as the shading says."""
    side = _side(view.fine_mask, SOLVE_AREA)
    soft = cv2.resize(view.fine_mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    mask = np.asarray(soft > 0.5)
    squared = _bounded(balloon(mask), local_thickness(mask)) ** 2
    lit = shading(view, _normals(squared))
    roundness = _ramp(lit, FLAT_SHADING, ROUND_SHADING)
    factor = THINNEST + (1 - THINNEST) * roundness
    vertices, faces = _mesh(view, _with_outside(mask, squared), factor)
    drawn = view.draw(vertices, faces)
    return Candidate(
        kind="inflation",
        vertices=vertices,
        faces=faces,
        axes=_principal_axes(view.mask),
        depth_known=0.3,
        evidence={
            "iou": view.iou(drawn),
            "explained": view.explained(drawn),
            "shading": lit,
            "roundness": roundness,
        },
    )


def _side(mask: Mask, area: int) -> int:
    """Cells along a square grid in which the mask covers `area` cells, no finer than the mask."""
    return int(np.clip(mask.shape[0] * np.sqrt(area / max(int(mask.sum()), 1)), 48, mask.shape[0]))


def balloon(mask: Mask) -> F64:
    """(n, n) cells: sqrt(h) with Laplace(h) = -4 inside the mask and h = 0 outside; a sphere over a disc."""
    ys, xs = np.nonzero(mask)
    count = len(ys)
    index = np.full((mask.shape[0] + 2, mask.shape[1] + 2), -1)
    index[ys + 1, xs + 1] = np.arange(count)
    rows: list[NDArray] = [np.arange(count)]
    columns: list[NDArray] = [np.arange(count)]
    values = [np.full(count, 4.0)]
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        neighbour = index[ys + 1 + dy, xs + 1 + dx]
        inside = np.flatnonzero(neighbour >= 0)
        rows.append(inside)
        columns.append(neighbour[inside])
        values.append(np.full(len(inside), -1.0))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    height = spsolve(coo_array(entries, shape=(count, count)).tocsc(), np.full(count, 4.0))
    out = np.zeros(mask.shape)
    out[ys, xs] = np.sqrt(np.maximum(height, 0))
    return out


def local_thickness(mask: Mask) -> F64:
    """(n, n) cells: the radius of the largest disc inside the mask that covers the cell, smoothed."""
    padded = np.pad(mask, 1).astype(np.uint8)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)
    out = np.zeros(padded.shape)
    radii = np.unique(np.concatenate([[0.7], np.geomspace(1, max(float(inside.max()), 1.01), 14)]))
    for radius in radii:
        middles = (inside >= radius).astype(np.uint8)
        if middles.any():
            reach = cv2.distanceTransform(1 - middles, cv2.DIST_L2, 5)
            out[(reach < radius) & (padded > 0)] = radius
    blurred = cv2.GaussianBlur(out * padded, (0, 0), 3) / np.maximum(cv2.GaussianBlur(padded * 1.0, (0, 0), 3), 1e-3)
    return np.asarray(blurred[1:-1, 1:-1], dtype=np.float64)


def _bounded(depth: F64, thickness: F64) -> F64:
    """At most the local half width: a long balloon is sqrt(2) deeper than wide."""
    excess = np.maximum(depth / np.maximum(thickness, 0.5), 1e-6)
    return np.asarray(depth * (1 + excess**6) ** (-1 / 6), dtype=np.float64)


def _with_outside(mask: Mask, squared: F64) -> F64:
    """The squared depth, continued below zero outside with the slope it has at the rim, so that zero is the rim."""
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    rim = mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3)), borderValue=0) == 0)
    slope = max(float(np.median(squared[rim])), 0.5)
    return np.where(mask, squared, -slope * outside)


def _normals(squared: F64) -> F64:
    """(SIZE, SIZE, 3) normals of the front, towards the camera: the gradient of depth^2 - offset^2."""
    dy, dx = np.gradient(squared)
    normals = np.stack([-dx, -dy, -2 * np.sqrt(squared)], -1) * (squared > 0)[..., None]
    normals[..., :2] *= -1
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    return np.asarray(cv2.resize(normals, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST), dtype=np.float64)


def _mesh(view: View, field: F64, factor: float) -> tuple[F64, I64]:
    """Zero level of field - (offset / factor)^2 on the viewing rays: it meets the rim squarely, as a balloon does."""
    cells = _side(field > 0, MESH_AREA)
    ratio = len(field) / cells  # solved pixels per cell
    coarse = cv2.resize(cv2.GaussianBlur(field, (0, 0), 0.35 * ratio), (cells, cells), interpolation=cv2.INTER_AREA)
    deepest = np.sqrt(max(float(coarse.max()), 1e-3)) * factor  # solved pixels
    layers = max(4, int(np.ceil(deepest / ratio)))
    offset = np.linspace(-1, 1, 2 * layers + 1) * deepest * (1 + 1.5 / layers)
    volume = np.pad(coarse, 1, constant_values=-1.0)[None] - np.square(offset / factor)[:, None, None]
    found, faces, _, _ = marching_cubes(volume, 0.0)  # type: ignore[no-untyped-call]
    pixels = (found[:, [2, 1]] - 0.5) * SIZE / cells
    z = 1 + np.interp(found[:, 0], np.arange(len(offset)), offset) * SIZE / len(field) / view.focal
    rays = np.concatenate([(pixels - SIZE / 2) / view.focal, np.ones((len(pixels), 1))], 1)
    vertices = rays * z[:, None]
    faces = faces.astype(np.int64)
    if _volume(vertices, faces) < 0:
        faces = faces[:, ::-1]
    return simplify(vertices, np.ascontiguousarray(faces), MAX_FACES)


def _volume(vertices: F64, faces: I64) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _principal_axes(mask: Mask) -> F64:
    """(3, 3) columns: x along the silhouette's longest direction, y across it, z along the view."""
    ys, xs = np.nonzero(mask)
    _, vectors = np.linalg.eigh(np.cov(np.stack([xs, ys]).astype(np.float64)))
    x = vectors[:, 1] * (1.0 if vectors[0, 1] >= 0 else -1.0)
    return np.array([[x[0], -x[1], 0], [x[1], x[0], 0], [0, 0, 1.0]])


def _ramp(value: float, low: float, high: float) -> float:
    return float(np.clip((value - low) / (high - low), 0, 1))
