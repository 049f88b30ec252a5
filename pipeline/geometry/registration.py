"""Rigid alignment of point sets: in closed form with known pairs, by iterated closest points without.

Every ICP here moves its source before it looks for closest points again, and returns the whole motion from
the points as they were given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from pipeline.types import F64, I64

SETTLED = 2e-6  # metres; a step that moves the source by less ends the iteration
CANDIDATES = 4  # neighbours kept per point between two look-ups
LEAF = 24  # points per leaf of the trees: queries are faster than with scipy's 16
COARSE = 4  # a similarity first settles on every fourth point
COARSE_SETTLED = 3e-5  # metres; ends that first pass
MANY = 1000  # points: below this all of them count from the start


def kabsch(a: ArrayLike, b: ArrayLike, scale: bool = False) -> tuple[F64, F64, float]:
    """(R (3, 3), t (3,), s): the proper rotation, translation and scale with b ~ s * R @ a + t, least squares.

    a, b: (N, 3) paired points; s is 1 unless `scale` (Umeyama 1991).
    """
    a, b = _points(a), _points(b)
    if len(a) != len(b):
        raise ValueError(f"kabsch needs pairs: {len(a)} points against {len(b)}")
    return _kabsch(a, b, scale)


def _kabsch(a: F64, b: F64, scale: bool) -> tuple[F64, F64, float]:
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
    closest, kept = _Closest(_tree(target)), max(1, round(trim * len(source)))

    def step(translation: F64) -> tuple[F64, float]:
        distance, index = closest(source + translation)
        near = np.argpartition(distance, kept - 1)[:kept]
        return (target[index[near]] - source[near]).mean(0), float((distance[near] ** 2).sum())

    first = np.zeros(3) if start is None else np.array(start, dtype=np.float64)
    translation = _settle(step, first, iterations, SETTLED)
    return translation, float(np.sqrt(step(translation)[1] / kept))


def similarity_icp(
    source: ArrayLike, target: ArrayLike, rotation: bool = False, iterations: int = 50
) -> tuple[float, F64, F64, float]:
    """(scale, R (3, 3), translation (3,), rms) with scale * R @ source + translation ~ target.

    The field's protocol for comparing a reconstruction with ground truth aligns by scale and translation only
    (`rotation=False`: R is the identity). It starts from equal centres and equal spread, and matches both ways,
    so that neither set can shrink into a corner of the other. At most `iterations` on COARSE points and on all.
    """
    source, target = _points(source), _points(target)
    centre, extent = source.mean(0), max(float(source.std(0).mean()), 1e-12)
    unit = (source - centre) / extent  # moved by a matrix in metres: its steps and a translation's compare
    trees = _tree(target), _tree(unit)
    motion = np.vstack([np.eye(3) * target.std(0).mean(), target.mean(0)])
    for every in (COARSE, 1) if min(len(source), len(target)) >= MANY else (1,):
        to_target, to_source = _Closest(trees[0]), _Closest(trees[1])
        step = _both_ways(unit, target, to_target, to_source, every, rotation)
        motion = _settle(step, motion, iterations, COARSE_SETTLED if every > 1 else SETTLED)
    scale, R = _nearest_similarity(motion[:3], rotation)
    there, _ = to_target(scale * unit @ R.T + motion[3])
    return scale / extent, R, motion[3] - scale / extent * R @ centre, float(np.sqrt((there**2).mean()))


def _both_ways(
    source: F64, target: F64, to_target: _Closest, to_source: _Closest, every: int, rotation: bool
) -> Callable[[F64], tuple[F64, float]]:
    """A step of `similarity_icp`, (4, 3) motion -> the next and the summed squares of the pairs' distances.

    Every `every`-th point of each set looks for its closest in the other.
    """
    from_source, from_target = source[::every], target[::every]
    count = len(from_source)
    a = np.concatenate([from_source, from_target])  # the pairs: a step looks up the second half of a, the first of b
    b = a.copy()

    def step(motion: F64) -> tuple[F64, float]:
        scale, R = _nearest_similarity(motion[:3], rotation)
        there, at_target = to_target(from_source @ (scale * R).T + motion[3])
        # Looked up in the source's frame: the order of distances is the same there, and the tree is kept. At a
        # scale of zero (a source without extent) all points are equally near.
        back, at_source = to_source((from_target - motion[3]) @ (R / (scale or 1.0)))
        error = float(there @ there + scale**2 * (back @ back))
        a[count:], b[:count] = source.take(at_source, 0), target.take(at_target, 0)
        if rotation:
            R, translation, scale = _kabsch(a, b, scale=True)
        else:
            centre_a, centre_b, products, spread = _moments(a, b)
            scale = float(np.trace(products)) / max(spread, 1e-12)
            translation = centre_b - scale * centre_a
        return np.vstack([scale * R, translation]), error

    return step


def _nearest_similarity(matrix: F64, rotation: bool) -> tuple[float, F64]:
    """Scale and rotation of a (3, 3) matrix that is both or, extrapolated, nearly both."""
    if not rotation:
        return float(matrix[0, 0]), np.eye(3)
    U, singular, Vt = np.linalg.svd(matrix)
    return float(singular.mean()), U @ Vt


def _settle(step: Callable[[F64], tuple[F64, float]], motion: F64, iterations: int, settled: float) -> F64:
    """The fixed point of `step`, which returns the next motion and the error of the one it was given.

    ICP creeps: two steps that point the same way are extrapolated to where the secant through them ends (Anderson
    acceleration of depth one). A plain step never raises the error, so where it has risen the last one is taken back.
    """
    safe, lowest, last = motion, np.inf, None
    for _ in range(iterations):
        reached, error = step(motion)
        if error > lowest:
            motion, lowest, last = safe, np.inf, None
            continue
        move = reached - motion
        safe, lowest, motion = reached, error, reached
        if np.abs(move).max() < settled:
            break
        if last is not None:
            change = move - last[0]
            if curvature := float((change**2).sum()):
                motion = reached - (change * move).sum() / curvature * (reached - last[1])
        last = move, reached
    return safe


def _tree(points: F64) -> cKDTree:
    return cKDTree(points, leafsize=LEAF)


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

    def __init__(self, tree: cKDTree) -> None:
        self._points = np.concatenate([tree.data, np.full((1, 3), np.inf)])  # the tree's index of a missing neighbour
        self._tree = tree
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
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        best = np.inf
        index[i] = candidates[i, 0]
        for k in range(candidates.shape[1]):  # rows taken out of arrays would cost five times as much
            c = candidates[i, k]
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
