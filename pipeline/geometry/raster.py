"""Triangle meshes to pixels: coverage, a differentiable silhouette, and (from `layers`) depth in layers.

    points (pixels) --outline--> the edges where the number of covering faces changes
                    --cover--> hard mask --integrate--> the mask's gradient
    verts (metres)  --depth_layers / depth_map--> the first k surfaces behind every pixel

The silhouette's forward is exact supersampled coverage, not a blurred relaxation. Its gradient is the
boundary integral of Reynolds' transport theorem, dL/dx = integral over the outline of (dL/dM) n: a vertex
on the outline moves mass in and out of the mask along the outward normal n, any other vertex moves none.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.geometry import raster_cuda, raster_numba, raster_torch
from pipeline.geometry.layers import Layers, depth_layers, depth_map
from pipeline.geometry.topology import Topology, topology_of

__all__ = ["Layers", "Topology", "coverage", "depth_layers", "depth_map", "drawn", "silhouette"]


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
