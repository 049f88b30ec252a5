"""The cut that follows the picture's edges, and the clean-up of masks, on drawn pictures."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.segment.cut import LIMIT, cut
from pipeline.segment.scene import signed_distance, without_thin_holes
from pipeline.types import F64, Mask


def disc(size: int, x: float, y: float, radius: float) -> Mask:
    rows, columns = np.mgrid[:size, :size]
    return np.asarray(np.hypot(columns - x, rows - y) <= radius)


def picture(shape: Mask) -> F64:
    """Lab colours of a brown shape on grey, with grain."""
    lab = np.where(shape[..., None], (60.0, 15.0, 25.0), (50.0, 0.0, 0.0))
    return np.asarray(lab + np.random.default_rng(0).normal(0, 1.5, lab.shape))


def test_cut_moves_a_contour_to_the_edge() -> None:
    shape = disc(120, 60, 60, 30)
    guess = disc(120, 63, 60, 31)
    found = cut(picture(shape), signed_distance(guess) / 3, certain=True)
    assert (found ^ shape).sum() < 0.25 * (guess ^ shape).sum()


def test_cut_closes_speckle_inside_one_colour() -> None:
    shape = disc(120, 60, 60, 30)
    odds = np.where(shape, 2.0, -2.0)
    odds[np.random.default_rng(1).random(odds.shape) < 0.1] *= -1
    assert (cut(picture(shape), odds) ^ shape).sum() < 0.02 * shape.sum()


def test_certain_pixels_stay_whatever_the_picture_says() -> None:
    flat = np.full((60, 60, 3), 50.0)
    odds = np.full((60, 60), -LIMIT)
    odds[30, 30] = LIMIT
    found = cut(flat, odds, certain=True)
    assert found[30, 30]
    assert found.sum() == 1


def test_nothing_likely_gives_nothing() -> None:
    flat = np.full((20, 20, 3), 50.0)
    assert not cut(flat, np.full((20, 20), -1.0)).any()
    assert cut(flat, np.full((20, 20), 1.0)).all()


def test_signed_distance_counts_from_both_sides() -> None:
    row = signed_distance(np.array([[False, False, True, True, True]]))
    assert row[0].tolist() == [-2.0, -1.0, 1.0, 2.0, 3.0]


def test_prints_on_a_glove_are_filled_and_the_gap_under_a_thumb_is_not() -> None:
    glove = disc(200, 100, 100, 80)
    printed = glove.copy()
    letters = np.zeros((200, 200), np.uint8)
    cv2.putText(letters, "M 13", (50, 80), cv2.FONT_HERSHEY_SIMPLEX, 1, 1, 2)
    printed &= letters == 0
    gap = disc(200, 100, 130, 12)
    filled = without_thin_holes(printed & ~gap, radius=4)
    assert (filled ^ (glove & ~gap)).sum() == 0
