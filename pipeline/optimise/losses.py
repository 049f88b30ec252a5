"""The terms of METHOD 2 and their kin, each a few lines: masks, penetration, contact, order, priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch

from pipeline.geometry.camera import project, unprojected
from pipeline.geometry.raster import depth_map
from pipeline.optimise.view import View
from pipeline.types import F64, I64

SKIN = 0.004  # metres: skin this little behind the nearest surface still counts as the surface
MOST_WRONG = 0.03  # metres: the cost of a vertex on the wrong side of the object levels off here


def mask_miss(mask: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`1 - A.B / (|A| + |B| - A.B)` of two masks in [0, 1] (paper 3.4), 1 when both are empty, and its gradient at the
    first one; without a graph."""
    both = mask.flatten() @ target.flatten()
    either = (mask.sum() + target.sum() - both).clamp_min(1e-6)
    share = both / either
    return 1 - share, (target * (-(1 + share) / either)).add_(share / either)


def sloped(at: torch.Tensor, value: torch.Tensor, slope: Callable[[], torch.Tensor]) -> torch.Tensor:
    """A value computed without a graph as a function of the tensor `at`, where its gradient is `slope()`."""
    return cast(torch.Tensor, _Sloped.apply(at, value, slope))


class _Sloped(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, at: torch.Tensor, value: torch.Tensor, slope: Callable[[], torch.Tensor]) -> torch.Tensor:
        ctx.slope = slope
        return value

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return grads[0] * ctx.slope(), None, None


def penetration(distance: torch.Tensor, reduction: str) -> torch.Tensor:
    """`max(0, -d)` over all hand vertices, metres: the mean (the paper's) or the sum."""
    depth = (-distance).clamp_min(0)
    return depth.mean() if reduction == "mean" else depth.sum()


def contact(distance: torch.Tensor) -> torch.Tensor:
    """Sum of `max(0, d)` over contact-zone vertices, metres (paper 3.4)."""
    return distance.clamp_min(0).sum()


def grip(distance: torch.Tensor, zones: list[torch.Tensor], press: float, reach: float) -> torch.Tensor:
    """How far the nearest skin of each contact zone is from touching, metres, mean over the zones.

    Skin touches when it is `press` metres inside: flesh gives way. The cost levels off at `reach`, so a finger that
    is held away is not pulled in.
    """
    gaps = torch.stack([distance[ids].topk(min(5, len(ids)), largest=False).values.mean() for ids in zones])
    return reach * (1 - torch.exp(-(gaps + press).abs() / reach)).mean()


class Order:
    """What the photo shows in front: where hand and object overlap, the visible one is nearer to the camera."""

    def __init__(self, object_at_one: F64, faces: I64, view: View) -> None:
        depth = depth_map(object_at_one, faces, view.camera.K, *view.shape)
        self.overlap = torch.as_tensor(np.isfinite(depth), device=view.device)
        filled = np.where(np.isfinite(depth), depth, 0.0)
        self.depth = torch.as_tensor(filled, dtype=torch.float32, device=view.device)
        self.hand, self.object, self.shape = view.hand >= 0.5, view.object >= 0.5, view.shape

    def __call__(
        self, verts: torch.Tensor, pixels: torch.Tensor, scale: torch.Tensor, seen: torch.Tensor
    ) -> torch.Tensor:
        """Mean metres by which vertices (778, 3) are on the wrong side; `seen` (778,): not hidden by the hand."""
        x, y = (torch.as_tensor(i, device=pixels.device) for i in inside(pixels, self.shape))
        behind = verts[:, 2] - self.depth[y, x] * scale  # of the object's nearest surface
        wrong = torch.where(self.hand[y, x] & seen, behind, torch.where(self.object[y, x], -behind, 0.0))
        wrong = (wrong * self.overlap[y, x]).clamp_min(0)
        return MOST_WRONG * (1 - torch.exp(-wrong / MOST_WRONG)).mean()


def inside(pixels: torch.Tensor, shape: tuple[int, int]) -> tuple[I64, I64]:
    """Column and row of each (N, 2) point, held inside the picture."""
    at = np.floor(pixels.cpu().double().numpy()).astype(np.int64)
    return at[:, 0].clip(0, shape[1] - 1), at[:, 1].clip(0, shape[0] - 1)


def touching(distance: torch.Tensor, vertices: int = 5) -> torch.Tensor:
    """A part that must touch: the mean distance of its nearest vertices, metres."""
    return distance.topk(min(vertices, len(distance)), largest=False).values.abs().mean()


def clearance(distance: torch.Tensor, gap: float = 0.008) -> torch.Tensor:
    """A part that must not touch: how far its vertices are inside a safety gap, metres."""
    return (gap - distance).clamp_min(0).topk(min(5, len(distance))).values.mean()


def reprojection(
    joints: torch.Tensor, K: torch.Tensor, keypoints: torch.Tensor, hand_px: float, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Robust mean distance of projected joints (N, 3) to 2D keypoints, in hand sizes, quadratic below `tolerance`; and
    its gradient at the joints; without a graph."""
    error = (project(joints, K) - keypoints) / hand_px
    softened = (error.square().sum(1) + tolerance**2).sqrt()
    slope = error / (softened[:, None] * (hand_px * len(error)))
    return softened.mean() - tolerance, unprojected(slope, joints, K)
