"""Rigid alignment of point sets: in closed form with known pairs, by iterated closest points without.

Every ICP here moves its source before it looks for closest points again, and returns the whole motion from
the points as they were given.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from pipeline.types import F64

SETTLED = 1e-7  # metres (or relative scale); a step below this ends the iteration
SCALE_RANGE = (0.2, 5.0)  # a scale outside is a collapse of the fit, not an answer


def kabsch(a: ArrayLike, b: ArrayLike, scale: bool = False) -> tuple[F64, F64, float]:
    """(R (3, 3), t (3,), s): the proper rotation, translation and scale with b ~ s * R @ a + t, least squares.

    a, b: (N, 3) paired points; s is 1 unless `scale` (Umeyama 1991).
    """
    a, b = _points(a), _points(b)
    if len(a) != len(b):
        raise ValueError(f"kabsch needs pairs: {len(a)} points against {len(b)}")
    centre_a, centre_b = a.mean(0), b.mean(0)
    U, singular, Vt = np.linalg.svd((b - centre_b).T @ (a - centre_a))
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt)) or 1.0])
    R = (U * flip) @ Vt
    spread = float(((a - centre_a) ** 2).sum())
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
    tree = cKDTree(target)
    translation = np.zeros(3) if start is None else np.array(start, dtype=np.float64)
    for _ in range(iterations):
        kept, closest = _trimmed(tree, source + translation, trim)
        step = (target[closest] - source[kept] - translation).mean(0)
        translation = translation + step
        if np.linalg.norm(step) < SETTLED:
            break
    return translation, _rms(tree, source + translation, trim)


def translation_scale_icp(
    source: ArrayLike,
    target: ArrayLike,
    iterations: int = 50,
    trim: float = 0.8,
    start: ArrayLike | None = None,
    stay: float = 1e-3,
) -> tuple[F64, float, float]:
    """(translation (3,), scale, rms) with source + translation ~ scale * target; metres, camera frame.

    The scale is about the camera origin, so the target keeps its picture while it moves along its rays: a hand
    that translates meets an object whose depth one image left open. Two patches rarely fix both; `stay` weighs
    the hand's and the object's motion (in metres) against the distance that remains, so that what the patches
    leave open is not spent. `trim` and `start` as in `translation_icp`.
    """
    source, target = _points(source), _points(target)
    tree = cKDTree(target)
    centre = target.mean(0)
    translation = np.zeros(3) if start is None else np.array(start, dtype=np.float64)
    scale = 1.0
    for _ in range(iterations):
        kept, closest = _trimmed(tree, (source + translation) / scale, trim)
        before = scale
        p, q = source[kept], target[closest]
        # mean |p + t - s q|^2 + stay * (|t|^2 + |(s - 1) centre|^2): t in terms of s, then s
        share = 1 / (1 + stay)
        dp, dq = p - share * p.mean(0), q - share * q.mean(0)
        pp, pq = (q * dp).sum(1).mean(), (q * dq).sum(1).mean()
        anchor = stay * float(centre @ centre)
        scale = float(np.clip((pp + anchor) / (pq + anchor), *SCALE_RANGE))
        step = share * (scale * q.mean(0) - p.mean(0)) - translation
        translation = translation + step
        if np.linalg.norm(step) < SETTLED and abs(scale - before) < SETTLED:
            break
    return translation, scale, scale * _rms(tree, (source + translation) / scale, trim)


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
    target_tree = cKDTree(target)
    for _ in range(iterations):
        moved = scale * source @ R.T + translation
        a = np.concatenate([source, source[cKDTree(moved).query(target)[1]]])
        b = np.concatenate([target[target_tree.query(moved)[1]], target])
        before = moved
        if rotation:
            R, translation, scale = kabsch(a, b, scale=True)
        else:
            spread = a - a.mean(0)
            scale = float((spread * (b - b.mean(0))).sum() / max(float((spread**2).sum()), 1e-12))
            translation = b.mean(0) - scale * a.mean(0)
        if np.abs(scale * source @ R.T + translation - before).max() < SETTLED:
            break
    return scale, R, translation, _rms(target_tree, scale * source @ R.T + translation, 1.0)


def _points(points: ArrayLike) -> F64:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"registration needs (N, 3) finite points, got shape {array.shape}")
    return array


def _trimmed(tree: cKDTree, points: F64, trim: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the `trim` share of points closest to the tree, and their closest points' indices."""
    distance, closest = tree.query(points)
    kept = np.argsort(distance, kind="stable")[: max(1, round(trim * len(points)))]
    return kept, closest[kept]


def _rms(tree: cKDTree, points: F64, trim: float) -> float:
    distance = np.sort(tree.query(points)[0])[: max(1, round(trim * len(points)))]
    return float(np.sqrt(cast(F64, distance**2).mean()))
