"""Signed distances of moving points, searched anew only where they matter."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.geometry.sdf import SignedDistance


class NearDistance:
    """Signed distance of the same points from step to step; exact for the `wanted` ones and for all that are inside.

    A point that was d outside and has since moved less than d is still outside: it gets what is left of d, a lower
    bound without gradient. Most of a hand is far from the object, and far points cost a search tree the most.
    """

    def __init__(self, exact: SignedDistance, wanted: Tensor) -> None:
        self.exact, self.wanted = exact, wanted  # wanted: (N,) bool
        self.points = wanted.new_zeros((0, 3), dtype=torch.float32)
        self.distance = wanted.new_zeros(0, dtype=torch.float32)

    def __call__(self, points: Tensor) -> Tensor:
        """(N, 3) -> (N,), units of the mesh."""
        now = points.detach()
        if len(self.points) != len(now):
            distance = self.exact(points)
            self.points, self.distance = now, distance.detach()
            return distance
        left = self.distance - (now - self.points).norm(dim=1)
        asked = (left <= 0) | self.wanted
        found = self.exact(points[asked])
        self.points = torch.where(asked[:, None], now, self.points)
        self.distance = self.distance.index_put((asked,), found.detach())
        return left.index_put((asked,), found)
