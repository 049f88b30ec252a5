"""The held object: what stands out, is neither hand nor forearm, and touches the hand.

foreground maps - hands - forearms -> components whose contour is adjacent to the hand's (METHOD 1.1)
no such component -> GrabCut from the space between the fingers
several readings -> the one whose contour lies best on the picture's edges
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.segment.contour import ADJACENT, touching
from pipeline.segment.foreground import grabcut_map
from pipeline.segment.hand_mask import FOREGROUND, WIDE, HandEvidence, beyond_wrist
from pipeline.segment.scene import Scene, Skeleton, components, count, dilate, distance_to, opened
from pipeline.types import F64, Mask

THINNEST = 0.0025  # metres; what is thinner is a seam between hand and background
MOST_PARTS = 6
JOIN_LOSS = 0.045  # of quality that a further part may cost
JOINED_SOLID = 0.75  # least solidity of an object in parts,
STAYS_SOLID = 0.85  # or this share of that of its best part: scissors are not solid
POOR = 0.7  # quality below which the maps are not believed to show the object
SEEDED_EDGE = 0.45  # least edge strength under the contour of what GrabCut finds
SEEDED_REACH = 0.1  # metres beyond hand and keypoints
PART_SHARE = 0.04  # of the largest part's area, for a further part (beyond a finger) to be kept
SMALLEST = 0.0006  # square metres; less is not an object but a rest of the hand
ARM_HALF_WIDTH = 0.035  # metres at the wrist
ARM_THINNEST = 0.016  # metres: half of what a forearm behind its hand is thick at least; held sticks are thinner
ARM_SPREAD = 0.2  # metres of half width per metre of forearm, for sleeves and perspective
ARM_LENGTH = 0.25  # metres of forearm looked at to find its direction
ARM_ANGLES = np.radians(np.arange(-75, 76, 15))
ARM_UNSEEN = 0.7  # coverage that is expected of a forearm where the photo ends
ARM_TURN_COST = 0.2  # of the strip's coverage, per radian away from the palm's axis


@dataclass(frozen=True)
class Forearm:
    """Which way a hand's forearm leaves, and what is behind the wrist."""

    direction: F64  # unit vector (2,)
    mask: Mask  # (h, w) forearm or sleeve
    side: Mask  # (h, w) everything on the forearm's side of the wrist, within its cone


def find_forearm(scene: Scene, hand: Skeleton, evidence: HandEvidence, foreground: np.ndarray) -> Forearm:
    """The forearm runs from the wrist to where hand-coloured foreground leaves the picture."""
    y, x = np.mgrid[: scene.shape[0], : scene.shape[1]]
    dx, dy = (x - hand.wrist[0]) / hand.metre, (y - hand.wrist[1]) / hand.metre
    evident = 0.6 * (evidence.colour > 0) + 0.4 * (foreground > FOREGROUND)
    axis = np.arctan2(hand.wristward[1], hand.wristward[0])
    best, best_score = axis, -np.inf
    for turn in ARM_ANGLES:
        c, s = np.cos(axis + turn), np.sin(axis + turn)
        along, across = dx * c + dy * s, np.abs(dy * c - dx * s)
        strip = (along > 0.01) & (along < ARM_LENGTH) & (across < 0.6 * ARM_HALF_WIDTH)
        length = max(1.0, ARM_LENGTH * 1.2 * ARM_HALF_WIDTH * hand.metre**2)  # pixels of the whole strip
        seen = min(1.0, count(strip) / length)
        covered = (float(evident[strip].mean()) if strip.any() else 0.0) * seen + ARM_UNSEEN * (1 - seen)
        score = covered - ARM_TURN_COST * abs(turn)
        if score > best_score + 1e-9:
            best, best_score = axis + turn, score
    direction = np.array([np.cos(best), np.sin(best)])
    along = dx * direction[0] + dy * direction[1]
    cone, side = arm_cone(scene.shape, hand, direction), arm_side(scene.shape, hand, direction)
    mask = side & cone & ((foreground > FOREGROUND) | (evidence.colour > 0.5))
    labels, _ = components(opened(mask, (ARM_THINNEST if hand.receding else THINNEST) * hand.metre))
    near = (along < 0.04) & (labels > 0)
    beside = np.unique(labels[near])
    return Forearm(direction, np.isin(labels, beside[beside > 0]), side)


def arm_cone(shape: tuple[int, int], hand: Skeleton, direction: F64) -> Mask:
    """(h, w): where a forearm that leaves the wrist in this direction can be seen."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    dx, dy = (x - hand.wrist[0]) / hand.metre, (y - hand.wrist[1]) / hand.metre
    along, across = dx * direction[0] + dy * direction[1], np.abs(dy * direction[0] - dx * direction[1])
    return np.asarray((along > 0) & (across < ARM_HALF_WIDTH + ARM_SPREAD * np.maximum(along, 0)))


def arm_side(shape: tuple[int, int], hand: Skeleton, direction: F64) -> Mask:
    """(h, w): past the wrist, but for fingers: bent back beside the forearm, or in front of one that is behind them."""
    body = hand.capsules(shape, WIDE) & ~arm_cone(shape, hand, direction)
    if hand.receding:
        body |= hand.bones(shape, WIDE).any(0)
    return beyond_wrist(shape, hand, direction) & ~body


def edge_strength(scene: Scene) -> np.ndarray:
    """(h, w) in 0..1: how strong the local colour edge is, relative to the picture's strong edges."""
    blurred = cv2.GaussianBlur(scene.lab.astype(np.float32), (0, 0), 1.5)
    gx, gy = cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)
    magnitude = np.sqrt((gx**2 + gy**2).sum(-1))
    return np.asarray(np.clip(magnitude / (np.quantile(magnitude, 0.95) + 1e-6), 0, 1))


@dataclass(frozen=True)
class Grasp:
    """What the choice of an object depends on besides the picture. All (h, w)."""

    hand: Mask
    arm: Mask
    taken: Mask  # all hands and forearms of the photo
    rim: Mask  # `taken` and its seam, where a contour says nothing about the object
    between: Mask  # within the hull of the keypoints
    metre: float  # pixels


def choose_object(scene: Scene, grasp: Grasp, maps: np.ndarray) -> tuple[Mask, float]:
    """The best reading of the held object and its quality in 0..1; an empty mask and 0 when nothing is held."""
    edges = edge_strength(scene)
    readings = [_held_parts(c, grasp, edges) for c in _candidates(grasp, maps)]
    if not readings or max(r.quality for r in readings) < POOR:
        seeded = _held_parts(_seeded(scene, grasp), grasp, edges)
        if seeded.mask.any() and contour_strength(seeded.mask, grasp, edges) > SEEDED_EDGE:
            readings.append(seeded)
    readings = [r for r in readings if count(r.mask) >= SMALLEST * grasp.metre**2]
    if not readings:
        return np.zeros(scene.shape, dtype=bool), 0.0
    largest = max(count(r.mask) for r in readings)
    scores = []
    for r in readings:
        agreement = float(np.mean([_iou(r.mask, other.mask) for other in readings]))
        scores.append(r.quality + 0.1 * agreement + 0.15 * np.sqrt(count(r.mask) / largest))
    best = readings[int(np.argmax(scores))]
    return best.mask, best.quality


def _candidates(grasp: Grasp, maps: np.ndarray) -> list[Mask]:
    """Readings of the foreground maps (N, h, w): each map alone, their mean, their maximum at two levels."""
    front = maps.max(0)
    readings = [front > FOREGROUND, front > 0.6 * FOREGROUND, maps.mean(0) > FOREGROUND, *(maps > FOREGROUND)]
    free = ~dilate(grasp.taken, 1)
    return [opened(r & free, THINNEST * grasp.metre) for r in readings]


def _seeded(scene: Scene, grasp: Grasp) -> Mask:
    """What has the colours of the space between the fingers, by GrabCut: for objects that do not stand out.

    What runs on beyond the hand's reach is background seen between the fingers.
    """
    away = distance_to(grasp.between | grasp.hand)
    cut = grabcut_map(scene.image, grasp.between & ~grasp.rim, (away > SEEDED_REACH * grasp.metre) | grasp.taken) > 0
    cut = opened(cut & ~dilate(grasp.taken, 1), 2 * THINNEST * grasp.metre)
    labels, _ = components(cut)
    limit = cut & (away > SEEDED_REACH * grasp.metre - 3)
    return cut & ~np.isin(labels, np.unique(labels[limit]))


@dataclass(frozen=True)
class Reading:
    """One reading of the held object."""

    mask: Mask
    quality: float


def _held_parts(candidate: Mask, grasp: Grasp, edges: np.ndarray) -> Reading:
    """The parts of a candidate that one hand holds as one object.

    Contour filter first; then, from the best part on, those that make as good an object together: fingers may
    divide an object, but the hull over its parts then holds little else.
    """
    labels, areas = components(touching(candidate, grasp.hand, ADJACENT * grasp.metre))
    to_hand, to_arm = dilate(grasp.hand, ADJACENT * grasp.metre), dilate(grasp.arm, ADJACENT * grasp.metre)
    parts = []
    for i in np.argsort(-areas)[:MOST_PARTS]:
        part = labels == i
        if areas[i] >= max(1.0, PART_SHARE * areas.max()) and count(part & to_arm) <= count(part & to_hand):
            parts.append(part)
    if not parts:
        return Reading(np.zeros_like(candidate), 0.0)
    alone = [quality(p, grasp, edges) for p in parts]
    large = [min(1.0, 3 * count(p) / areas.max(), count(p) / (SMALLEST * grasp.metre**2)) for p in parts]
    first = int(np.argmax(np.multiply(alone, large)))
    held, score = parts[first], alone[first]
    least_solid = min(JOINED_SOLID, STAYS_SOLID * solidity(held, grasp))
    for part in parts[:first] + parts[first + 1 :]:
        joined = quality(held | part, grasp, edges)
        if joined > score - JOIN_LOSS and solidity(held | part, grasp) > least_solid:
            held, score = held | part, max(score, joined)
    return Reading(held, score)


def _iou(a: Mask, b: Mask) -> float:
    return count(a & b) / max(1, count(a | b))


def solidity(obj: Mask, grasp: Grasp) -> float:
    """The share of the object's convex hull that it fills, not counting what a hand or arm may hide."""
    hull = np.zeros(obj.shape, np.uint8)
    contours, _ = cv2.findContours(obj.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(contours)), 1)
    return count(obj) / max(1, count((hull > 0) & ~(grasp.taken & ~obj)))


def contour_strength(obj: Mask, grasp: Grasp, edges: np.ndarray) -> float:
    """Mean edge strength, 0..1, under the object's contour where neither hand, arm nor the photo's end makes it."""
    contours, _ = cv2.findContours(obj.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    x, y = np.concatenate(contours)[:, 0].T
    free = (x > 1) & (y > 1) & (x < obj.shape[1] - 2) & (y < obj.shape[0] - 2)
    free &= ~grasp.rim[y, x]
    return float(edges[y[free], x[free]].mean()) if count(free) > 10 else 0.5


def quality(obj: Mask, grasp: Grasp, edges: np.ndarray) -> float:
    """How well a mask reads as one held object: on the picture's edges, compact, between the fingers. 0..1."""
    gap = grasp.between & ~grasp.taken
    held = count(obj & gap) / count(gap) if gap.any() else 0.5
    return 0.4 * contour_strength(obj, grasp, edges) + 0.4 * solidity(obj, grasp) + 0.2 * held
