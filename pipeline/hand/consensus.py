"""Is it really a hand? Look again, a little differently each time, and see whether the answers agree.

The landmark network's own presence is not enough: following its answers from crop to crop it can talk itself
into a hand almost anywhere (ghosts reach 0.9). A true hand is seen again when the crop is larger, smaller,
turned or mirrored, and its keypoints stay where they were; a ghost fades or jumps. The agreement is the
score, and the middle of the answers is a better keypoint than any one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.hand.networks import HandNetworks, Landmarks
from pipeline.hand.regions import Pyramid
from pipeline.types import F64

_LOOKS = ((1.7, 0.0), (2.2, 0.0), (1.9, 0.25), (1.9, -0.25))  # (region scale, turn in radians)
_SPREAD_OF_NOISE = 0.2  # of the hand's extent: answers this far apart have nothing to do with each other
_MODES_AGREE = 0.08  # of the hand's extent: plain and mirrored answers this close are averaged


@dataclass(frozen=True)
class Candidate:
    """A hand as several looks agree on it, in the photo's pixels and orientation."""

    keypoints: F64  # (21, 2) pixels
    world: F64  # (21, 3) metres
    presence: float  # 0..1, mean over the looks
    spread: float  # how far the looks differ, as a fraction of the hand's extent
    right_score: float  # 0..1, mean over plain and mirrored looks

    @property
    def score(self) -> float:
        """0..1: presence, discounted by disagreement."""
        return self.presence * max(0.0, 1 - self.spread / _SPREAD_OF_NOISE)


def extent(keypoints: F64) -> float:
    """Longer side of the keypoints' bounding box, pixels."""
    return float(np.ptp(keypoints, axis=0).max())


def distance(a: F64, b: F64) -> float:
    """Mean distance of two sets of keypoints, as a fraction of the larger hand's extent."""
    return float(np.linalg.norm(a - b, axis=1).mean() / max(extent(a), extent(b), 1e-9))


def overlap(a: F64, b: F64) -> float:
    """Intersection of the two bounding boxes over the smaller box."""
    low, high = np.maximum(a.min(0), b.min(0)), np.minimum(a.max(0), b.max(0))
    smaller = min(float(np.ptp(a, axis=0).prod()), float(np.ptp(b, axis=0).prod()))
    return float(np.clip(high - low, 0, None).prod() / max(smaller, 1e-9))


def follow(networks: HandNetworks, photo: Pyramid, start: Landmarks, steps: int = 3) -> Landmarks:
    """Look again around each answer, as a tracker does, while the network does not lose confidence."""
    best = start
    for _ in range(steps):
        if best.presence < 0.003:
            break
        again = networks.landmarks(photo, best.hand_region(mirrored=start.region.mirrored))
        if again.presence < best.presence - 0.05:
            break
        best = again
    return best


def look_again(networks: HandNetworks, photo: Pyramid, seen: Landmarks) -> Candidate:
    """The agreement of eight looks, four plain and four mirrored, around one answer."""
    plain, mirrored = (_look(networks, photo, seen, flip) for flip in (False, True))
    ways = [_agreement(answers) for answers in (plain, mirrored)]
    best, other = sorted(ways, key=lambda way: -way.score)
    answers = [*plain, *mirrored]
    weights = np.array([answer.presence + 1e-6 for answer in answers])
    right_score = float(np.average([answer.right_score for answer in answers], weights=weights))
    if distance(best.keypoints, other.keypoints) < _MODES_AGREE:
        best = replace(best, keypoints=(best.keypoints + other.keypoints) / 2)
    # a look that takes the hand for the other side sees it turned inside out: its depths are the wrong way round
    believers = [answer for answer in answers if (answer.right_score > 0.5) == (right_score > 0.5)]
    return replace(best, world=np.median([b.world for b in believers], axis=0), right_score=right_score)


def _look(networks: HandNetworks, photo: Pyramid, seen: Landmarks, mirrored: bool) -> list[Landmarks]:
    regions = [(seen.hand_region(scale, mirrored), turn) for scale, turn in _LOOKS]
    return [networks.landmarks(photo, replace(region, angle=region.angle + turn)) for region, turn in regions]


def _agreement(answers: list[Landmarks]) -> Candidate:
    keypoints = np.median([answer.keypoints for answer in answers], axis=0)
    return Candidate(
        keypoints=keypoints,
        world=np.median([answer.world for answer in answers], axis=0),
        presence=float(np.mean([answer.presence for answer in answers])),
        spread=float(np.mean([distance(answer.keypoints, keypoints) for answer in answers])),
        right_score=float(np.mean([answer.right_score for answer in answers])),
    )
