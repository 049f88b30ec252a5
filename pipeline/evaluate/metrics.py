"""How good a reconstructed pair is: mask overlap, shared volume, distance to ground truth (METHOD 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from pipeline.errors import BadMesh
from pipeline.geometry.orientation import Interior, checked
from pipeline.geometry.registration import similarity_icp
from pipeline.geometry.watertight import make_watertight, to_manifold
from pipeline.types import F64, I64

CM3 = 1e6  # cubic centimetres per cubic metre
CM2 = 1e4
ICP_POINTS = 5000  # of the sampled points; the alignment does not improve with more


def iou(a: ArrayLike, b: ArrayLike) -> float:
    """Intersection over union of two (H, W) masks; 1 when both are empty."""
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def intersection_volume_cm3(hand_v: ArrayLike, hand_f: ArrayLike, obj_v: ArrayLike, obj_f: ArrayLike) -> float:
    """Exact volume that hand and object share, cm^3, by mesh boolean. Vertices in metres, one frame.

    A mesh that is not watertight is made so first. Raises BadMesh when that fails.
    """
    hand, obj = (to_manifold(*make_watertight(v, f)) for v, f in ((hand_v, hand_f), (obj_v, obj_f)))
    return float((hand ^ obj).volume() * CM3)


def intersection_volume_voxel_cm3(
    hand_v: ArrayLike, hand_f: ArrayLike, obj_v: ArrayLike, obj_f: ArrayLike, pitch: float = 0.005
) -> float:
    """The field's estimate, cm^3: the hand filled with voxels of `pitch` metres, those with centres in the object.

    Every voxel the hand touches counts whole, so it overestimates thin contact (by up to 90 % at 5 mm); kept for
    comparison with published figures. Raises BadMesh as `intersection_volume_cm3`.
    """
    hand_v, hand_f = make_watertight(hand_v, hand_f)
    obj_v, obj_f = make_watertight(obj_v, obj_f)
    low = np.floor(hand_v.min(0) / pitch - 0.5).astype(int)
    shape = np.ceil(hand_v.max(0) / pitch + 0.5).astype(int) - low + 1
    centres = np.ascontiguousarray((low + np.indices(shape).reshape(3, -1).T) * pitch)
    surface = np.rint(_dense_surface(hand_v, hand_f, pitch / 2) / pitch).astype(int) - low
    filled = Interior(hand_v, hand_f)(centres).reshape(shape)
    filled[tuple(surface.T)] = True
    return np.count_nonzero(Interior(obj_v, obj_f)(centres[filled.reshape(-1)])) * pitch**3 * CM3


def chamfer_fscore(
    pred_v: ArrayLike,
    pred_f: ArrayLike,
    true_v: ArrayLike,
    true_f: ArrayLike,
    n: int = 30000,
    seed: int = 0,
    align: bool = True,
) -> dict[str, float]:
    """{'cd_cm2', 'f5', 'f10'} of a predicted surface against the true one, both in metres.

    cd_cm2: sum of the two mean squared nearest distances, cm^2, over n area-uniform points each. f5, f10:
    harmonic mean of precision and recall at 5 and 10 mm. `align` first fits the prediction by scale and
    translation (the field's protocol; report `align=False` beside it, for it hides errors of scale).
    """
    pred = sample_surface(pred_v, pred_f, n, seed)
    return chamfer_fscore_points(pred, sample_surface(true_v, true_f, n, seed + 1), align)


def chamfer_fscore_points(pred: F64, true: F64, align: bool = True) -> dict[str, float]:
    """`chamfer_fscore` of points (N, 3) that were sampled already (in random order: the alignment takes the first)."""
    if align:
        scale, _, translation, _ = similarity_icp(pred[:ICP_POINTS], true[:ICP_POINTS])
        pred = scale * pred + translation
    to_true, to_pred = cKDTree(true).query(pred)[0], cKDTree(pred).query(true)[0]
    return {
        "cd_cm2": float(((to_true**2).mean() + (to_pred**2).mean()) * CM2),
        "f5": _fscore(to_true, to_pred, 0.005),
        "f10": _fscore(to_true, to_pred, 0.010),
    }


def sample_surface(vertices: ArrayLike, faces: ArrayLike, n: int, seed: int) -> F64:
    """(n, 3) points uniform over the area. Raises BadMesh for an empty mesh or one without area."""
    vertices, faces = checked(vertices, faces)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not area.sum() > 0:
        raise BadMesh("the mesh has no surface: every face is degenerate")
    rng = np.random.default_rng(seed)
    face = rng.choice(len(faces), size=n, p=area / area.sum())
    u, v = rng.random((2, n, 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    return a[face] + u * (b - a)[face] + v * (c - a)[face]


def _fscore(to_true: F64, to_pred: F64, threshold: float) -> float:
    precision, recall = float((to_true < threshold).mean()), float((to_pred < threshold).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _dense_surface(vertices: F64, faces: I64, spacing: float) -> F64:
    """Points on every face no further than `spacing` apart."""
    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    steps = np.maximum(1, np.ceil(longest / spacing)).astype(int)
    points = []
    for count in np.unique(steps):
        i, j = np.indices((count + 1, count + 1)).reshape(2, -1)
        weights = np.stack([i, j, count - i - j], 1)[i + j <= count] / count
        points.append(np.einsum("pc,fcx->fpx", weights, corners[steps == count]).reshape(-1, 3))
    return np.concatenate(points)
