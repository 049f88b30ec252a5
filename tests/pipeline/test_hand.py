"""The hand without torch is the hand with gradients."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from pipeline.hand_model import load_hand
from pipeline.hand_model.hand import read_hand
from pipeline.types import PARTS, HandPose, Side


@pytest.mark.parametrize("side", get_args(Side))
def test_both_put_a_pose_at_the_same_place(side: Side) -> None:
    rng = np.random.default_rng(4)
    plain, with_gradients = read_hand(side), load_hand(side)
    for spread in (0.0, 0.3, 1.5):
        turns, betas = rng.normal(size=48) * spread, rng.normal(size=10) * spread
        pose = HandPose(side, turns[:3], turns[3:], betas, np.array([0.1, -0.2, 0.6]))
        for own, other in zip(plain.posed(pose), with_gradients.posed(pose), strict=True):
            np.testing.assert_allclose(own, other, atol=1e-6)
    for part in PARTS:
        assert (plain.zone_vertices(part) == with_gradients.zone_vertices(part)).all()
    assert (plain.faces == with_gradients.faces).all()
