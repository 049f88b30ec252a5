"""Where to look for hands: views of the whole photo for the palm detector, boxes for the landmark network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from pipeline.hand.networks import HandNetworks, Palm
from pipeline.hand.regions import Pyramid, Region
from pipeline.types import U8

QUARTER_TURNS = tuple(i * math.pi / 2 for i in range(4))
PALM_THRESHOLD = 0.15
_TILE = 0.6  # of the longer side
BORDER_BOX = 0.8  # of the photo's longer side: hands that its border cuts in two fill the picture
_ZOOM_OUT = (1.25, 1.5, 2.0)  # the frame is that much larger than the photo


@dataclass(frozen=True)
class Box:
    """A rectangle in the photo's pixels that a hand is thought to fill."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def side(self) -> float:
        return max(self.x1 - self.x0, self.y1 - self.y0)


def views(height: int, width: int) -> list[Region]:
    """Whole frame, overlapping tiles and zoomed-out frames, each in four turns."""
    longer = max(height, width)
    middle = (width / 2, height / 2)
    xs = (0.3 * width, 0.7 * width) if width >= _TILE * height else (width / 2,)
    ys = (0.3 * height, 0.7 * height) if height >= _TILE * width else (height / 2,)
    squares: list[tuple[float, float, float, bool]] = [(*middle, longer, False)]
    squares += [(x, y, _TILE * longer, False) for x, y in (*product(xs, ys), middle)]
    squares += [(*middle, zoom * longer, mirrored) for zoom in _ZOOM_OUT for mirrored in (False, True)]
    return [Region(x, y, size, turn, mirrored) for x, y, size, mirrored in squares for turn in QUARTER_TURNS]


def palms(networks: HandNetworks, photo: Pyramid, limit: int) -> list[Palm]:
    """The palms of all views, strongest first; one per place and direction."""
    found = [p for view in views(photo.height, photo.width) for p in networks.palms(photo, view, PALM_THRESHOLD)]
    kept: list[Palm] = []
    for palm in sorted(found, key=lambda p: -p.score):
        if len(kept) == limit:
            break
        if not any(_same(palm, other) for other in kept):
            kept.append(palm)
    return kept


def _same(a: Palm, b: Palm) -> bool:
    near = np.linalg.norm(a.centre - b.centre) < 0.5 * max(a.size, b.size)
    along_a, along_b = a.middle - a.wrist, b.middle - b.wrist
    lengths = np.linalg.norm(along_a) * np.linalg.norm(along_b)
    return bool(near and along_a @ along_b > math.cos(0.8) * lengths)


def regions_of(box: Box, scales: tuple[float, ...], turns: int) -> Iterator[Region]:
    """Regions around a box in every direction, plain and mirrored."""
    for scale, i, mirrored in product(scales, range(turns), (False, True)):
        yield Region(*box.centre, scale * box.side, 2 * math.pi * i / turns, mirrored)


def likely_boxes(image: U8, limit: int = 3) -> list[Box]:
    """Where a hand may be when the palm detector saw none: skin-coloured patches, then the frame itself."""
    height, width = image.shape[:2]
    frame = Box(0, 0, width, height)
    half = [
        Box(0, 0.3 * height, 0.6 * width, height),
        Box(0.4 * width, 0.3 * height, width, height),
        Box(0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height),
    ]
    return [*_skin_patches(image, limit), frame, *half]


def border_boxes(height: int, width: int) -> list[Box]:
    """Boxes in the middle of each side: a first-person close-up shows a hand whose wrist is outside."""
    half = BORDER_BOX / 2 * max(height, width)
    sides = ((0, height / 2), (width, height / 2), (width / 2, height), (width / 2, 0))
    return [Box(x - half, y - half, x + half, y + half) for x, y in sides]


def _skin_patches(image: U8, limit: int) -> list[Box]:
    """Boxes of the largest skin-coloured patches (fixed YCrCb range, Chai & Ngan 1999)."""
    ycrcb = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), max(image.shape) / 200), cv2.COLOR_RGB2YCrCb)
    skin = cv2.inRange(ycrcb, np.array((30, 133, 77)), np.array((255, 180, 130)))
    radius = max(1, round(max(image.shape) / 100))
    skin = cv2.morphologyEx(skin, cv2.MORPH_OPEN, np.ones((2 * radius + 1,) * 2, np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(skin)
    order = sorted(range(1, count), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA]))
    boxes = []
    for i in order[:limit]:
        x, y, w, h, area = (int(v) for v in stats[i])
        if area > 0.01 * image.shape[0] * image.shape[1]:
            boxes.append(Box(x, y, x + w, y + h))
    return boxes
