"""Closes a hand's mesh where it is cut at the wrist."""

from __future__ import annotations

import numpy as np

from pipeline.errors import PipelineError
from pipeline.types import F64, I64


def close_wrist(verts: F64, faces: I64) -> I64:
    """(F + n - 2, 3) faces: the given ones, then the smallest surface across the ring of n vertices of their border.

    verts (V, 3) metres; faces (F, 3) with one border. Raises PipelineError when there is not exactly one.
    """
    ring = _border(faces)
    return np.concatenate([faces, ring[_smallest_surface(verts[ring])]])


def _border(faces: I64) -> I64:
    """(n,) the vertices around the hole, in the order in which new faces must walk them."""
    sides = {(int(face[i]), int(face[(i + 1) % 3])) for face in faces for i in range(3)}
    if len(sides) != 3 * len(faces):
        raise PipelineError("its faces are not all turned the same way")
    after = {b: a for a, b in sides if (b, a) not in sides}
    if not after or len(after) != sum((b, a) not in sides for a, b in sides):
        raise PipelineError("its mesh has no single border at the wrist")
    ring = [min(after)]
    while (vertex := after[ring[-1]]) != ring[0]:
        ring.append(vertex)
    if len(ring) != len(after):
        raise PipelineError("its mesh has no single border at the wrist")
    return np.array(ring, dtype=np.int64)


def _smallest_surface(points: F64) -> I64:
    """(n - 2, 3) triangles of least total area across a closed polygon (n, 3), by dynamic programming."""
    count = len(points)
    cost = np.zeros((count, count))
    split = np.zeros((count, count), dtype=np.int64)
    for span in range(2, count):
        for first in range(count - span):
            last = first + span
            middle = np.arange(first + 1, last)
            arms = points[middle] - points[first]
            areas = np.linalg.norm(np.cross(arms, points[last] - points[first]), axis=1) / 2
            total = cost[first, middle] + cost[middle, last] + areas
            best = int(total.argmin())
            cost[first, last], split[first, last] = total[best], middle[best]
    triangles, spans = [], [(0, count - 1)]
    while spans:
        a, b = spans.pop()
        if b - a >= 2:
            between = int(split[a, b])
            triangles.append((a, between, b))
            spans += [(a, between), (between, b)]
    return np.array(triangles, dtype=np.int64)
