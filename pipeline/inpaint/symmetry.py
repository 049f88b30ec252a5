"""Mirror symmetry of a partly hidden silhouette."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.types import Mask

SIDE = 96  # pixels of the longer side of the picture the axis is searched in
ANGLES = np.radians(np.arange(0, 180, 5))
OFFSETS = np.linspace(-0.25, 0.25, 21)  # of the extent: the visible part's centroid is off the axis
LEAST_IOU = 0.94  # where both halves can be seen
LEAST_TESTED = 0.6  # of the visible area must have its mirror image in sight, or anything would be symmetric
UNTESTED_COST = 0.3  # of IoU, for a line that maps everything to where nothing can be seen
AS_GOOD = 0.03  # lines within this of the best vote with it: a disc has many


@dataclass(frozen=True)
class Mirror:
    """A mirror line: the points p with normal . p = offset, photo pixels."""

    normal: np.ndarray  # (2,) unit vector
    offset: float
    iou: float  # of the visible object with its mirror image, outside what is hidden

    def reflect(self, mask: Mask) -> Mask:
        """(H, W) mirrored."""
        height, width = mask.shape
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        out = cv2.warpAffine(mask.astype(np.float32), _matrix(self.normal, self.offset), (width, height), flags=flags)
        return np.asarray(out > 0.5)


def find_mirrors(visible: Mask, hidden: Mask) -> list[Mirror]:
    """The lines that map the visible object onto itself, best first; none when nothing is symmetric enough.

    Pixels that are hidden, or whose mirror image is hidden, do not vote.
    """
    ys, xs = np.nonzero(visible)
    extent = max(np.ptp(xs), np.ptp(ys)) + 1
    origin = np.array([xs.min(), ys.min()]) - extent // 3
    scale = SIDE / (extent + 2 * (extent // 3))
    to_small = np.hstack([scale * np.eye(2), -scale * origin[:, None]])
    obj, hide = (cv2.warpAffine(m.astype(np.float32), to_small, (SIDE, SIDE)) > 0.5 for m in (visible, hidden))
    if obj.sum() < 20:
        return []
    centre = np.array([np.nonzero(obj)[1].mean(), np.nonzero(obj)[0].mean()])
    found: list[tuple[float, Mirror]] = []
    for angle in ANGLES:
        normal = np.array([np.cos(angle), np.sin(angle)])
        for shift in OFFSETS * extent * scale:
            offset = float(normal @ centre + shift)
            iou, tested = _agreement(obj, hide, normal, offset)
            if tested >= LEAST_TESTED and iou >= LEAST_IOU:
                mirror = Mirror(normal, float(offset / scale + normal @ origin), iou)
                found.append((iou - UNTESTED_COST * (1 - tested), mirror))
    found.sort(key=lambda f: -f[0])
    return [mirror for score, mirror in found if score >= found[0][0] - AS_GOOD]


def reflected(mask: Mask, mirrors: list[Mirror]) -> Mask:
    """(H, W): where at least half of the mirrors put the mask."""
    return np.asarray(np.mean([m.reflect(mask) for m in mirrors], axis=0) >= 0.5)


def _matrix(normal: np.ndarray, offset: float) -> np.ndarray:
    """(2, 3): the reflection, which is its own inverse."""
    return np.hstack([np.eye(2) - 2 * np.outer(normal, normal), 2 * offset * normal[:, None]])


def _agreement(obj: Mask, hide: Mask, normal: np.ndarray, offset: float) -> tuple[float, float]:
    """IoU of the object with its mirror image where neither is hidden, and the share of the object that is."""
    matrix, size = _matrix(normal, offset), obj.shape[::-1]
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(obj.astype(np.uint8) + 2 * hide.astype(np.uint8), matrix, size, flags=flags)
    in_sight = ~hide & (image < 2)
    a, b = obj & in_sight, (image == 1) & in_sight
    return float((a & b).sum() / max(1, (a | b).sum())), float(a.sum() / obj.sum())
