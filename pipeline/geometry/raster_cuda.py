"""Masks of meshes on a GPU by pytorch3d's rasteriser, where its compiled half (`pytorch3d._C`) imports."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

UNIT_DEPTH = 1.0  # the rasteriser wants a depth; in a mask all faces are equal


@functools.cache
def available() -> bool:
    """Whether pytorch3d can rasterise here: its extension is built for one version of torch only."""
    try:
        import pytorch3d._C  # noqa: F401
        from pytorch3d.renderer.mesh import rasterize_meshes  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def cover(points: Tensor, faces: Tensor, height: int, width: int, supersample: int) -> Tensor:
    """(height, width) float32 on the points' device: the fraction of supersample^2 samples per pixel covered.

    points: (V, 2) pixels; faces: (F, 3) long. Faces with points that are not finite are left out. The rasteriser
    computes in float32, so a sample within about 1e-5 of the picture's size of an edge may fall on either side.
    """
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    # Its axes point left and up, and the picture's shorter side spans [-1, 1].
    size = points.new_tensor([width, height])
    screen = (size - 2 * points) / min(height, width)
    finite = torch.isfinite(screen).all(1)
    screen = torch.where(finite[:, None], screen, 0.0)
    drawn = faces[finite[faces].all(1)]
    if not len(drawn):
        return torch.zeros(height, width, device=points.device)
    corners = torch.cat([screen, torch.full_like(screen[:, :1], UNIT_DEPTH)], 1).float()
    nearest, _, _, _ = rasterize_meshes(
        Meshes([corners], [drawn]),
        image_size=(height * supersample, width * supersample),
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=False,
        cull_backfaces=False,
    )
    return avg_pool2d((nearest[..., 0] >= 0).float(), supersample)[0]
