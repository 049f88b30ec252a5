"""Tapered cylinders and eggs fitted to the outline by robust least squares.

Cans, cups and fruit are these; their few parameters bridge the bites and bulges of a poor mask, which a
free profile would copy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from pipeline.reconstruct.outline import outline_residuals
from pipeline.reconstruct.stack import Stack
from pipeline.reconstruct.symmetry import MirrorAxis
from pipeline.reconstruct.view import SIZE, View
from pipeline.types import F64

SOFT = 2.0  # pixels; beyond it an outline's error counts linearly
RINGS = 64  # of the returned stack
START_TILTS = np.deg2rad([-35, -12, 12, 35])  # at 0 the outline does not say which way to tilt
TILT_PIXELS = 1.0  # what a tilt of one radian costs a cylinder; an egg's tilt is invisible and stays 0


class Solid(NamedTuple):
    """A fitted solid and the axis it was fitted with."""

    stack: Stack
    axis: MirrorAxis
    tilt: float


def fit_solids(view: View, axes: list[MirrorAxis]) -> list[Solid]:
    """The best tapered cylinder for every axis and sense of tilt, and the best egg for every axis."""
    solids = []
    for axis in axes:
        for senses in (START_TILTS[:2], START_TILTS[2:]):
            runs = [_fit(view, axis, float(tilt), False) for tilt in senses]
            solids.append(min(runs, key=lambda run: run[0])[1])
        solids.append(_fit(view, axis, 0.0, True)[1])
    return solids


def _fit(view: View, axis: MirrorAxis, tilt: float, egg: bool) -> tuple[float, Solid]:
    """Least squares between both outlines; returns (cost, solid)."""
    contour = np.ascontiguousarray(view.contour[::2])
    weight = np.ascontiguousarray(view.edge_weight[::2])
    distance = view.outline_pull
    rings, spokes = (9, 16) if egg else (2, 28)
    tilt_cost = 1e3 if egg else TILT_PIXELS

    def residuals(x: F64) -> F64:
        points = _stack(x, axis, egg, rings).rings(spokes).reshape(-1, 3)
        outline = outline_residuals(view.project(points), contour, weight, distance, SOFT)
        return np.append(outline, tilt_cost * x[2])

    x0 = _start(view, axis, tilt)
    bound = np.array([0.5, 0.25 * SIZE / view.focal, 2.0, 0.3 * SIZE / view.focal, 1.0, 2.0, 2.0])
    low, high = x0 - bound, x0 + bound
    low[2], high[2] = np.deg2rad(-62), np.deg2rad(62)
    found = least_squares(residuals, x0, bounds=(low, high), max_nfev=25, ftol=1e-4, xtol=1e-4)
    x = found.x
    moved = MirrorAxis(axis.angle + float(x[0]), float(x[1]) * view.focal, axis.iou)
    return float(found.cost), Solid(_stack(x, axis, egg, RINGS), moved, float(x[2]))


def _start(view: View, axis: MirrorAxis, tilt: float) -> F64:
    """(7,) turn of the axis, offset, tilt, middle, log half length, log radius at either end."""
    cos, sin = np.cos(axis.angle), np.sin(axis.angle)
    centred = (view.contour - SIZE / 2) / view.focal
    along = centred @ np.array([cos, sin])
    across = np.abs(centred @ np.array([-sin, cos]) - axis.offset / view.focal)
    middle, half = (along.max() + along.min()) / 2, np.ptp(along) / 2
    first, last = across[along < middle].max(), across[along >= middle].max()
    half = max((half - min(first, last) * abs(np.sin(tilt))) / np.cos(tilt), 0.15 * half)
    return np.array(
        [0.0, axis.offset / view.focal, tilt, middle / np.cos(tilt), np.log(half), np.log(first), np.log(last)]
    )


def _stack(x: F64, axis: MirrorAxis, egg: bool, rings: int) -> Stack:
    cos, sin = np.cos(axis.angle + x[0]), np.sin(axis.angle + x[0])
    direction = np.array([cos * np.cos(x[2]), sin * np.cos(x[2]), np.sin(x[2])])
    across = np.array([-sin, cos, 0.0])
    origin = np.array([0.0, 0.0, 1.0]) + x[1] * across
    place = -np.cos(np.linspace(0, np.pi, rings + 2)[1:-1]) if egg else np.linspace(-1, 1, rings)
    radius = np.exp(x[5]) * (1 - place) / 2 + np.exp(x[6]) * (1 + place) / 2
    if egg:
        radius = radius * np.sqrt(1 - place**2)
    return Stack(origin, direction, across, x[3] + np.exp(x[4]) * place, radius)
