"""Rigid alignment of point sets: in closed form with known pairs, by iterated closest points without.

Every ICP here moves its source before it looks for closest points again, and returns the whole motion from
the points as they were given.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from pipeline.types import F64, I64

SETTLED = 1e-7  # metres (or relative scale); a step below this ends the iteration
CANDIDATES = 5  # neighbours kept per point between two look-ups


def kabsch(a: ArrayLike, b: ArrayLike, scale: bool = False) -> tuple[F64, F64, float]:
    """(R (3, 3), t (3,), s): the proper rotation, translation and scale with b ~ s * R @ a + t, least squares.

    a, b: (N, 3) paired points; s is 1 unless `scale` (Umeyama 1991).
    """
    a, b = _points(a), _points(b)
    if len(a) != len(b):
        raise ValueError(f"kabsch needs pairs: {len(a)} points against {len(b)}")
    centre_a, centre_b, products, spread = _moments(a, b)
    U, singular, Vt = np.linalg.svd(products)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt)) or 1.0])
    R = (U * flip) @ Vt
    s = float((singular * flip).sum() / spread) if scale and spread > 0 else 1.0
    return R, centre_b - s * R @ centre_a, s


def translation_icp(
    source: ArrayLike, target: ArrayLike, iterations: int = 50, trim: float = 0.8, start: ArrayLike | None = None
) -> tuple[F64, float]:
    """(translation (3,), rms) with source + translation ~ target; metres.

    source: (N, 3), target: (M, 3). The closest `trim` share of the source counts, in the fit and in the rms:
    the rest may have no counterpart. `start` is a first translation (default: none).
    """
    source, target = _points(source), _points(target)
    pairs = _Closest(target)
    translation = np.zeros(3) if start is None else np.array(start, dtype=np.float64)
    for _ in range(iterations):
        kept, closest = _trimmed(pairs, source + translation, trim)
        step = (target[closest] - source[kept] - translation).mean(0)
        translation = translation + step
        if np.linalg.norm(step) < SETTLED:
            break
    return translation, _rms(pairs, source + translation, trim)


def similarity_icp(
    source: ArrayLike, target: ArrayLike, rotation: bool = False, iterations: int = 50
) -> tuple[float, F64, F64, float]:
    """(scale, R (3, 3), translation (3,), rms) with scale * R @ source + translation ~ target.

    The field's protocol for comparing a reconstruction with ground truth aligns by scale and translation only
    (`rotation=False`: R is the identity). It starts from equal centres and equal spread, and matches both ways,
    so that neither set can shrink into a corner of the other.
    """
    source, target = _points(source), _points(target)
    R = np.eye(3)
    scale = float(target.std(0).mean() / max(float(source.std(0).mean()), 1e-12))
    translation = target.mean(0) - scale * source.mean(0)
    to_target, to_source = _Closest(target), _Closest(source)
    for _ in range(iterations):
        moved = scale * source @ R.T + translation
        # Looked up in the source's frame: the order of distances is the same there, and the tree is kept. At a scale
        # of zero (a source without extent) all points are equally near.
        moved_back = (target - translation) @ R / (scale or 1.0)
        a = np.concatenate([source, source[to_source(moved_back)[1]]])
        b = np.concatenate([target[to_target(moved)[1]], target])
        before = moved
        if rotation:
            R, translation, scale = kabsch(a, b, scale=True)
        else:
            centre_a, centre_b, products, spread = _moments(a, b)
            scale = float(np.trace(products)) / max(spread, 1e-12)
            translation = centre_b - scale * centre_a
        if np.abs(scale * source @ R.T + translation - before).max() < SETTLED:
            break
    return scale, R, translation, _rms(to_target, scale * source @ R.T + translation, 1.0)


def _points(points: ArrayLike) -> F64:
    array = np.ascontiguousarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"registration needs (N, 3) finite points, got shape {array.shape}")
    return array


@njit(cache=True)
def _moments(a, b):  # type: ignore[no-untyped-def]
    """Centres of two paired sets, sum of (b - centre) (a - centre)^T, and sum of |a - centre|^2."""
    centre_a, centre_b = np.zeros(3), np.zeros(3)
    for i in range(len(a)):
        for k in range(3):
            centre_a[k] += a[i, k]
            centre_b[k] += b[i, k]
    centre_a /= len(a)
    centre_b /= len(a)
    products, spread = np.zeros((3, 3)), 0.0
    for i in range(len(a)):
        for k in range(3):
            from_a = a[i, k] - centre_a[k]
            spread += from_a * from_a
            for j in range(3):
                products[j, k] += (b[i, j] - centre_b[j]) * from_a
    return centre_a, centre_b, products, spread


class _Closest:
    """Closest points of a set to points that move a little from one call to the next, exactly.

    The CANDIDATES closest points of the last look-up are kept with their reach, the distance of the farthest of
    them. Of a point that has moved by m since, any other point is at least reach - m away: a candidate nearer
    than that is the closest point, and only points without one are looked up again.
    """

    def __init__(self, points: F64) -> None:
        self._points = np.concatenate([points, np.full((1, 3), np.inf)])  # the tree's index of a missing neighbour
        self._tree = cKDTree(points)
        self._at: F64 | None = None

    def __call__(self, points: F64) -> tuple[F64, I64]:
        """(N, 3) -> distances (N,) and indices (N,); N stays the same from call to call."""
        if self._at is None:
            distances, self._candidates = self._tree.query(points, k=CANDIDATES)
            self._at, self._reach = np.array(points), distances[:, -1].copy()
        distance, index, stale = _nearest(points, self._points, self._candidates, self._at, self._reach)
        if len(stale):
            distances, candidates = self._tree.query(points[stale], k=CANDIDATES)
            self._at[stale], self._reach[stale], self._candidates[stale] = points[stale], distances[:, -1], candidates
            distance[stale], index[stale] = distances[:, 0], candidates[:, 0]
        return distance, index


@njit(cache=True)
def _nearest(points, targets, candidates, at, reach):  # type: ignore[no-untyped-def]
    """Distance to and index of every point's nearest candidate, and the points for which that proves nothing."""
    count = len(points)
    distance, index, stale = np.empty(count), np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    unproven = 0
    for i in range(count):
        x, y, z = points[i]
        best = np.inf
        index[i] = candidates[i, 0]
        for c in candidates[i]:
            squared = (targets[c, 0] - x) ** 2 + (targets[c, 1] - y) ** 2 + (targets[c, 2] - z) ** 2
            if squared < best:
                best = squared
                index[i] = c
        distance[i] = np.sqrt(best)
        moved = np.sqrt((at[i, 0] - x) ** 2 + (at[i, 1] - y) ** 2 + (at[i, 2] - z) ** 2)
        if distance[i] > reach[i] - moved:
            stale[unproven] = i
            unproven += 1
    return distance, index, stale[:unproven]


def _trimmed(closest: _Closest, points: F64, trim: float) -> tuple[I64, I64]:
    """Indices of the `trim` share of points closest to the set, and their closest points' indices."""
    distance, index = closest(points)
    kept = np.argsort(distance, kind="stable")[: max(1, round(trim * len(points)))]
    return kept, index[kept]


def _rms(closest: _Closest, points: F64, trim: float) -> float:
    distance = np.sort(closest(points)[0])[: max(1, round(trim * len(points)))]
    return float(np.sqrt((distance**2).mean()))
