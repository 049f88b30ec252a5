"""A solid of revolution as discs along an axis, and its mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.types import F64, I64

MESH_RINGS, MESH_SPOKES = 52, 52  # of the final mesh: 5400 faces
WALL = 0.05  # of a vessel's largest radius
SHARP = 0.7  # cosine of the turn of a profile that makes a corner
STEEP = 1.5  # slope of a profile; the shoulders of bottles stay below


@dataclass(frozen=True)
class Stack:
    """Discs along an axis, virtual camera frame, unit depth."""

    origin: F64  # (3,)
    axis: F64  # (3,) unit
    across: F64  # (3,) unit, in the picture's plane
    along: F64  # (n,) position of each disc
    radius: F64  # (n,)

    @property
    def slenderness(self) -> float:
        """Length over largest diameter."""
        return float(np.ptp(self.along) / (2 * self.radius.max()))

    @property
    def steps(self) -> float:
        """How much the radius jumps between the ends, in largest radii: 0 for what a lathe usually makes."""
        inner = slice(len(self.radius) // 12, -(len(self.radius) // 12) or None)
        jumps = np.abs(np.diff(self.radius[inner])) - STEEP * np.diff(self.along[inner])
        return float(np.maximum(jumps, 0).sum() / self.radius.max())

    @property
    def deep(self) -> F64:
        return np.cross(self.axis, self.across).astype(np.float64)

    def rings(self, spokes: int) -> F64:
        """(n, spokes, 3) points of the discs' rims."""
        return self.origin + self.along[:, None, None] * self.axis + self.radius[:, None, None] * self.spokes(spokes)

    def spokes(self, count: int) -> F64:
        """(count, 3) unit vectors around the axis."""
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]
        return np.asarray(np.cos(turn) * self.across + np.sin(turn) * self.deep, dtype=np.float64)


def mesh(stack: Stack, spokes: int) -> tuple[F64, I64]:
    """Rings joined by triangles, closed by a fan at each end, outward-oriented."""
    n = len(stack.along)
    ends = stack.origin + stack.along[[0, -1], None] * stack.axis
    vertices = np.concatenate([stack.rings(spokes).reshape(-1, 3), ends])
    ring, spoke = np.meshgrid(np.arange(n - 1), np.arange(spokes), indexing="ij")
    a, b = (ring * spokes + spoke).ravel(), (ring * spokes + (spoke + 1) % spokes).ravel()
    side = np.concatenate([np.stack([a, b, a + spokes], 1), np.stack([b, b + spokes, a + spokes], 1)])
    turn = np.arange(spokes)
    following, last = (turn + 1) % spokes, (n - 1) * spokes
    bottom = np.stack([following, turn, np.full(spokes, n * spokes)], 1)
    top = np.stack([last + turn, last + following, np.full(spokes, n * spokes + 1)], 1)
    return vertices, np.concatenate([side, bottom, top])


def hollowed(stack: Stack) -> Stack:
    """The same as a vessel: up the outside, over the brim at the wider end, down the inside to the floor."""
    if stack.radius[0] > stack.radius[-1]:
        turned = Stack(stack.origin, -stack.axis, -stack.across, -stack.along[::-1], stack.radius[::-1])
        return hollowed(turned)
    wall = WALL * float(stack.radius.max())
    cavity = stack.along > stack.along[0] + wall
    along = np.concatenate([stack.along, stack.along[cavity][::-1]])
    radius = np.concatenate([stack.radius, np.maximum(stack.radius[cavity][::-1] - wall, wall)])
    return Stack(stack.origin, stack.axis, stack.across, along, radius)


def even(stack: Stack) -> Stack:
    """Rings evenly along the profile, end discs included, so that the caps carry vertices for the texture."""
    along = np.concatenate([stack.along[:1], stack.along, stack.along[-1:]])
    tip = 0.04 * stack.radius.max()
    radius = np.concatenate([[min(tip, stack.radius[0] / 2)], stack.radius, [min(tip, stack.radius[-1] / 2)]])
    steps = np.stack([np.diff(along), np.diff(radius)], 1)
    walked = np.concatenate([[0], np.cumsum(np.linalg.norm(steps, axis=1))])
    rings = round(MESH_RINGS * max(1.0, 0.8 * walked[-1] / (np.ptp(along) + 2 * radius.max())))
    at = np.linspace(0, walked[-1], rings)
    # keep the corners of the rims: an even spacing would bevel them
    heading = steps / (np.linalg.norm(steps, axis=1, keepdims=True) + 1e-12)
    for corner in walked[1:-1][(heading[1:] * heading[:-1]).sum(1) < SHARP]:
        at[np.abs(at - corner).argmin()] = corner
    at = np.unique(at)
    return Stack(stack.origin, stack.axis, stack.across, np.interp(at, walked, along), np.interp(at, walked, radius))
