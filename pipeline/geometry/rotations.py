"""Rotation vectors in compiled loops: their matrices, and how these change."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

STILL = 1e-4  # radians: below this angle the quotients of Rodrigues' formula are those of this angle


@njit(cache=True)
def rotation(vector):  # type: ignore[no-untyped-def]
    """(3,) axis times radians -> (3, 3)."""
    angle = _angle(vector)
    return _series(vector, math.sin(angle) / angle, (1 - math.cos(angle)) / angle**2)


@njit(cache=True)
def left_jacobian(vector):  # type: ignore[no-untyped-def]
    """(3, 3) J: a change dw of a rotation vector w turns what w has turned by J dw, d exp(w) = [J dw]x exp(w)."""
    angle = _angle(vector)
    return _series(vector, (1 - math.cos(angle)) / angle**2, (angle - math.sin(angle)) / angle**3)


@njit(cache=True)
def _angle(vector):  # type: ignore[no-untyped-def]
    return max(math.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2), STILL)


@njit(cache=True)
def _series(vector, first, second):  # type: ignore[no-untyped-def]
    """I + first X + second X X, X the cross product with the vector."""
    x, y, z = vector
    out = np.empty((3, 3))
    out[0, 0], out[1, 1] = 1 - second * (y * y + z * z), 1 - second * (x * x + z * z)
    out[2, 2] = 1 - second * (x * x + y * y)
    out[0, 1], out[1, 0] = second * x * y - first * z, second * x * y + first * z
    out[0, 2], out[2, 0] = second * x * z + first * y, second * x * z - first * y
    out[1, 2], out[2, 1] = second * y * z - first * x, second * y * z + first * x
    return out
