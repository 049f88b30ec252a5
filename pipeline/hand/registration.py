"""Closed-form placements of a rigid set of joints: onto 3D points, onto a picture, in depth."""

from __future__ import annotations

import numpy as np

from pipeline.types import F64


def rotation_to(ray: F64) -> F64:
    """(3, 3) shortest rotation that turns the camera's axis (0, 0, 1) onto a ray."""
    x, y, z = ray / np.linalg.norm(ray)
    cross = np.array([[0, 0, x], [0, 0, y], [-x, -y, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + z), np.float64)


def kabsch(source: F64, target: F64) -> F64:
    """(3, 3) rotation that best turns centred (N, 3) source points onto centred target points (Kabsch 1976)."""
    u, _, vt = np.linalg.svd((source - source.mean(0)).T @ (target - target.mean(0)))
    sign = np.sign(np.linalg.det(vt.T @ u.T))
    return np.asarray(vt.T @ np.diag([1.0, 1.0, sign]) @ u.T, np.float64)


def orthographic_rotation(points: F64, pixels: F64) -> F64:
    """(3, 3) rotation under which (N, 3) points look most like (N, 2) pixels, seen from afar.

    The other rotation that looks the same, for points near a plane, is its mirror image in depth.
    """
    affine = np.linalg.lstsq(points - points.mean(0), pixels - pixels.mean(0), rcond=None)[0].T
    u, _, vt = np.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    return np.vstack([rows, np.cross(rows[0], rows[1])])


def place_in_depth(points: F64, pixels: F64, K: F64) -> F64:
    """(3,) metres: the translation that best projects (N, 3) points onto (N, 2) pixels (linear least squares)."""
    offset = (pixels - K[:2, 2]) / K[0, 0]  # the rays' slopes
    count = len(points)
    system = np.zeros((2 * count, 3))
    system[:count, 0] = system[count:, 1] = 1
    system[:, 2] = -offset.T.ravel()
    known = np.concatenate([offset[:, i] * points[:, 2] - points[:, i] for i in (0, 1)])
    transl = np.linalg.lstsq(system, known, rcond=None)[0]
    if transl[2] + points[:, 2].min() <= 0:  # hopeless keypoints: put the hand at arm's length on the mean ray
        transl = 0.5 * np.array([*offset.mean(0), 1.0])
    return np.asarray(transl, np.float64)
