"""The demo photo of a hand that holds a can, with its keypoints and coarse outlines of what is to be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.photo import read_photo
from pipeline.types import HandDetection, Mask, Masks, Photo

PHOTO = Path(__file__).parents[2] / "demo" / "photo_can.jpg"
SIDE, FULL = 384, 768  # pixels: of the photo as the tests read it, and of the file, which the figures below are for

# fmt: off
KEYPOINTS = (
    (244, 559), (271, 499), (311, 446), (357, 396), (402, 357), (347, 569), (454, 528), (486, 480), (487, 447),
    (364, 619), (483, 584), (512, 527), (503, 487), (380, 645), (487, 623), (513, 570), (508, 531),
    (392, 655), (472, 641), (495, 601), (497, 568),
)
WORLD = (  # millimetres, from the detector
    (-16, 1, 72), (-11, -18, 39), (-8, -27, 17), (-15, -44, -12), (-8, -59, -34), (-7, -3, -14), (0, -11, -17),
    (15, -22, 4), (19, -30, 23), (-3, 1, -4), (7, 3, -4), (24, -9, 9), (31, -16, 34), (5, 1, 9), (7, 8, 6),
    (23, 0, 19), (34, -10, 37), (9, 4, 29), (13, 6, 26), (25, 2, 33), (30, -4, 42),
)
HAND = (
    (403, 346), (294, 428), (295, 459), (238, 573), (248, 609), (371, 663), (471, 655), (503, 622), (529, 570),
    (527, 512), (488, 431), (475, 438), (464, 465), (472, 473), (449, 504), (353, 518), (349, 454), (404, 392),
    (413, 356),
)
CAN = (
    (478, 182), (407, 180), (348, 190), (326, 205), (336, 369), (353, 378), (396, 345), (414, 356), (405, 392),
    (351, 451), (359, 521), (450, 502), (471, 473), (463, 465), (484, 429), (501, 438), (497, 210),
)
ARM = ((0, 317), (0, 478), (42, 492), (77, 520), (121, 529), (209, 591), (226, 592), (265, 468), (49, 330))
# fmt: on


def photo() -> Photo:
    return read_photo(PHOTO.read_bytes(), PHOTO.name, SIDE)


def detection() -> HandDetection:
    keypoints = np.array(KEYPOINTS, dtype=np.float64) * SIDE / FULL
    return HandDetection(keypoints, np.array(WORLD) / 1000, presence=0.97, right_score=0.9)


def masks() -> Masks:
    hand, can, arm = drawn(HAND), drawn(CAN), drawn(ARM)
    return Masks(hand, can & ~hand, arm & ~hand)


class Guessed:
    """Stands for the cpu recipe's segmenter, which takes seconds: it answers with the outlines."""

    weights_digest = "guess"

    def __init__(self, settings: dict[str, Any]) -> None:
        assert settings == {}

    def segment(self, photo: Photo, hands: list[HandDetection]) -> list[Masks | str]:
        return [masks() for _ in hands]


def drawn(outline: tuple[tuple[int, int], ...]) -> Mask:
    out = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(out, [np.array(outline, np.int32) * SIDE // FULL], 1)
    return out > 0
