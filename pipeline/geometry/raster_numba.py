"""Outlines of meshes, masks from outlines and the integral along them, on the CPU. `raster_torch` is its twin."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from pipeline.geometry.topology import Outline, Topology

MAX_PIECES_PER_EDGE = 1024  # an edge that leaves the image by far must not exhaust memory or time
BESIDE = 1e-4  # pixels; how far beside an edge its outer side is looked at


def outline(points: Tensor, topology: Topology) -> Outline:
    """points: (V, 2) float64, pixels. Faces that are not finite or without area count for nothing."""
    arrays = (topology.faces, topology.edges, topology.side_edge, topology.side_sign)
    ends, excess = _outline(points.numpy(), *(array.numpy() for array in arrays))
    return Outline(torch.from_numpy(ends), torch.from_numpy(excess))


def every_side(points: Tensor, faces: Tensor) -> Outline:
    """The same chain without a topology, sides of interior edges left in to cancel: for a mesh drawn once."""
    ends, excess = _every_side(points.numpy(), faces.numpy())
    return Outline(torch.from_numpy(ends), torch.from_numpy(excess))


def cover(points: Tensor, outline: Outline, height: int, width: int, supersample: int) -> Tensor:
    """(height, width) float32: the fraction of supersample^2 samples per pixel that some face covers.

    points: (V, 2) float64, pixels. A sample exactly on an edge belongs to the face on its right, or below.
    """
    mask = np.zeros((height, width), dtype=np.float32)
    _cover(points.numpy(), outline.ends.numpy(), outline.excess.numpy(), supersample, mask)
    return torch.from_numpy(mask)


def integrate(points: Tensor, outline: Outline, grad: Tensor) -> Tensor:
    """(V, 2) float64: sum over outline pieces of (dL/dM at the piece) * length * normal, shared by the edge's ends.

    points: (V, 2) float64, pixels; grad: (H, W) dL/dM.
    """
    out = np.zeros((len(points), 2))
    gradient = np.ascontiguousarray(grad.double().numpy())
    _integrate(points.numpy(), outline.ends.numpy(), outline.excess.numpy(), gradient, out)
    return torch.from_numpy(out)


@njit(cache=True)
def _facing(points, a, b, c):  # type: ignore[no-untyped-def]
    """1 or -1 by the way a face turns on the screen, 0 for one that covers nothing or is not finite."""
    area = (points[b, 0] - points[a, 0]) * (points[c, 1] - points[a, 1])
    area -= (points[b, 1] - points[a, 1]) * (points[c, 0] - points[a, 0])
    if not math.isfinite(area) or area == 0.0:
        return 0
    return 1 if area > 0.0 else -1


@njit(cache=True)
def _outline(points, faces, edges, side_edge, side_sign):  # type: ignore[no-untyped-def]
    excess = np.zeros(len(edges), dtype=np.int64)
    for f in range(len(faces)):
        facing = _facing(points, faces[f, 0], faces[f, 1], faces[f, 2])
        for s in range(3):
            excess[side_edge[f, s]] += facing * side_sign[f, s]
    kept = np.nonzero(excess)[0]
    return edges[kept], excess[kept]


@njit(cache=True)
def _every_side(points, faces):  # type: ignore[no-untyped-def]
    ends = np.empty((3 * len(faces), 2), dtype=np.int64)
    excess = np.empty(3 * len(faces), dtype=np.int64)
    kept = 0
    for f in range(len(faces)):
        facing = _facing(points, faces[f, 0], faces[f, 1], faces[f, 2])
        for s in range(3):
            a, b = faces[f, s], faces[f, (s + 1) % 3]
            if facing != 0:
                # Lower vertex first: both faces of an edge then compute the same crossings, which cancel exactly.
                ends[kept, 0], ends[kept, 1] = min(a, b), max(a, b)
                excess[kept] = facing if a < b else -facing
                kept += 1
    return ends[:kept], excess[:kept]


@njit(cache=True)
def _clamped(at, size):  # type: ignore[no-untyped-def]
    """ceil(at) within [0, size]; clamped as a float, since a far vertex overflows an integer."""
    return int(min(max(math.ceil(min(max(at, -1.0), size + 1.0)), 0), size))


@njit(cache=True)
def _cover(points, ends, excess, supersample, mask):  # type: ignore[no-untyped-def]
    """Write the change of the count where a sample row crosses the outline, then sum along the rows."""
    height, width = mask.shape
    rows, columns = height * supersample, width * supersample
    # Overflow wraps, and the sums along a row come out right all the same, up to 65,535 faces on one sample.
    change = np.zeros((rows, columns + 1), dtype=np.int16)
    first, last = np.full(rows, columns, dtype=np.int64), np.zeros(rows, dtype=np.int64)  # columns that change
    for e in range(len(ends)):
        a, b = ends[e]
        step = excess[e]
        if points[a, 1] > points[b, 1]:
            a, b = b, a
            step = -step
        x, y = points[a, 0] * supersample, points[a, 1] * supersample
        dx, dy = points[b, 0] * supersample - x, points[b, 1] * supersample - y
        for row in range(_clamped(y - 0.5, rows), _clamped(y + dy - 0.5, rows)):
            column = _clamped(x + (row + 0.5 - y) / dy * dx - 0.5, columns)
            change[row, column] -= step
            first[row], last[row] = min(first[row], column), max(last[row], column)
    share = np.float32(1.0 / supersample**2)
    for row in range(rows):
        count = np.int16(0)
        line = mask[row // supersample]
        for x in range(first[row] // supersample, min(last[row] // supersample + 1, width)):
            covered = 0
            for column in range(x * supersample, (x + 1) * supersample):
                count = np.int16(count + change[row, column])
                covered += count != 0
            line[x] += share * covered


@njit(cache=True)
def _integrate(points, ends, excess, grad, out):  # type: ignore[no-untyped-def]
    height, width = grad.shape
    starts, crossing = _by_row(points, ends, excess, height)
    for e in range(len(ends)):
        a, b = ends[e]
        x0, y0 = points[a]
        dx, dy = points[b, 0] - x0, points[b, 1] - y0
        length = math.hypot(dx, dy)
        outward = (1.0 if excess[e] > 0 else -1.0) / max(length, 1e-9)
        nx, ny = dy * outward, -dx * outward
        # Half a pixel each, and at least two: an edge that a fold hides in part should count in part.
        pieces = int(max(math.ceil(min(2 * length + 1, MAX_PIECES_PER_EDGE)), 2))
        for piece in range(pieces):
            t = (piece + 0.5) / pieces
            x, y = x0 + t * dx, y0 + t * dy
            if not (0 <= x < width and 0 <= y < height):
                continue
            if _faces_at(x + BESIDE * nx, y + BESIDE * ny, starts, crossing) != 0:
                continue
            push = _bilinear(grad, x, y) * (length / pieces)
            out[a, 0] += push * nx * (1 - t)
            out[a, 1] += push * ny * (1 - t)
            out[b, 0] += push * nx * t
            out[b, 1] += push * ny * t


@njit(cache=True)
def _by_row(points, ends, excess, height):  # type: ignore[no-untyped-def]
    """Edges sorted by the pixel rows they touch, as columns upper x, upper y, lower x, lower y, excess walking up:
    those of row r are crossing[:, starts[r] : starts[r + 1]]."""
    top, bottom = np.empty(len(ends), dtype=np.int64), np.empty(len(ends), dtype=np.int64)
    starts = np.zeros(height + 1, dtype=np.int64)
    for e in range(len(ends)):
        y0, y1 = points[ends[e, 0], 1], points[ends[e, 1], 1]
        # A look beside a piece may leave its row, or the image, by BESIDE.
        top[e] = max(_clamped(min(y0, y1) - BESIDE, height) - 1, 0)
        bottom[e] = _clamped(max(y0, y1) + BESIDE, height)
        for row in range(top[e], bottom[e]):
            starts[row + 1] += 1
    starts = np.cumsum(starts)
    crossing, free = np.empty((5, starts[-1])), starts.copy()
    for e in range(len(ends)):
        a, b = ends[e]
        step = float(excess[e])
        if points[a, 1] > points[b, 1]:
            a, b = b, a
            step = -step
        for row in range(top[e], bottom[e]):
            slot = free[row]
            crossing[0, slot], crossing[1, slot] = points[a]
            crossing[2, slot], crossing[3, slot] = points[b]
            crossing[4, slot] = -step
            free[row] += 1
    return starts, crossing


@njit(cache=True, fastmath={"reassoc"})  # the sum is of small whole numbers
def _faces_at(x, y, starts, crossing):  # type: ignore[no-untyped-def]
    """How many faces cover a place: the winding number of the outline, from the edges to the left of it."""
    row = int(min(max(y, 0.0), len(starts) - 2.0))
    count = 0.0
    for slot in range(starts[row], starts[row + 1]):
        x0, y0, x1, y1 = crossing[0, slot], crossing[1, slot], crossing[2, slot], crossing[3, slot]
        right = (x - x0) * (y1 - y0) > (y - y0) * (x1 - x0)  # of the edge, walked downward
        count += crossing[4, slot] if (y0 <= y) & (y < y1) & right else 0.0
    return count


@njit(cache=True)
def _bilinear(image, x, y):  # type: ignore[no-untyped-def]
    """Between pixel centres; beyond the outermost ones their value.

    Not nearest: next to a hard target dL/dM jumps between two pixels, and the jump would make the last half
    pixel of a fit chatter.
    """
    height, width = image.shape
    x, y = min(max(x - 0.5, 0.0), width - 1.0), min(max(y - 0.5, 0.0), height - 1.0)
    left, top = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    s, t = x - left, y - top
    upper = image[top, left] * (1 - s) + image[top, right] * s
    lower = image[bottom, left] * (1 - s) + image[bottom, right] * s
    return upper * (1 - t) + lower * t
