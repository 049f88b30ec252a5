"""The terms of METHOD 2, each a few lines: masks, penetration, contact, priors."""

from __future__ import annotations

import torch


def soft_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """`A.B / (|A| + |B| - A.B)` of two masks in [0, 1] (paper 3.4); 0 when both are empty."""
    both = (a * b).sum()
    return both / (a.sum() + b.sum() - both).clamp_min(1e-6)


def visible_hand(silhouette: torch.Tensor, cover: torch.Tensor) -> torch.Tensor:
    """What can be seen of a rendered hand: wherever the photo shows the object, the object is in front, and where
    it shows the forearm the model's wrist stump says nothing."""
    return silhouette * (1 - cover)


def penetration(distance: torch.Tensor, reduction: str) -> torch.Tensor:
    """`max(0, -d)` over all hand vertices, metres: the mean (the paper's) or the sum."""
    depth = (-distance).clamp_min(0)
    return depth.mean() if reduction == "mean" else depth.sum()


def contact(distance: torch.Tensor) -> torch.Tensor:
    """Sum of `max(0, d)` over contact-zone vertices, metres (paper 3.4)."""
    return distance.clamp_min(0).sum()


def touching(distance: torch.Tensor, vertices: int = 5) -> torch.Tensor:
    """A part that must touch: the mean distance of its nearest vertices, metres."""
    return distance.topk(min(vertices, len(distance)), largest=False).values.abs().mean()


def clearance(distance: torch.Tensor, gap: float = 0.008) -> torch.Tensor:
    """A part that must not touch: how far its vertices are inside a safety gap, metres."""
    return (gap - distance).clamp_min(0).topk(min(5, len(distance))).values.mean()


def reprojection(joints_px: torch.Tensor, keypoints: torch.Tensor, hand_px: float) -> torch.Tensor:
    """Robust mean distance of projected joints to 2D keypoints, in hand sizes."""
    error = (joints_px - keypoints).norm(dim=-1) / hand_px
    return (torch.sqrt(error**2 + 0.02**2) - 0.02).mean()
