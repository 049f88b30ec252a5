"""Entropic optimal transport between two masks: a pull that reaches a target the silhouette does not overlap yet.

The two masks, averaged onto a coarse grid and normalised to mass 1, are compared by the debiased Sinkhorn
divergence with squared distance as cost (METHOD 2, stage A). On a grid the kernel exp(-|x - y|^2 / eps)
factors into rows and columns, so one iteration costs two small products in the log domain. By the envelope
theorem the gradient with respect to the mask is its dual potential: nothing is back-propagated through the
iterations.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from numba import njit
from torch import Tensor

from pipeline.errors import EmptyMask
from pipeline.types import F64

BLUR = 0.03  # image sides; eps = BLUR^2. Below about one grid cell the potentials turn into noise
COOLING = 0.6  # of the blur per iteration, in the first call
WARM_ITERATIONS = 2  # per later call: the silhouette moves little between two steps of an optimiser
NEGLIGIBLE = -40.0  # log of a term against the largest one of its sum
TINY = 1e-270  # a sum of products above it has lost nothing to underflow, which starts near 1e-308
FLOOR = 1e-12  # mass of an empty cell, so that its logarithm exists


class Sinkhorn:
    """Transport cost from a mask to a fixed target, in (image sides)^2; zero when the two are equal.

    target: (H, W) bool or float. grid: cells along the longer side. Calls are warm-started from the one
    before, so use one object per optimisation. Raises EmptyMask when the target has no pixels.
    """

    def __init__(self, target: Tensor, grid: int = 32) -> None:
        if not bool((target > 0).any()):
            raise EmptyMask("the target mask of the transport loss has no pixels")
        height, width = target.shape
        like = target if target.is_floating_point() else target.float()
        self._rows = _averaging(height, grid / max(height, width), like)
        self._columns = _averaging(width, grid / max(height, width), like)
        self._costs = _cost(len(self._rows), grid), _cost(len(self._columns), grid)
        self._kernels: dict[float, list[tuple[F64, F64]]] = {}  # costs and kernels of rows and columns, per eps
        self._b = _normalised(self._pool(like))
        self._log_b = _log(self._b)
        zero = np.zeros_like(self._log_b)
        self._self_b = zero
        for eps in _cooling():
            self._self_b = (self._self_b + self._softmin(self._log_b + self._self_b / eps, eps)) / 2
        self._f, self._g, self._self_a, self._started = zero, zero, zero, False

    def __call__(self, mask: Tensor) -> Tensor:
        """(H, W) in [0, 1] of the target's size -> scalar with a gradient to `mask`.

        A mask without any mass has no place to move from: its cost is a constant.
        """
        return cast(Tensor, _Transport.apply(mask, self))

    def with_gradient(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The cost of a mask without a graph, and its gradient at the mask (H, W)."""
        pooled = self._pool(mask.to(self._b.dtype))
        mass = pooled.sum()
        share = 1 / mass.clamp_min(FLOOR)
        a = pooled * share
        self._iterate(_log(a))
        on_a, on_b = (a.new_tensor(p) for p in (self._f - self._self_a, self._g - self._self_b))
        held = (a * on_a).sum()
        on_pooled = (on_a - held * (mass > FLOOR)) * share
        gradient = self._rows.T @ on_pooled @ self._columns
        return (held + (self._b * on_b).sum()).to(mask.dtype), gradient.to(mask.dtype)

    def _pool(self, mask: Tensor) -> Tensor:
        return self._rows @ mask @ self._columns.T

    def _iterate(self, log_a: F64) -> None:
        """Move the dual potentials f, g (a to b) and the symmetric one of a (a to a) towards optimality."""
        schedule = [BLUR**2] * WARM_ITERATIONS if self._started else _cooling()
        for eps in schedule:
            f = self._softmin(self._log_b + self._g / eps, eps)
            g = self._softmin(log_a + self._f / eps, eps)
            self._f, self._g = (self._f + f) / 2, (self._g + g) / 2
            self._self_a = (self._self_a + self._softmin(log_a + self._self_a / eps, eps)) / 2
        self._f = self._softmin(self._log_b + self._g / eps, eps)
        self._g = self._softmin(log_a + self._f / eps, eps)
        self._started = True

    def _softmin(self, h: F64, eps: float) -> F64:
        """-eps log sum_y exp(h(y) - |x - y|^2 / eps), one axis after the other."""
        if eps not in self._kernels:
            self._kernels[eps] = [(cost / eps, np.exp(-cost / eps)) for cost in self._costs]
        rows, columns = self._kernels[eps]
        over_columns = _log_sum_exp(h, *columns)
        return cast(F64, -eps * _log_sum_exp(np.ascontiguousarray(over_columns.T), *rows).T)


class _Transport(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, mask: Tensor, sinkhorn: Sinkhorn) -> Tensor:
        cost, ctx.gradient = sinkhorn.with_gradient(mask.detach())
        return cost

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0] * ctx.gradient, None


@njit(cache=True)
def _log_sum_exp(h, cost, kernel):  # type: ignore[no-untyped-def]
    """(R, X): log sum_y exp(h[r, y] - cost[x, y]), with kernel = exp(-cost), symmetric like cost.

    A product with the kernel where that does not underflow: exp and log once per cell, not per pair.
    """
    out = np.empty((h.shape[0], cost.shape[0]))
    sums = np.empty(cost.shape[0])
    for r in range(h.shape[0]):
        largest = h[r].max()
        sums[:] = 0.0
        for y in range(h.shape[1]):
            weight = math.exp(h[r, y] - largest)
            if weight > 0.0:
                for x in range(len(sums)):
                    sums[x] += weight * kernel[y, x]
        for x in range(len(sums)):
            out[r, x] = largest + math.log(sums[x]) if sums[x] > TINY else _log_sum_around(h[r], cost[x])
    return out


@njit(cache=True)
def _log_sum_around(h, cost):  # type: ignore[no-untyped-def]
    """log sum exp(h - cost) around its own largest term; most others are far below it and cost no exp."""
    largest = -np.inf
    for y in range(len(h)):
        largest = max(largest, h[y] - cost[y])
    total = 0.0
    for y in range(len(h)):
        below = h[y] - cost[y] - largest
        if below > NEGLIGIBLE:
            total += math.exp(below)
    return largest + math.log(total)


def _averaging(size: int, cells_per_pixel: float, like: Tensor) -> Tensor:
    """(cells, size): how much of every pixel falls into every cell; columns sum to 1, so mass is kept."""
    edge = torch.arange(size + 1, dtype=torch.float64, device=like.device) * cells_per_pixel
    cells = max(1, int(torch.ceil(edge[-1] - 1e-6)))
    cell = torch.arange(cells, dtype=torch.float64, device=like.device)[:, None]
    overlap = torch.minimum(edge[1:], cell + 1) - torch.maximum(edge[:-1], cell)
    return (overlap.clamp_min(0) / cells_per_pixel).to(like)


def _cost(cells: int, grid: int) -> F64:
    """(cells, cells) squared distance of cell centres, in units of the image's longer side."""
    x = (np.arange(cells) + 0.5) / grid
    return (x[:, None] - x[None, :]) ** 2


def _normalised(mass: Tensor) -> Tensor:
    return mass / mass.sum().clamp_min(FLOOR)


def _log(mass: Tensor) -> F64:
    return cast(F64, np.log(np.maximum(mass.cpu().double().numpy(), FLOOR)))


def _cooling() -> list[float]:
    """eps from the whole image down to BLUR^2, and twice more there."""
    blurs = [1.0]
    while blurs[-1] * COOLING > BLUR:
        blurs.append(blurs[-1] * COOLING)
    return [blur**2 for blur in blurs] + [BLUR**2] * 3
