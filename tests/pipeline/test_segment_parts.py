"""Objects that a hand divides, and hands that hide their own forearm: drawn masks, every pixel's owner known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.segment.landmark import segment_scene
from pipeline.segment.object_mask import Grasp, choose_object
from pipeline.segment.scene import Scene, dilate
from pipeline.types import HandDetection, Mask, Masks, Photo

HEIGHT, WIDTH, METRE = 480, 640, 1600.0
SKIN, STEEL, WALL = (205, 150, 120), (40, 90, 170), (110, 125, 115)


def block(x0: int, y0: int, x1: int, y1: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def photo(*layers: tuple[Mask, tuple[int, int, int]]) -> Photo:
    image = np.full((HEIGHT, WIDTH, 3), WALL, np.float64)
    for mask, colour in layers:
        image[mask] = colour
    image += np.random.default_rng(3).normal(0, 4, image.shape)
    return Photo("drawn.png", "0" * 64, np.clip(image, 0, 255).astype(np.uint8))


def soft(mask: Mask) -> np.ndarray:
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2)


def chosen(hand: Mask, arm: Mask, seen: Mask, between: Mask) -> Mask:
    """The object among parts that stand out beside a hand and its forearm."""
    scene = Scene.of(photo((seen, STEEL), (hand, SKIN), (arm, SKIN)), [])
    taken = hand | arm
    grasp = Grasp(hand, arm, taken, dilate(taken, 5), between, METRE)
    return choose_object(scene, grasp, soft(seen | taken)[None])[0]


FIST, ARM = block(300, 180, 400, 300), block(320, 300, 380, 480)
LOOP = block(120, 180, 300, 300) & ~block(145, 205, 275, 275)  # a handle's opening is more than half of its hull
BLADE = block(400, 230, 482, 250)


def test_a_thing_with_an_opening_is_one_object_on_both_sides_of_the_fist() -> None:
    """Scissors: the loops fill little of their hull, with the blade no less; a part of its own is not the object."""
    found = chosen(FIST, ARM, LOOP | BLADE, block(300, 190, 400, 290))
    assert (found & LOOP).sum() > 0.9 * LOOP.sum()
    assert (found & BLADE).sum() > 0.9 * BLADE.sum()


# A left hand from the front, the wrist behind the knuckles, the fingers bent towards the viewer and down.
FRONT = np.array(
    [
        *[(320, 210)],
        *[(275, 225), (258, 250), (262, 275), (275, 292)],
        *[(280, 175), (272, 215), (276, 250), (285, 278)],
        *[(310, 165), (308, 215), (308, 255), (312, 285)],
        *[(340, 168), (345, 215), (343, 255), (340, 283)],
        *[(368, 180), (378, 215), (374, 245), (368, 268)],
    ],
    dtype=np.float64,
)
RADII = (17, 15, 15, 14, 12)


def fist_from_the_front() -> tuple[Mask, HandDetection]:
    hand = np.zeros((HEIGHT, WIDTH), np.uint8)
    p = np.round(FRONT).astype(np.int32)
    palm = cv2.convexHull(p[[0, 1, 5, 9, 13, 17]])
    cv2.fillPoly(hand, [palm], 1)
    cv2.polylines(hand, [palm], True, 1, 30)
    for finger, radius in enumerate(RADII):
        cv2.polylines(hand, [p[1 + 4 * finger : 5 + 4 * finger]], False, 1, 2 * radius)
    world = np.zeros((21, 3))
    world[:, :2] = (FRONT - FRONT[0]) / METRE
    world[0, 2] = 0.09  # metres behind the knuckles
    return hand > 0, HandDetection(FRONT, world, presence=0.95, right_score=0.1)


@pytest.mark.parametrize("turned", [False, True])
def test_a_hand_in_front_of_its_forearm_keeps_its_fingers_and_its_stick(turned: bool) -> None:
    """The wrist is drawn above the fingertips, and what hangs below it is no forearm."""
    hand, detection = fist_from_the_front()
    stick = block(318, 280, 350, 450) & ~hand
    image = photo((stick, STEEL), (hand, SKIN)).image
    if turned:  # by half a turn
        image, hand, stick = (np.ascontiguousarray(a[::-1, ::-1]) for a in (image, hand, stick))
        world = detection.world * (-1, -1, 1)
        detection = HandDetection((WIDTH, HEIGHT) - FRONT, world, presence=0.95, right_score=0.1)
    scene = Scene.of(Photo("drawn.png", "0" * 64, image), [detection])
    masks = segment_scene(scene, soft(hand | stick)[None])[0]
    assert isinstance(masks, Masks)
    assert (masks.hand & hand).sum() > 0.9 * (masks.hand | hand).sum()
    assert (masks.object & stick).sum() > 0.85 * (masks.object | stick).sum()
