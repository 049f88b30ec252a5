"""How far a hand's joints can bend, as a soft penalty on MANO-layout articulation.

Ranges are for the right hand of the canonical frame (fingers -x, dorsal +y, thumb +z): a finger curls about +z,
spreads about y and twists about x. The left hand is the mirror image: its y and z rotations change sign.
"""

from __future__ import annotations

import numpy as np
import torch

from pipeline.types import HandPose, Side

_MCP = ((-0.6, 0.4), (-0.35, 0.35), (-0.4, 1.65))  # twist, spread, curl in radians
_PIP = ((-0.6, 0.3), (-0.12, 0.12), (-0.1, 1.95))
_DIP = ((-0.4, 0.3), (-0.12, 0.12), (-0.15, 1.45))
_THUMB = (
    ((-0.3, 1.3), (-0.6, 0.6), (-0.5, 0.6)),
    ((-0.5, 0.8), (-0.6, 0.3), (-0.4, 0.5)),
    ((-0.5, 1.0), (-0.7, 0.4), (-0.3, 0.6)),
)
_RANGES = np.array([*([_MCP, _PIP, _DIP] * 4), *_THUMB])  # (15, 3, 2), MANO joint order
_MIRROR = np.array([1.0, -1.0, -1.0])


def joint_limits(side: Side) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower and upper bounds of `hand_pose`, each (45,) radians."""
    low, high = _RANGES[..., 0], _RANGES[..., 1]
    if side == "left":
        low, high = np.minimum(low * _MIRROR, high * _MIRROR), np.maximum(low * _MIRROR, high * _MIRROR)
    return torch.as_tensor(low.ravel(), dtype=torch.float32), torch.as_tensor(high.ravel(), dtype=torch.float32)


def beyond_limits(hand_pose: torch.Tensor, limits: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """(..., 45) radians by which each joint angle exceeds its range, zero inside."""
    low, high = limits
    return (low - hand_pose).clamp_min(0) + (hand_pose - high).clamp_min(0)


def beyond_limits_deg(hand: HandPose) -> float:
    """Degrees by which the joint angle that is worst exceeds its range; 0: none does."""
    return float(torch.rad2deg(beyond_limits(torch.as_tensor(hand.hand_pose), joint_limits(hand.side)).max()))
