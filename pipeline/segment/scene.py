"""The picture a segmenter works on: the photo at working size, its Lab colours, and each hand's skeleton on it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from pipeline.segment.colour import to_lab
from pipeline.types import F64, U8, HandDetection, Mask, Photo

WORK_SIDE = 640  # pixels of the longer side; keypoints and network are no finer than this
BONE_CHAINS = ((0, 1, 2, 3, 4), (0, 5, 6, 7, 8), (0, 9, 10, 11, 12), (0, 13, 14, 15, 16), (0, 17, 18, 19, 20))
PALM = (0, 1, 5, 9, 13, 17)
KNUCKLES = (5, 9, 13, 17)
TIPS = (4, 8, 12, 16, 20)
FINGER_RADIUS = (0.0105, 0.0095, 0.0095, 0.009, 0.0075)  # metres, thumb .. little, skin to bone
PALM_RADIUS = 0.013  # metres by which the palm reaches beyond its joints
PALM_BREADTH = 0.08  # metres from the index to the little knuckle, for keypoints without a metric shape
RECEDING = 0.4  # least share of the palm's length that a picture shows of a hand whose forearm is not behind it


@dataclass(frozen=True)
class Skeleton:
    """One hand's keypoints at working size and how large a metre is there."""

    keypoints: F64  # (21, 2) pixels
    metre: float  # pixels
    receding: bool = False  # the wrist is behind the knuckles along the line of sight, and the forearm behind the wrist

    @property
    def wrist(self) -> F64:
        return np.asarray(self.keypoints[0])

    @property
    def wristward(self) -> F64:
        """Unit vector from the knuckles to the wrist: roughly where the forearm goes on."""
        d = self.keypoints[0] - self.keypoints[list(KNUCKLES)].mean(0)
        return np.asarray(d / (np.linalg.norm(d) + 1e-9))

    def bones(self, shape: tuple[int, int], width: float = 1.0) -> Mask:
        """(15, H, W): a capsule around each finger bone, base to tip, `width` times as thick as flesh."""
        points = np.round(self.keypoints * 16).astype(np.int32)  # cv2 draws with 4 fractional bits
        out = np.zeros((3 * len(BONE_CHAINS), *shape), np.uint8)
        for finger, (chain, radius) in enumerate(zip(BONE_CHAINS, FINGER_RADIUS, strict=True)):
            for i, bone in enumerate(pairwise(chain[1:])):
                cv2.polylines(out[3 * finger + i], [points[list(bone)]], False, 1, self._line(radius * width), shift=4)
        return out > 0

    def palm(self, shape: tuple[int, int], width: float = 1.0) -> Mask:
        """(H, W): the palm, reaching `width` times the flesh's thickness beyond its joints."""
        out = np.zeros(shape, np.uint8)
        hull = cv2.convexHull(np.round(self.keypoints[list(PALM)] * 16).astype(np.int32))
        cv2.fillPoly(out, [hull], 1, shift=4)
        cv2.polylines(out, [hull], True, 1, self._line(PALM_RADIUS * width), shift=4)
        return out > 0

    def capsules(self, shape: tuple[int, int], width: float = 1.0) -> Mask:
        """(H, W): the fingers as capsules around their bones and the palm, `width` times as thick as flesh."""
        return np.asarray(self.palm(shape, width) | self.bones(shape, width).any(0))

    def _line(self, radius: float) -> int:
        return max(1, round(2 * radius * self.metre))

    def hull(self, shape: tuple[int, int]) -> Mask:
        """(H, W): the convex hull of all keypoints: hand, and what lies between its fingers."""
        out = np.zeros(shape, np.uint8)
        cv2.fillConvexPoly(out, cv2.convexHull(np.round(self.keypoints).astype(np.int32)), 1)
        return out > 0


@dataclass(frozen=True)
class Scene:
    """The photo at working size."""

    image: U8  # (h, w, 3) RGB
    lab: F64  # (h, w, 3), noise smoothed
    scale: float  # working pixels per photo pixel
    hands: tuple[Skeleton, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]

    @classmethod
    def of(cls, photo: Photo, detections: list[HandDetection]) -> Scene:
        """The photo scaled, up or down, to WORK_SIDE, and the skeletons of its hands."""
        scale = WORK_SIDE / max(photo.size)
        size = (max(1, round(photo.size[1] * scale)), max(1, round(photo.size[0] * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(photo.image, size, interpolation=method), dtype=np.uint8)
        hands = tuple(skeleton_of(d, scale) for d in detections)
        return cls(image, to_lab(image), scale, hands)


def skeleton_of(detection: HandDetection, scale: float = 1.0) -> Skeleton:
    """A hand's keypoints at `scale` working pixels per photo pixel.

    Pixels per metre is the ratio of the spreads of image and world keypoints (both seen along the same axis).
    """
    points = np.asarray(detection.keypoints, dtype=np.float64) * scale
    spread = np.linalg.norm(points - points.mean(0))
    world = detection.world[:, :2] - detection.world[:, :2].mean(0)
    metric = float(np.linalg.norm(world))
    if metric > 0.05:
        palm = detection.world[0] - detection.world[list(KNUCKLES)].mean(0)
        receding = palm[2] > 0 and float(np.linalg.norm(palm[:2])) < RECEDING * float(np.linalg.norm(palm))
        return Skeleton(points, float(spread) / metric, bool(receding))
    breadth = max(np.linalg.norm(points[5] - points[17]), 0.6 * np.linalg.norm(points[0] - points[9]))
    return Skeleton(points, float(breadth) / PALM_BREADTH)


def distance_to(mask: Mask) -> np.ndarray:
    """(H, W) float32: pixels to the nearest True pixel; a large number everywhere when there is none."""
    if not mask.any():
        return np.full(mask.shape, 1e6, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5))


def signed_distance(mask: Mask) -> np.ndarray:
    """(H, W) float32: pixels to the nearest pixel of the other kind, negative outside the mask."""
    return np.asarray(np.where(mask, distance_to(~mask), -distance_to(mask)))


def count(mask: Mask) -> int:
    """Number of True pixels."""
    return int(np.count_nonzero(mask))


def dilate(mask: Mask, radius: float) -> Mask:
    """(H, W) grown by a disc of this radius in pixels."""
    return np.asarray(distance_to(mask) <= radius)


def eroded(mask: Mask, radius: float) -> Mask:
    """(H, W) shrunk by a disc of this radius in pixels."""
    return np.asarray(distance_to(~mask) > radius)


def opened(mask: Mask, radius: float) -> Mask:
    """(H, W) without what is thinner than about two radii."""
    r = max(1, round(radius))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc) > 0)


def without_thin_holes(mask: Mask, radius: float) -> Mask:
    """(H, W) with those holes filled that no disc of this radius in pixels fits into."""
    labels, areas = components(~mask)
    inside = np.bincount(labels.ravel(), distance_to(mask).ravel() > radius, minlength=len(areas))
    return np.asarray(mask | ((labels > 0) & (inside[labels] == 0)))


def components(mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) int32 with 0 outside the mask, and areas (N + 1,) with areas[0] = 0."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    areas = np.bincount(labels.ravel(), minlength=count)
    areas[0] = 0
    return np.asarray(labels), areas
