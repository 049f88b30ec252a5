"""Silhouette renderers under one signature: `points (V, 2) pixels, depth (V,), height, width -> mask (H, W)`.

Each is differentiable with respect to the points, on the CPU. Nothing here imports the pipeline before `ours` is
asked for, so that the rivals can run in interpreters that have only them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Render = Callable[[Tensor, Tensor, int, int], Tensor]

DEODR_SIGMA = 1.0  # pixels of anti-aliasing overdraw, the library's own default
P3D_SIGMA, P3D_FACES = 1e-4, 50  # the soft silhouette of pytorch3d's tutorials and of the paper's code


def ours(faces: Tensor) -> Render:
    from pipeline.geometry.raster import Topology, silhouette

    topology = Topology(faces)
    return lambda points, _depth, height, width: silhouette(points, topology, height, width)


def deodr(faces: Tensor) -> Render:
    from deodr import differentiable_renderer_cython as renderer
    from deodr.differentiable_renderer import Scene2D
    from deodr.triangulated_mesh import TriMeshAdjacencies

    triangles = faces.numpy().astype(np.uint32)
    adjacency = TriMeshAdjacencies(triangles, clockwise=True)

    def scene(points: np.ndarray, depth: np.ndarray, height: int, width: int) -> Any:
        count = len(points)
        return Scene2D(
            faces=triangles,
            faces_uv=triangles,
            ij=points,
            depths=depth,
            textured=np.zeros(len(triangles), dtype=bool),
            uv=np.zeros((count, 2)),
            shade=np.zeros(count),
            colors=np.ones((count, 1)),
            shaded=np.zeros(len(triangles), dtype=bool),
            edgeflags=adjacency.edge_on_silhouette(points),
            height=height,
            width=width,
            nb_colors=1,
            texture=np.zeros((0, 0)),
            background_color=np.zeros(1),
            clockwise=True,
            backface_culling=True,  # without it the library aborts the process
            strict_edge=False,
            perspective_correct=False,
            integer_pixel_centers=False,
        )

    class Silhouette(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, points: Tensor, depth: Tensor, height: int, width: int) -> Tensor:
            made = scene(points.detach().double().numpy(), depth.detach().double().numpy(), height, width)
            image, depths = np.empty((height, width, 1)), np.empty((height, width))
            renderer.renderSceneCpp(made, DEODR_SIGMA, image, depths)
            ctx.made = made, image, depths
            return torch.from_numpy(image[..., 0]).to(points.dtype)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
            made, image, depths = ctx.made
            made.ij_b = np.zeros(made.ij.shape)
            # The library undoes its drawing while it differentiates, so it is handed a copy.
            upstream = np.ascontiguousarray(grads[0].double().numpy()[..., None])
            renderer.renderSceneBCpp(made, DEODR_SIGMA, image.copy(), depths, upstream)
            return torch.from_numpy(made.ij_b).to(grads[0].dtype), None, None, None

    return lambda points, depth, height, width: Silhouette.apply(points, depth, height, width)


def pytorch3d(faces: Tensor) -> Render:
    import pytorch3d._C  # noqa: F401 - the compiled half, built for one version of torch
    from pytorch3d.renderer.blending import BlendParams, sigmoid_alpha_blend
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.renderer.mesh.rasterizer import Fragments
    from pytorch3d.structures import Meshes

    blend = BlendParams(sigma=P3D_SIGMA)
    blur = math.log(1 / 1e-4 - 1) * P3D_SIGMA

    def render(points: Tensor, depth: Tensor, height: int, width: int) -> Tensor:
        screen = (points.new_tensor([width, height]) - 2 * points) / min(height, width)
        meshes = Meshes([torch.cat([screen, depth[:, None]], 1)], [faces])
        drawn = rasterize_meshes(meshes, (height, width), blur, P3D_FACES, perspective_correct=False)
        fragments = Fragments(*drawn)
        return sigmoid_alpha_blend(torch.ones_like(fragments.bary_coords), fragments, blend)[0, ..., 3]

    return render


RENDERERS: dict[str, Callable[[Tensor], Render]] = {"ours": ours, "deodr": deodr, "pytorch3d": pytorch3d}
