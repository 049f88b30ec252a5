"""Triangle meshes to pixels: coverage, a differentiable silhouette, and depth in layers.

    points (pixels) --outline--> the edges where the number of covering faces changes
                    --cover--> hard mask --integrate--> the mask's gradient
    verts (metres)  --depth_layers / depth_map--> the first k surfaces behind every pixel

The silhouette's forward is exact supersampled coverage, not a blurred relaxation. Its gradient is the
boundary integral of Reynolds' transport theorem, dL/dx = integral over the outline of (dL/dM) n: a vertex
on the outline moves mass in and out of the mask along the outward normal n, any other vertex moves none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from pipeline.geometry import raster_cuda, raster_numba, raster_torch
from pipeline.geometry.topology import Topology, topology_of

__all__ = ["Layers", "Topology", "coverage", "depth_layers", "depth_map", "drawn", "silhouette"]

NEAR = 1e-3  # metres; a face with a vertex closer to (or behind) the pinhole's plane is not drawn


def silhouette(points: Tensor, faces: Tensor | Topology, height: int, width: int, supersample: int = 2) -> Tensor:
    """The mask a projected mesh covers, with a gradient to the projected points.

    points: (V, 2) float32 or float64, pixels (pixel (0.5, 0.5) is the centre of the first one), all in
    front of the camera; faces: (F, 3) long on the same device, or their `Topology` (better in a loop, and for
    meshes with uv seams). Returns (height, width) of points' dtype: the fraction of supersample^2 samples covered.

    CPU tensors go through numba. On any other device everything stays there, and pytorch3d's rasteriser draws
    the mask where it is installed with its CUDA half.
    """
    return cast(Tensor, _Silhouette.apply(points, topology_of(faces), height, width, supersample))


class _Silhouette(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, points: Tensor, topology: Topology, height: int, width: int, supersample: int) -> Tensor:
        mask, ctx.pull = drawn(points.detach(), topology, height, width, supersample)
        return mask

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.pull(grads[0].detach()), None, None, None, None


def drawn(
    points: Tensor, topology: Topology, height: int, width: int, supersample: int = 2
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """What `silhouette` is made of: the mask, and the function that takes a gradient at it (H, W) to the points (V, 2).

    For a loop that needs no graph around it; `points` without a gradient.
    """
    exact = points.double().contiguous()
    backend = _backend(exact)
    outline = backend.outline(exact, topology)
    if exact.device.type == "cuda" and raster_cuda.available():
        mask = raster_cuda.cover(exact, topology.faces, height, width, supersample)
    else:
        mask = backend.cover(exact, outline, height, width, supersample)

    def pull(grad: Tensor) -> Tensor:
        return cast(Tensor, backend.integrate(exact, outline, grad).to(grad.dtype))

    return mask.to(points.dtype), pull


def _backend(points: Tensor) -> ModuleType:
    return raster_numba if points.device.type == "cpu" else raster_torch


def coverage(
    points: NDArray[np.floating], faces: NDArray[np.integer], height: int, width: int, supersample: int = 1
) -> NDArray[np.float32]:
    """(height, width) float32 in [0, 1]: the fraction of supersample^2 samples per pixel a mesh covers.

    points: (V, 2) pixels; faces: (F, 3). No gradient; faces with points that are not finite are left out.
    """
    exact = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float64))
    outline = raster_numba.every_side(exact, torch.from_numpy(np.ascontiguousarray(faces, dtype=np.int64)))
    return cast(NDArray[np.float32], raster_numba.cover(exact, outline, height, width, supersample).numpy())


class Layers(NamedTuple):
    """The surfaces behind each pixel, nearest first."""

    depth: NDArray[np.float64]  # (H, W, k) metres along z; inf where there is no hit
    face: NDArray[np.int32]  # (H, W, k) face index; -1 where there is no hit
    bary: NDArray[np.float64]  # (H, W, k, 3) weights of the face's corners in space; 0 where there is no hit


def depth_layers(
    verts: NDArray[np.floating],
    faces: NDArray[np.integer],
    K: NDArray[np.floating],
    height: int,
    width: int,
    k: int = 4,
) -> Layers:
    """The first k hits of the ray through every pixel centre, perspective-correct.

    verts: (V, 3) metres, camera frame; faces: (F, 3); K: (3, 3) pixels. A ray through an edge that two
    faces share hits one of them. Faces with a vertex at z <= NEAR (1 mm) are dropped, not cut.
    """
    verts = np.ascontiguousarray(verts, dtype=np.float64)
    visible = np.isfinite(verts).all(1) & (verts[:, 2] > NEAR)
    z = np.where(visible, verts[:, 2], 1.0)
    points = np.stack([verts[:, 0] / z * K[0, 0] + K[0, 2], verts[:, 1] / z * K[1, 1] + K[1, 2]], 1)
    depth = np.full((height, width, k), np.inf)
    face = np.full((height, width, k), -1, dtype=np.int32)
    bary = np.zeros((height, width, k, 3))
    _layers_numba(points, z, np.ascontiguousarray(faces, dtype=np.int64), visible, depth, face, bary)
    return Layers(depth, face, bary)


def depth_map(
    verts: NDArray[np.floating], faces: NDArray[np.integer], K: NDArray[np.floating], height: int, width: int
) -> NDArray[np.float64]:
    """(height, width) metres along z of the nearest surface, inf on the background; see `depth_layers`."""
    return depth_layers(verts, faces, K, height, width, k=1).depth[..., 0]


@njit(cache=True)
def _centres_between(low, high, size):  # type: ignore[no-untyped-def]
    """First and last of `size` pixels whose centres lie in [low, high]; none when first > last."""
    return int(min(max(math.ceil(low - 0.5), 0.0), size)), int(max(min(math.floor(high - 0.5), size - 1.0), -1.0))


@njit(cache=True)
def _edge(points, a, b):  # type: ignore[no-untyped-def]
    """Base point, direction and ownership of the edge a -> b.

    The base is the end with the lower index, so the two faces of an edge compute exactly opposite areas; a pixel
    centre exactly on it belongs to the one face for which the edge is a top or left one.
    """
    low, high = min(a, b), max(a, b)
    dx, dy = points[high, 0] - points[low, 0], points[high, 1] - points[low, 1]
    if a > b:
        dx, dy = -dx, -dy
    owned = dy < 0.0 or (dy == 0.0 and dx > 0.0)
    return points[low, 0], points[low, 1], dx, dy, owned


@njit(cache=True)
def _layers_numba(points, z, faces, visible, depth, face, bary):  # type: ignore[no-untyped-def]
    height, width, layers = depth.shape
    for f in range(faces.shape[0]):
        i, j, k = faces[f]
        if not (visible[i] and visible[j] and visible[k]):
            continue
        area = (points[j, 0] - points[i, 0]) * (points[k, 1] - points[i, 1])
        area -= (points[j, 1] - points[i, 1]) * (points[k, 0] - points[i, 0])
        if area == 0.0 or not math.isfinite(area):
            continue
        turned = area < 0
        if turned:
            j, k = k, j
        xi, yi, dxi, dyi, own_i = _edge(points, j, k)
        xj, yj, dxj, dyj, own_j = _edge(points, k, i)
        xk, yk, dxk, dyk, own_k = _edge(points, i, j)
        xs, ys = (points[i, 0], points[j, 0], points[k, 0]), (points[i, 1], points[j, 1], points[k, 1])
        left, right = _centres_between(min(xs), max(xs), width)
        top, bottom = _centres_between(min(ys), max(ys), height)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                wi = dxi * (y + 0.5 - yi) - dyi * (x + 0.5 - xi)
                wj = dxj * (y + 0.5 - yj) - dyj * (x + 0.5 - xj)
                wk = dxk * (y + 0.5 - yk) - dyk * (x + 0.5 - xk)
                if wi < 0.0 or wj < 0.0 or wk < 0.0:
                    continue
                if (wi == 0.0 and not own_i) or (wj == 0.0 and not own_j) or (wk == 0.0 and not own_k):
                    continue
                total = wi + wj + wk
                d = total / (wi / z[i] + wj / z[j] + wk / z[k])  # 1 / z is linear on the screen
                if not d < depth[y, x, layers - 1]:
                    continue
                slot = layers - 1
                while slot > 0 and depth[y, x, slot - 1] > d:
                    depth[y, x, slot] = depth[y, x, slot - 1]
                    face[y, x, slot] = face[y, x, slot - 1]
                    for c in range(3):
                        bary[y, x, slot, c] = bary[y, x, slot - 1, c]
                    slot -= 1
                depth[y, x, slot] = d
                face[y, x, slot] = f
                bary[y, x, slot, 0] = wi / total * d / z[i]
                bary[y, x, slot, 2 if turned else 1] = wj / total * d / z[j]
                bary[y, x, slot, 1 if turned else 2] = wk / total * d / z[k]
