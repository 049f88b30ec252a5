"""What a large model saw of each hand -> masks that keep this project's promises.

a pixel is of one hand, the one whose bones are nearest      a hand is near its bones and ends at the wrist
what is past the wrist is forearm                            an object is no hand and touches the hand that holds it
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.segment.contour import ADJACENT, touching
from pipeline.segment.object_mask import arm_side
from pipeline.segment.scene import Skeleton, count, distance_to, skeleton_of
from pipeline.types import HandDetection, Mask, Masks

FLESH = 0.025  # metres from the capsules of the skeleton in which a hand's pixels lie
LEAST_HAND = 0.05  # of the capsules' area: less is no hand
LEAST_OBJECT = 0.0001  # square metres: less is a rest of the hand


@dataclass(frozen=True)
class Seen:
    """One hand as a model sees it: the masks (H, W) may overlap and hold more than they should."""

    hand: Mask
    object: Mask
    arm: Mask  # what another segmenter takes for the forearm
    score: float
    notes: tuple[str, ...] = ()


def sort_out(hands: list[HandDetection], seen: list[Seen | str], size: tuple[int, int]) -> list[Masks | str]:
    """The masks of every hand of a photo of `size` (H, W), or why it has none; a reason (str) in `seen` stays."""
    skeletons = [skeleton_of(hand) for hand in hands]
    away = np.stack([distance_to(skeleton.capsules(size)) for skeleton in skeletons])
    nearest = np.argmin(away, axis=0)
    flesh, forearm = np.zeros((2, len(hands), *size), dtype=bool)
    for i, (s, skeleton) in enumerate(zip(seen, skeletons, strict=True)):
        if isinstance(s, Seen):
            past = arm_side(size, skeleton, skeleton.wristward)
            forearm[i] = s.hand & past
            flesh[i] = s.hand & ~past & (nearest == i) & (away[i] <= FLESH * skeleton.metre)
    skin = np.asarray(flesh.any(0))
    limbs = skin | forearm.any(0)
    answers: list[Masks | str] = []
    for i, (s, skeleton) in enumerate(zip(seen, skeletons, strict=True)):
        if isinstance(s, Seen):
            parts = Masks(flesh[i], s.object & ~limbs, (s.arm | forearm[i]) & ~skin, s.score, s.notes)
            answers.append(_checked(f"hand {i + 1}", parts, skeleton, LEAST_HAND * count(away[i] == 0)))
        else:
            answers.append(s)
    return answers


def _checked(who: str, parts: Masks, skeleton: Skeleton, least_hand: float) -> Masks | str:
    """The parts with only what touches the hand as the object, or why they are none."""
    if count(parts.hand) < least_hand:
        return f"{who}: nothing at its keypoints looks like a hand"
    held = touching(parts.object, parts.hand, ADJACENT * skeleton.metre)
    if count(held) < max(1.0, LEAST_OBJECT * skeleton.metre**2):
        return f"{who}: nothing that was found touches it"
    return replace(parts, object=held, arm=parts.arm & ~held)
