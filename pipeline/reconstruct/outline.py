"""The inner loop of the cuboid fit, compiled: outline distances, the prior over cartons, small rotations."""

from __future__ import annotations

import numpy as np
from numba import njit

FLATTEST, DEEPEST = np.log(0.25), np.log(1.2)  # the side along the view over the shorter other side
THIN_PRIOR, THIN_SPREAD = np.log(0.55), 0.5  # shortest over middle side of cartons
HULL_SAMPLES = 72  # points along the polygon's outline, compared with the silhouette's distance field


@njit(cache=True)  # type: ignore[untyped-decorator]
def convex_hull(points):  # type: ignore[no-untyped-def]
    """(h, 2) the hull of a few points (monotone chain), in one turning sense."""
    n = len(points)
    order = np.argsort(points[:, 0] + 1e-9 * points[:, 1])
    chain = np.empty((2 * n, 2))
    k = 0
    for sweep in range(2):
        floor = k if sweep else 1
        for i in range(sweep, n):
            p = points[order[i]] if sweep == 0 else points[order[n - 1 - i]]
            while k > floor:
                a, b = chain[k - 2], chain[k - 1]
                if (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0:
                    break
                k -= 1
            chain[k] = p
            k += 1
    return chain[: k - 1]


@njit(cache=True)  # type: ignore[untyped-decorator]
def outline_residuals(corners, contour, weight, distance, soft):  # type: ignore[no-untyped-def]
    """(N + HULL_SAMPLES,) pixels: contour points to the hull (positive outside), then the hull to the mask.

    corners: (C, 2) pixels; contour: (N, 2) pixels; weight: (N,); distance: (S, S) positive inside the mask;
    soft: pixels beyond which a residual counts linearly.
    """
    hull = convex_hull(corners)
    n, h = len(contour), len(hull)
    out = np.empty(n + HULL_SAMPLES)
    for i in range(n):
        nearest, inside = 1e12, True
        for j in range(h):
            ax, ay = hull[j]
            bx, by = hull[(j + 1) % h]
            ex, ey, px, py = bx - ax, by - ay, contour[i, 0] - ax, contour[i, 1] - ay
            along = min(1.0, max(0.0, (px * ex + py * ey) / (ex * ex + ey * ey + 1e-12)))
            gap = np.hypot(px - along * ex, py - along * ey)
            nearest = min(nearest, gap)
            if ex * py - ey * px < 0:
                inside = False
        out[i] = weight[i] * (-nearest if inside else nearest)
    _hull_to_mask(hull, distance, out[n:])
    for i in range(len(out)):  # the signed square root of the soft-L1 loss
        out[i] = np.sign(out[i]) * soft * np.sqrt(2 * (np.sqrt(1 + (out[i] / soft) ** 2) - 1))
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _hull_to_mask(hull, distance, out):  # type: ignore[no-untyped-def]
    h, size = len(hull), distance.shape[0]
    length = 0.0
    for j in range(h):
        length += np.hypot(hull[(j + 1) % h, 0] - hull[j, 0], hull[(j + 1) % h, 1] - hull[j, 1])
    step, walked, j, at = length / HULL_SAMPLES, 0.0, 0, 0.0
    for i in range(HULL_SAMPLES):
        goal = (i + 0.5) * step
        while True:
            side = np.hypot(hull[(j + 1) % h, 0] - hull[j, 0], hull[(j + 1) % h, 1] - hull[j, 1])
            if walked + side >= goal or j == h - 1:
                break
            walked += side
            j += 1
        at = min(1.0, (goal - walked) / (side + 1e-12))
        x = hull[j, 0] + at * (hull[(j + 1) % h, 0] - hull[j, 0])
        y = hull[j, 1] + at * (hull[(j + 1) % h, 1] - hull[j, 1])
        beyond = max(0.0, -x, x - size) + max(0.0, -y, y - size)
        x = min(max(x - 0.5, 0.0), size - 1.001)
        y = min(max(y - 0.5, 0.0), size - 1.001)
        c, r = int(x), int(y)
        u, v = x - c, y - r
        top = distance[r, c] * (1 - u) + distance[r, c + 1] * u
        low = distance[r + 1, c] * (1 - u) + distance[r + 1, c + 1] * u
        out[i] = top * (1 - v) + low * v - beyond


@njit(cache=True)  # type: ignore[untyped-decorator]
def carton_prior(rotation, log_sides):  # type: ignore[no-untyped-def]
    """(3,) sigmas away from a usual carton: too thin, too flat along the view, too deep along the view."""
    short, middle, _ = np.sort(log_sides)
    along_view = int(np.abs(rotation[2]).argmax())
    a, b = log_sides[(along_view + 1) % 3], log_sides[(along_view + 2) % 3]
    depth = log_sides[along_view]
    out = np.empty(3)
    out[0] = (short - middle - THIN_PRIOR) / THIN_SPREAD
    out[1] = max(0.0, FLATTEST - (depth - min(a, b))) / 0.15
    out[2] = max(0.0, depth - min(a, b) - DEEPEST) / 0.25
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def turned(axis_angle, rotation):  # type: ignore[no-untyped-def]
    """(3, 3) a rotation followed by a further one, axis-angle (3,)."""
    angle = np.sqrt((axis_angle**2).sum())
    if angle < 1e-12:
        return rotation.copy()
    x, y, z = axis_angle / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)) @ rotation
