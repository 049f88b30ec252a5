"""Triangle meshes to pixels: coverage, a differentiable silhouette, and depth in layers.

    points (pixels) --coverage--> hard mask --silhouette--> the same mask, with a gradient
    verts (metres)  --depth_layers / depth_map--> the first k surfaces behind every pixel

The silhouette's forward is exact supersampled coverage, not a blurred relaxation. Its gradient is the
boundary integral of Reynolds' transport theorem, dL/dx = integral over the outline of (dL/dM) n: a vertex
on the outline moves mass in and out of the mask along the outward normal n, any other vertex moves none.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample
from torch.utils.weak import WeakTensorKeyDictionary

from pipeline.geometry.orientation import edge_keys, first_at_place, sides

NEAR = 1e-3  # metres; a face with a vertex closer to (or behind) the pinhole's plane is not drawn
MAX_PIECES_PER_EDGE = 1024  # an edge that leaves the image by far must not exhaust memory
BESIDE = 1e-4  # pixels; how far beside an edge its outer side is looked at
TORCH_CHUNK = 4_000_000  # point-in-triangle tests per batch on a GPU


class Topology:
    """Who shares an edge with whom; computed once per mesh.

    With `vertices` (V, 3), vertices at the same place count as one (a textured mesh repeats them along
    its uv seams; unwelded, a seam on the outline would be integrated twice).
    """

    def __init__(self, faces: Tensor, vertices: Tensor | None = None) -> None:
        self.faces = faces.detach().long().clone()
        faces_np = self.faces.cpu().numpy()
        if vertices is not None:
            faces_np = first_at_place(vertices.detach().cpu().numpy())[faces_np]
        pairs = np.sort(sides(faces_np), 1)
        _, one, inverse, count = np.unique(edge_keys(pairs), return_index=True, return_inverse=True, return_counts=True)
        edges = pairs[one]
        face_of_side = np.tile(np.arange(len(faces_np)), 3)
        by_edge = np.argsort(inverse, kind="stable")
        first = np.cumsum(count) - count
        face_a = face_of_side[by_edge[first]]
        face_b = face_of_side[by_edge[np.minimum(first + 1, len(by_edge) - 1)]]
        apex = faces_np[face_a].sum(1) - edges.sum(1)  # the corner of face_a that is not on the edge

        def tensor(values: NDArray) -> Tensor:
            return torch.as_tensor(values, device=faces.device)

        self.edges, self.apex = tensor(edges), tensor(apex)  # (E, 2), (E,) vertex indices
        self.face_a, self.face_b = tensor(face_a), tensor(face_b)  # (E,) face indices
        self.border = tensor(count != 2)  # (E,) open or non-manifold: may be an outline from anywhere

    def contour(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Edges (N, 2) and apexes (N,) between a front and a back face, or on a border."""
        front = _double_area(points[self.faces]) > 0
        index = torch.nonzero((front[self.face_a] != front[self.face_b]) | self.border)[:, 0]
        return self.edges[index], self.apex[index]


def _double_area(triangles: Tensor) -> Tensor:
    ab, ac = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]


# Keyed by the tensor object itself (weakly), with its version: an address alone is re-used once a tensor dies.
_topologies: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _topology_of(faces: Tensor) -> Topology:
    version, topology = _topologies.get(faces, (None, None))
    if topology is None or version != faces._version:
        topology = Topology(faces)
        _topologies[faces] = (faces._version, topology)
    return cast(Topology, topology)


def silhouette(points: Tensor, faces: Tensor | Topology, height: int, width: int, supersample: int = 2) -> Tensor:
    """The mask a projected mesh covers, with a gradient to the projected points.

    points: (V, 2) float32 or float64, pixels (pixel (0.5, 0.5) is the centre of the first one), all in
    front of the camera; faces: (F, 3) long, or their `Topology` (better in a loop, and for meshes with uv
    seams). Returns (height, width) of points' dtype: the fraction of supersample^2 samples covered.
    Any device; CPU tensors go through numba.
    """
    topology = faces if isinstance(faces, Topology) else _topology_of(faces)
    return cast(Tensor, _Silhouette.apply(points, topology, height, width, supersample))


class _Silhouette(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, points: Tensor, topology: Topology, height: int, width: int, supersample: int) -> Tensor:
        samples = _covered_samples(points.detach(), topology.faces, height, width, supersample)
        ctx.save_for_backward(points.detach())
        ctx.topology = topology
        return avg_pool2d(samples.to(points.dtype)[None], supersample)[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (points,) = ctx.saved_tensors
        return _boundary_integral(points.double(), grads[0], ctx.topology).to(points.dtype), None, None, None, None


def _boundary_integral(points: Tensor, grad: Tensor, topology: Topology) -> Tensor:
    """(V, 2): sum over outline pieces of (dL/dM at the piece) * length * normal, shared by the edge's two ends."""
    edges, apex = topology.contour(points)
    start, along = points[edges[:, 0]], points[edges[:, 1]] - points[edges[:, 0]]
    length = along.norm(dim=1)
    normal = torch.stack([along[:, 1], -along[:, 0]], 1) / length.clamp_min(1e-9)[:, None]
    inward = ((points[apex] - start) * normal).sum(1) > 0
    normal = torch.where(inward[:, None], -normal, normal)

    # Half a pixel each, and at least two: an edge that a fold hides in part should count in part.
    pieces = (2 * length + 1).ceil().nan_to_num(2.0).clamp(2, MAX_PIECES_PER_EDGE).long()
    edge = torch.repeat_interleave(torch.arange(len(edges), device=points.device), pieces)
    within = torch.arange(len(edge), device=points.device) - (torch.cumsum(pieces, 0) - pieces)[edge]
    t = (within + 0.5) / pieces[edge]
    where = start[edge] + t[:, None] * along[edge]

    height, width = grad.shape
    size = torch.tensor([width, height], dtype=points.dtype, device=points.device)
    outline = ((where >= 0) & (where < size)).all(1)
    just_outside = (where + BESIDE * normal[edge])[outline]
    outline[outline.clone()] = ~_inside_faces(just_outside, points, topology.faces, height, width)
    edge, t, where = edge[outline], t[outline], where[outline]
    # Bilinear, not nearest: next to a hard target dL/dM jumps between two pixels, and the jump would make the
    # last half pixel of a fit chatter.
    image, grid = grad.to(points.dtype)[None, None], (where / size * 2 - 1)[None, None]
    pull = grid_sample(image, grid, "bilinear", "border", align_corners=False)[0, 0, 0]
    push = (pull * (length / pieces)[edge])[:, None] * normal[edge]
    out = torch.zeros_like(points)
    out.index_add_(0, edges[edge, 0], push * (1 - t)[:, None])
    out.index_add_(0, edges[edge, 1], push * t[:, None])
    return out


def _inside_faces(where: Tensor, points: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """(N,) bool: which of (N, 2) places in the image lie inside any face; exact, unlike a look at the mask.

    Contour edges that a fold of the mesh hides by a fraction of a pixel would otherwise add a tenth to the
    gradient of a hand.
    """
    if where.device.type == "cpu":
        inside = np.zeros(len(where), dtype=np.bool_)
        _inside_numba(where.numpy(), points.numpy(), faces.numpy(), height, width, inside)
        return torch.from_numpy(inside)
    return torch.cat([_inside_any(chunk, points[faces]) for chunk in where.split(1 + TORCH_CHUNK // len(faces))])


def _inside_any(where: Tensor, triangles: Tensor) -> Tensor:
    """(N,) bool by testing every place against every one of (F, 3, 2) triangles."""
    turns = []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        start, along = triangles[:, a], triangles[:, b] - triangles[:, a]
        rise, run = along[:, 0] * (where[:, 1:] - start[:, 1]), along[:, 1] * (where[:, :1] - start[:, 0])
        turns.append(rise - run)
    turn = torch.stack(turns)  # (3, N, F)
    return ((turn > 0).all(0) | (turn < 0).all(0)).any(1)


@njit(cache=True)
def _pixel(at, size):  # type: ignore[no-untyped-def]
    """The one of `size` pixels that holds a coordinate, or the nearest one."""
    return int(min(max(at, 0.0), size - 1.0))


@njit(cache=True)
def _inside_numba(where, points, faces, height, width, inside):  # type: ignore[no-untyped-def]
    """As `_inside_any`, but every face looks only at the places in the pixels of its bounding box."""
    first = np.zeros(height * width + 1, dtype=np.int64)  # places sorted by pixel: those of pixel p are
    pixel = np.empty(len(where), dtype=np.int64)  # order[first[p]:first[p + 1]]
    for i in range(len(where)):
        pixel[i] = _pixel(where[i, 1], height) * width + _pixel(where[i, 0], width)
        first[pixel[i] + 1] += 1
    first = np.cumsum(first)
    order = np.argsort(pixel, kind="mergesort")
    for f in range(faces.shape[0]):
        x0, y0 = points[faces[f, 0]]
        x1, y1 = points[faces[f, 1]]
        x2, y2 = points[faces[f, 2]]
        if not math.isfinite(x0 + y0 + x1 + y1 + x2 + y2):
            continue
        left, right = _pixel(min(x0, x1, x2), width), _pixel(max(x0, x1, x2), width)
        top, bottom = _pixel(min(y0, y1, y2), height), _pixel(max(y0, y1, y2), height)
        for row in range(top, bottom + 1):
            for slot in range(first[row * width + left], first[row * width + right + 1]):
                i = order[slot]
                x, y = where[i]
                a = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
                b = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
                c = (x0 - x2) * (y - y2) - (y0 - y2) * (x - x2)
                if (a > 0 and b > 0 and c > 0) or (a < 0 and b < 0 and c < 0):
                    inside[i] = True


def coverage(
    points: NDArray[np.floating], faces: NDArray[np.integer], height: int, width: int, supersample: int = 1
) -> NDArray[np.float32]:
    """(height, width) float32 in [0, 1]: the fraction of supersample^2 samples per pixel a mesh covers.

    points: (V, 2) pixels; faces: (F, 3). No gradient; faces with points that are not finite are left out.
    """
    tensors = torch.from_numpy(np.ascontiguousarray(points)), torch.from_numpy(np.ascontiguousarray(faces))
    samples = _covered_samples(*tensors, height, width, supersample)
    return cast(NDArray[np.float32], avg_pool2d(samples.float()[None], supersample)[0].numpy())


def _covered_samples(points: Tensor, faces: Tensor, height: int, width: int, supersample: int) -> Tensor:
    """(height * supersample, width * supersample) bool."""
    scaled = points.double() * supersample
    if points.device.type != "cpu":
        return _cover_torch(scaled, faces, height * supersample, width * supersample)
    samples = np.zeros((height * supersample, width * supersample), dtype=np.bool_)
    _cover_numba(np.ascontiguousarray(scaled.numpy()), np.ascontiguousarray(faces.numpy()), samples)
    return torch.from_numpy(samples)


@njit(cache=True)
def _centres_between(low, high, size):  # type: ignore[no-untyped-def]
    """First and last of `size` pixels whose centres lie in [low, high]; none when first > last."""
    return int(min(max(math.ceil(low - 0.5), 0.0), size)), int(max(min(math.floor(high - 0.5), size - 1.0), -1.0))


@njit(cache=True)
def _cover_numba(points, faces, out):  # type: ignore[no-untyped-def]
    height, width = out.shape
    for f in range(faces.shape[0]):
        x0, y0 = points[faces[f, 0]]
        x1, y1 = points[faces[f, 1]]
        x2, y2 = points[faces[f, 2]]
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if area == 0.0 or not math.isfinite(area):
            continue
        if area < 0:
            x1, x2 = x2, x1
            y1, y2 = y2, y1
        left, right = _centres_between(min(x0, x1, x2), max(x0, x1, x2), width)
        top, bottom = _centres_between(min(y0, y1, y2), max(y0, y1, y2), height)
        for y in range(top, bottom + 1):
            py = y + 0.5
            e0, e1, e2 = (x1 - x0) * (py - y0), (x2 - x1) * (py - y1), (x0 - x2) * (py - y2)
            for x in range(left, right + 1):
                px = x + 0.5
                if (
                    e0 >= (y1 - y0) * (px - x0)
                    and e1 >= (y2 - y1) * (px - x1)
                    and e2 >= (y0 - y2) * (px - x2)
                ):  # fmt: skip
                    out[y, x] = True


def _cover_torch(points: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """The same mask as `_cover_numba` in tensor operations: faces in batches of similar bounding box."""
    triangles = points[faces]
    area = _double_area(triangles)
    ok = torch.isfinite(area) & (area != 0)
    triangles = torch.where((area < 0)[:, None, None], triangles[:, [0, 2, 1]], triangles)
    limit = torch.tensor([width - 1.0, height - 1.0], dtype=points.dtype, device=points.device)
    low = (triangles.amin(1) - 0.5).ceil().clamp_min(0.0)
    high = torch.minimum((triangles.amax(1) - 0.5).floor(), limit)
    ok &= (high >= low).all(1)
    side = (high - low + 1).amax(1)
    out = torch.zeros(height * width, dtype=torch.bool, device=points.device)
    smaller, box = 0, 2
    while smaller < max(height, width):
        batch = torch.nonzero(ok & (side > smaller) & (side <= box))[:, 0]
        for index in batch.split(max(1, TORCH_CHUNK // box**2)):
            _cover_boxes(triangles[index], low[index], box, height, width, out)
        smaller, box = box, box * 2
    return out.view(height, width)


def _cover_boxes(triangles: Tensor, low: Tensor, box: int, height: int, width: int, out: Tensor) -> None:
    """Set the covered pixels of (N, 3, 2) triangles whose bounding boxes fit in box x box from `low`."""
    offset = torch.arange(box, device=out.device)
    x, y = low[:, 0, None] + offset, low[:, 1, None] + offset  # (N, box)
    inside = (x < width)[:, None, :] & (y < height)[:, :, None]
    for a, b in ((0, 1), (1, 2), (2, 0)):
        start, along = triangles[:, a], triangles[:, b] - triangles[:, a]
        rise = along[:, 0, None] * (y + 0.5 - start[:, 1, None])
        run = along[:, 1, None] * (x + 0.5 - start[:, 0, None])
        inside &= rise[:, :, None] >= run[:, None, :]
    pixel = (y[:, :, None] * width + x[:, None, :])[inside]
    out[pixel.long()] = True


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
