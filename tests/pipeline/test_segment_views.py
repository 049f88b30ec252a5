"""Where the foreground network looks."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.segment.foreground import FULL_SIDES, views

HEIGHT, WIDTH = 360, 640


def hand(extent: float) -> np.ndarray:
    """(21, 2) keypoints around (300, 180), `extent` pixels high."""
    return np.column_stack([np.full(21, 300.0), 180 + np.linspace(-extent / 2, extent / 2, 21)])


def test_a_large_object_in_a_small_hand_is_seen_whole() -> None:
    """A board of five hands' breadth: a look that ends within it would end the board there."""
    looks = views(HEIGHT, WIDTH, [hand(50)])
    whole = [v for v in looks if v.y1 - v.y0 < HEIGHT and v.y0 <= 180 - 25 and v.y1 >= 180 + 125]
    assert len(whole) == 1
    assert len(looks) == len(FULL_SIDES) + 3


@pytest.mark.parametrize(("extent", "crops"), [(130, 1), (300, 0)])
def test_a_hand_that_fills_the_photo_needs_few_crops(extent: float, crops: int) -> None:
    looks = views(HEIGHT, WIDTH, [hand(extent)])
    assert len(looks) == len(FULL_SIDES) + crops
    assert all(0 <= v.x0 < v.x1 <= WIDTH and 0 <= v.y0 < v.y1 <= HEIGHT for v in looks)
