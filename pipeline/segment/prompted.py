"""A mask from a person's prompt, at once: GrabCut (Rother et al. 2004) around a box or points."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.types import F64, U8, Mask

WORK_PX = 480  # longer side of the part of the picture that is cut: a reviewer waits
AROUND = 0.25  # of a box's size: how much background around it is looked at
REACH = 0.2  # of the photo's longer side: how far from a point its thing may extend
SURE = 0.012  # of the photo's longer side: this close to a point there is nothing else
CLOSEST = 1.5  # pixels: on a small photo, that is
ITERATIONS = 4
FEWEST = 8  # pixels on either side: fewer are no sample of colours

Point = tuple[float, float]  # x, y; pixels


def cut_in_box(image: U8, box: tuple[float, float, float, float]) -> Mask:
    """(H, W) mask of the thing in a box x0, y0, x1, y1 (pixels) of an RGB photo.

    Empty when nothing stands out, and when the box leaves nothing of the photo to stand out from.
    """
    height, width = image.shape[:2]
    x0, x1 = np.rint(np.clip(sorted(box[::2]), 0, width)).astype(int)
    y0, y1 = np.rint(np.clip(sorted(box[1::2]), 0, height)).astype(int)
    labels = np.full((height, width), cv2.GC_BGD, dtype=np.uint8)
    labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
    margin = AROUND * max(x1 - x0, y1 - y0)
    return _cut(image, labels, (x0 - margin, y0 - margin, x1 + margin, y1 + margin))


def cut_at_points(image: U8, inside: Sequence[Point], outside: Sequence[Point] = ()) -> Mask:
    """(H, W) mask of the thing that has the points `inside` it, of an RGB photo, and not the points `outside`.

    Empty when no point is on the photo. A thing reaches as far from its points as they say it may: more points, more.
    """
    height, width = image.shape[:2]
    inside = [(x, y) for x, y in inside if 0 <= x < width and 0 <= y < height]
    if not inside:
        return np.zeros((height, width), dtype=bool)
    size = max(height, width)
    close = max(SURE * size, CLOSEST)
    distance = _distance(height, width, inside)
    labels = np.full((height, width), cv2.GC_BGD, dtype=np.uint8)
    labels[distance < REACH * size] = cv2.GC_PR_BGD
    labels[distance < REACH * size / 3] = cv2.GC_PR_FGD
    labels[distance < close] = cv2.GC_FGD
    labels[_distance(height, width, outside) < close] = cv2.GC_BGD
    reach = 1.2 * REACH * size
    low, high = np.min(inside, axis=0) - reach, np.max(inside, axis=0) + reach
    return _pieces_at(_cut(image, labels, (*low, *high)), inside)


def _distance(height: int, width: int, points: Sequence[Point]) -> F64:
    """(H, W) pixels from the centre of each pixel to the nearest point."""
    down, right = np.ogrid[:height, :width]
    nearest = np.full((height, width), np.inf)
    for x, y in points:
        np.minimum(nearest, np.hypot(right + 0.5 - x, down + 0.5 - y), out=nearest)
    return nearest


def _cut(image: U8, labels: np.ndarray, part: tuple[float, float, float, float]) -> Mask:
    """GrabCut on a part of the picture, small enough to be quick."""
    height, width = image.shape[:2]
    x0, y0 = max(0, int(part[0])), max(0, int(part[1]))
    x1, y1 = min(width, int(np.ceil(part[2]))), min(height, int(np.ceil(part[3])))
    out = np.zeros((height, width), dtype=bool)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return out
    scale = min(1.0, WORK_PX / max(x1 - x0, y1 - y0))
    size = (max(2, round((x1 - x0) * scale)), max(2, round((y1 - y0) * scale)))
    small = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    marked = cv2.resize(labels[y0:y1, x0:x1], size, interpolation=cv2.INTER_NEAREST)
    thing = _is_thing(marked)
    if min(thing.sum(), (~thing).sum()) < FEWEST:
        return out
    cv2.setRNGSeed(0)  # its k-means draws: the same prompt gives the same mask
    cv2.grabCut(small, marked, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), ITERATIONS, cv2.GC_INIT_WITH_MASK)
    found = _is_thing(marked).astype(np.float32)
    out[y0:y1, x0:x1] = cv2.resize(found, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR) > 0.5
    return out


def _is_thing(labels: np.ndarray) -> Mask:
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _pieces_at(mask: Mask, points: Sequence[Point]) -> Mask:
    """The connected pieces under points."""
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    under = {int(pieces[int(y), int(x)]) for x, y in points} - {0}
    return np.isin(pieces, list(under))
