"""`raster_numba` in tensor operations, for points that live on a GPU: nothing leaves the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from pipeline.geometry.raster_numba import BESIDE, MAX_PIECES_PER_EDGE
from pipeline.geometry.topology import Outline, Topology

CHUNK = 4_000_000  # tests of a place against an edge per batch


def outline(points: Tensor, topology: Topology) -> Outline:
    """The outline on the points' device; see `raster_numba.outline`."""
    triangles = points[topology.faces]
    ab, ac = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    facing = torch.where(torch.isfinite(area), area.sign(), 0.0).long()
    excess = torch.zeros(len(topology.edges), dtype=torch.long, device=points.device)
    excess.index_add_(0, topology.side_edge.reshape(-1), (facing[:, None] * topology.side_sign).reshape(-1))
    kept = torch.nonzero(excess)[:, 0]
    return Outline(topology.edges[kept], excess[kept])


def cover(points: Tensor, outline: Outline, height: int, width: int, supersample: int) -> Tensor:
    """(height, width) float32 on the points' device; see `raster_numba.cover`."""
    rows, columns = height * supersample, width * supersample
    ends = points[outline.ends] * supersample
    flip = ends[:, 0, 1] > ends[:, 1, 1]
    high, low = torch.where(flip[:, None, None], ends.flip(1), ends).unbind(1)  # high on the screen: small y
    step = torch.where(flip, outline.excess, -outline.excess)
    first = (high[:, 1] - 0.5).clamp(-1, rows).ceil().clamp_min(0).long()
    last = (low[:, 1] - 0.5).clamp(-1, rows).ceil().clamp_min(0).long()
    edge, within = _repeated(last - first)
    row = first[edge] + within
    x = high[edge, 0] + (row.to(points.dtype) + 0.5 - high[edge, 1]) / (low - high)[edge, 1] * (low - high)[edge, 0]
    column = (x - 0.5).clamp(-1, columns).ceil().clamp_min(0).long()
    change = torch.zeros(rows * (columns + 1), dtype=torch.long, device=points.device)
    change.index_add_(0, row * (columns + 1) + column, step[edge])
    covered = change.view(rows, columns + 1).cumsum(1)[:, :-1] != 0
    return avg_pool2d(covered.float()[None], supersample)[0]


def integrate(points: Tensor, outline: Outline, grad: Tensor) -> Tensor:
    """(V, 2) float64 on the points' device; see `raster_numba.integrate`."""
    ends, excess = outline
    start, along = points[ends[:, 0]], points[ends[:, 1]] - points[ends[:, 0]]
    length = along.norm(dim=1)
    normal = torch.stack([along[:, 1], -along[:, 0]], 1) * (excess.sign() / length.clamp_min(1e-9))[:, None]
    pieces = (2 * length + 1).clamp_max(MAX_PIECES_PER_EDGE).ceil().clamp_min(2).long()
    edge, within = _repeated(pieces)
    t = (within.to(points.dtype) + 0.5) / pieces[edge]
    where = start[edge] + t[:, None] * along[edge]

    height, width = grad.shape
    size = torch.tensor([width, height], dtype=points.dtype, device=points.device)
    kept = ((where >= 0) & (where < size)).all(1)
    edge, t, where = edge[kept], t[kept], where[kept]
    kept = _faces_at(where + BESIDE * normal[edge], start, along, excess) == 0
    edge, t, where = edge[kept], t[kept], where[kept]
    image, grid = grad.to(points.dtype)[None, None], (where / size * 2 - 1)[None, None]
    pull = grid_sample(image, grid, "bilinear", "border", align_corners=False)[0, 0, 0]
    push = (pull * (length / pieces)[edge])[:, None] * normal[edge]
    out = torch.zeros_like(points)
    out.index_add_(0, ends[edge, 0], push * (1 - t)[:, None])
    out.index_add_(0, ends[edge, 1], push * t[:, None])
    return out


def _faces_at(where: Tensor, start: Tensor, along: Tensor, excess: Tensor) -> Tensor:
    """(N,) how many faces cover (N, 2) places: the winding number of the outline, from the edges to their left."""
    end = start + along
    counts = [torch.zeros(0, dtype=torch.long, device=where.device)]
    for place in where.split(1 + CHUNK // max(1, len(start))):
        x, y = place[:, :1], place[:, 1:]
        below, above = start[:, 1] <= y, end[:, 1] <= y
        right = (x - start[:, 0]) * along[:, 1] > (y - start[:, 1]) * along[:, 0]
        crossed = torch.where(below, right, ~right) & (below != above)
        counts.append((torch.where(below, -excess, excess) * crossed).sum(1))
    return torch.cat(counts)


def _repeated(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For every one of counts[i] copies of i: i, and which copy it is."""
    counts = counts.clamp_min(0)
    index = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    return index, torch.arange(len(index), device=counts.device) - (counts.cumsum(0) - counts)[index]
