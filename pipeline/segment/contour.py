"""The paper's contour-guided filter: what is held touches the hand (METHOD 1.1)."""

from __future__ import annotations

import numpy as np

from pipeline.segment.scene import components, distance_to
from pipeline.types import Mask

ADJACENT = 0.012  # metres between the contours of object and hand


def touching(object_mask: Mask, hand_mask: Mask, reach_px: float) -> Mask:
    """`object_mask` (H, W) without the components whose contour is farther than `reach_px` from the hand's.

    A component is kept or dropped as a whole. The answer is the object of every later stage, not only a prompt.
    """
    labels, _ = components(object_mask)
    near = np.unique(labels[(distance_to(hand_mask) <= reach_px) & (labels > 0)])
    return np.asarray(np.isin(labels, near) & (labels > 0))
