"""Mirror axes of a silhouette, found by folding it (principal axes miss them on short or handled objects)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy.optimize import minimize

from pipeline.reconstruct.view import SIZE, View
from pipeline.types import F64, Mask

COARSE, FINE = 48, 96  # pixels; enough to rank axes, enough to place them
ANGLES = np.deg2rad(np.arange(0, 180, 4.0))
OFFSETS = np.linspace(-0.18, 0.18, 13)  # of the side: a handle moves the middle of the box off the axis
DISTINCT = np.deg2rad(24)


class MirrorAxis(NamedTuple):
    """A line in the view: direction (cos, sin) of `angle`, at signed distance `offset` from the view's middle."""

    angle: float  # radians, 0..pi
    offset: float  # pixels along the normal (-sin, cos)
    iou: float  # overlap of the silhouette with its mirror image


def mirror_axes(view: View, count: int = 3) -> list[MirrorAxis]:
    """The best distinct mirror axes, best first."""
    small, known = _shrunk(view.mask, COARSE), _shrunk(view.known, COARSE)
    scores = np.array([[_fold(small, known, a, o * COARSE) for o in OFFSETS] for a in ANGLES])
    axes: list[MirrorAxis] = []
    for index in np.argsort(-scores.max(1), kind="stable")[: 6 * count]:
        angle, offset = float(ANGLES[index]), float(OFFSETS[scores[index].argmax()]) * SIZE
        if len(axes) == count or any(_apart(angle, axis.angle) < DISTINCT for axis in axes):
            continue
        axis = _refined(view, angle, offset)
        if all(_apart(axis.angle, other.angle) > DISTINCT / 2 for other in axes):
            axes.append(axis)
    return sorted(axes, key=lambda axis: -axis.iou)


def _refined(view: View, angle: float, offset: float) -> MirrorAxis:
    mask, known = _shrunk(view.mask, FINE), _shrunk(view.known, FINE)
    scale = FINE / SIZE
    simplex = np.array([[angle, offset], [angle + 0.05, offset], [angle, offset + 3.0]])
    found = minimize(
        lambda x: -_fold(mask, known, x[0], x[1] * scale),
        simplex[0],
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": 40, "xatol": 0.003, "fatol": 1e-4},
    )
    return MirrorAxis(float(found.x[0]), float(found.x[1]), float(-found.fun))


def _shrunk(mask: Mask, size: int) -> np.ndarray:
    return np.asarray(cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA))


def _fold(mask: np.ndarray, known: np.ndarray, angle: float, offset: float) -> float:
    """Soft IoU of a mask with its mirror image, over pixels known on both sides."""
    size = mask.shape[0]
    mirror = mirror_matrix(angle, offset, size)
    both = known * cv2.warpAffine(known, mirror, (size, size))
    a, b = mask * both, cv2.warpAffine(mask, mirror, (size, size)) * both
    return float(np.minimum(a, b).sum() / max(float(np.maximum(a, b).sum()), 1e-6))


def mirror_matrix(angle: float, offset: float, size: int) -> F64:
    """(2, 3) reflection at the axis, in OpenCV's pixel indices of a square picture."""
    normal = np.array([-np.sin(angle), np.cos(angle)])
    reflect = np.eye(2) - 2 * np.outer(normal, normal)
    middle = np.full(2, size / 2 - 0.5) + offset * normal
    return np.concatenate([reflect, (middle - reflect @ middle)[:, None]], 1)


def mirrored(field: F64, axis: MirrorAxis) -> F64:
    """A (S, S) field reflected at the axis; the edge's value beyond the view."""
    matrix = mirror_matrix(axis.angle, axis.offset, field.shape[0])
    flipped = cv2.warpAffine(field, matrix, field.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(flipped, dtype=np.float64)


def _apart(a: float, b: float) -> float:
    """Angle between two undirected lines."""
    difference = abs(a - b) % np.pi
    return min(difference, np.pi - difference)


def elongation(mask: Mask, angle: float) -> float:
    """Length of a silhouette along a direction over its width across it."""
    ys, xs = np.nonzero(mask)
    along = xs * np.cos(angle) + ys * np.sin(angle)
    across = ys * np.cos(angle) - xs * np.sin(angle)
    return float((np.ptp(along) + 1) / (np.ptp(across) + 1))
