"""Masks from a box and from points, on pictures whose things are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.segment.prompted import cut_at_points, cut_in_box

HEIGHT, WIDTH = 300, 420
MIDDLE, AXES = (230, 140), (70, 45)  # of the thing: an ellipse
BOX = (150.0, 85.0, 310.0, 195.0)


def scene(scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A red ellipse and a green disc on a grey ground, all noisy: RGB picture, mask of the ellipse."""
    rng = np.random.default_rng(5)
    picture = np.full((HEIGHT * scale, WIDTH * scale, 3), (110, 120, 140), dtype=np.float64)
    mask = np.zeros(picture.shape[:2], dtype=np.uint8)
    cv2.ellipse(mask, [scale * c for c in MIDDLE], [scale * a for a in AXES], 20, 0, 360, 1, -1)
    picture[mask == 1] = (190, 60, 40)
    cv2.circle(picture, (60 * scale, 230 * scale), 40 * scale, (60, 150, 70), -1)
    picture += rng.normal(0, 14, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), mask.astype(bool)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("scale", [1, 3])
def test_a_box_and_a_point_find_the_thing(scale: int) -> None:
    picture, truth = scene(scale)
    for mask in (
        cut_in_box(picture, tuple(scale * v for v in BOX)),
        cut_at_points(picture, [tuple(scale * c for c in MIDDLE)]),
    ):
        assert (mask.shape, mask.dtype) == (truth.shape, bool)
        assert iou(mask, truth) > 0.9


def test_the_same_prompt_gives_the_same_mask() -> None:
    picture, _ = scene()
    first = cut_in_box(picture, BOX), cut_at_points(picture, [MIDDLE])
    cv2.setRNGSeed(99)
    cut_in_box(picture, (20, 190, 110, 270))
    again = cut_in_box(picture, BOX), cut_at_points(picture, [MIDDLE])
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_box_in_any_direction() -> None:
    picture, _ = scene()
    x0, y0, x1, y1 = BOX
    assert np.array_equal(cut_in_box(picture, (x1, y1, x0, y0)), cut_in_box(picture, BOX))


def test_a_box_that_reaches_out_of_the_photo() -> None:
    picture, truth = scene()
    out = cut_in_box(picture[120:], (BOX[0], -500.0, BOX[2], BOX[3] - 120))  # the thing's upper part is not on it
    assert iou(out, truth[120:]) > 0.9


@pytest.mark.parametrize(
    "box",
    [
        (500, 10, 600, 90),  # beside the photo
        (-90, -90, -10, -10),
        (100, 100, 100, 200),  # no area
        (100, 100, 100.4, 100.4),
        (100, 100, 102, 102),  # too few pixels to know a colour by
        (0, 0, WIDTH, HEIGHT),  # nothing left to stand out from
        (-1e300, -1e300, 1e300, 1e300),
    ],
)
def test_boxes_that_hold_nothing(box: tuple[float, float, float, float]) -> None:
    mask = cut_in_box(scene()[0], box)
    assert mask.shape == (HEIGHT, WIDTH)
    assert not mask.any()


def test_points_beside_the_photo_find_nothing() -> None:
    picture, _ = scene()
    for points in ([], [(-3.0, 50.0)], [(WIDTH, 50.0)], [(50.0, HEIGHT + 900.0)], [(np.nan, 3.0)], [(np.inf, 3.0)]):
        assert not cut_at_points(picture, points).any(), points
    assert np.array_equal(cut_at_points(picture, [MIDDLE, (-9.0, 4.0)]), cut_at_points(picture, [MIDDLE]))


def test_points_in_the_corners_are_on_the_photo() -> None:
    picture, _ = scene()
    for x in (0.0, WIDTH - 0.01):
        for y in (0.0, HEIGHT - 0.01):
            assert cut_at_points(picture, [(x, y)]).any()


def test_two_points_give_two_things() -> None:
    picture, truth = scene()
    green = (60.0, 230.0)
    both = cut_at_points(picture, [MIDDLE, green])
    assert both[230, 60]
    assert both[MIDDLE[1], MIDDLE[0]]
    assert iou(both[:, 150:], truth[:, 150:]) > 0.9


def test_a_point_outside_takes_away() -> None:
    """A thing of two colours: with a point on the other colour, one of them is left."""
    picture, _ = scene()
    picture[85:195, 230:310] = np.where(scene()[1][85:195, 230:310, None], (40, 70, 200), picture[85:195, 230:310])
    left, right = (190.0, 135.0), (270.0, 145.0)
    whole = cut_at_points(picture, [left, right])
    part = cut_at_points(picture, [left], [right])
    assert whole[135, 190]
    assert whole[145, 270]
    assert part[135, 190]
    assert not part[140:150, 265:275].any()
    assert part.sum() < 0.8 * whole.sum()


def test_a_picture_of_one_colour() -> None:
    flat = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
    box = cut_in_box(flat, BOX)
    assert not box[:, : int(BOX[0])].any()  # what is outside of the box stays outside
    assert cut_at_points(flat, [MIDDLE])[MIDDLE[1], MIDDLE[0]]


def test_small_photos() -> None:
    small = cv2.resize(scene()[0], (33, 32))
    assert cut_in_box(small, (11, 8, 25, 22)).any()
    assert cut_at_points(small, [(18.0, 15.0)]).any()
