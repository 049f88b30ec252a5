"""What a promptable model is asked for a hand and for what it holds: boxes and points made from the keypoints.

A first guess, where another segmenter has one, says which keypoints the object hides and where the object is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.segment.scene import TIPS, Skeleton, distance_to
from pipeline.types import F64, Mask, Masks

HAND_MARGIN = 0.1  # of the longer side of the keypoints' box: flesh around them, and slack
OBJECT_MARGIN = 0.1  # of the guessed object's extent, around it
OBJECT_POINTS = 5
HAND_POINTS = 5  # of the hand, as points that are not the object


def no_points() -> F64:
    return np.zeros((0, 2))


@dataclass(frozen=True)
class Prompt:
    """Pixels of the picture that is asked about."""

    box: F64 | None = None  # (4,) x0, y0, x1, y1
    inside: F64 = field(default_factory=no_points)  # (N, 2) on the thing
    outside: F64 = field(default_factory=no_points)  # (M, 2) not on it


Ask = Callable[[Prompt], tuple[Mask, float]]  # mask (H, W) of the thing prompted for, and the model's score in 0..1


def hand_prompt(hand: Skeleton, size: tuple[int, int], guess: Masks | None) -> Prompt:
    """The box of the 21 keypoints, and those of them that are on the photo and not under the object."""
    points = on_photo(hand.keypoints, size)
    if guess is not None:
        points = points[~under(guess.object, points)]
    low, high = hand.keypoints.min(0), hand.keypoints.max(0)
    margin = HAND_MARGIN * (high - low).max()
    return Prompt(clipped(np.concatenate([low - margin, high + margin]), size), points)


def object_prompt(hand: Skeleton, hand_mask: Mask, guess: Masks | None) -> Prompt | None:
    """Points on the guessed object, or else between the finger tips; the hand's keypoints are not the object.

    None when the hand mask (H, W) covers all of the space between the fingers.
    """
    keypoints = on_photo(hand.keypoints, hand_mask.shape)
    outside = keypoints[under(hand_mask, keypoints)][:: max(1, len(keypoints) // HAND_POINTS)][:HAND_POINTS]
    if guess is not None and (guess.object & ~hand_mask).any():
        seen = guess.object & ~hand_mask
        return Prompt(loose_box(guess.object, OBJECT_MARGIN), spread(seen, OBJECT_POINTS), outside)
    tips = hand.keypoints[list(TIPS)]
    between = on_photo(np.vstack([(tips[0] + tips[1:]) / 2, hand.keypoints.mean(0)[None]]), hand_mask.shape)
    between = between[~under(hand_mask, between)]
    return Prompt(None, between, outside) if len(between) else None


def spread(mask: Mask, count: int) -> F64:
    """(<= count, 2) pixel centres within a mask, the deepest first, each next one far from the others and the edge."""
    depth = distance_to(~np.pad(mask, 1))[1:-1, 1:-1]
    ys, xs = np.nonzero(mask)
    if not len(xs):
        return no_points()
    room = np.minimum(depth[ys, xs].astype(np.float64), 0.5 * depth.max())  # half as deep as can be is deep enough
    chosen = [int(np.argmax(depth[ys, xs]))]
    nearest = np.full(len(xs), np.inf)
    while len(chosen) < min(count, len(xs)):
        np.minimum(nearest, np.hypot(xs - xs[chosen[-1]], ys - ys[chosen[-1]]), out=nearest)
        chosen.append(int(np.argmax(np.sqrt(nearest) * room)))
        if nearest[chosen[-1]] < 1:
            chosen.pop()
            break
    return np.asarray(np.stack([xs[chosen], ys[chosen]], axis=1) + 0.5, dtype=np.float64)


def loose_box(mask: Mask, margin: float) -> F64:
    """(4,) x0, y0, x1, y1 around a mask that is not empty, `margin` times its longer side looser, within the photo."""
    ys, xs = np.nonzero(mask)
    box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], dtype=np.float64)
    slack = margin * max(box[2] - box[0], box[3] - box[1])
    return clipped(box + slack * np.array([-1, -1, 1, 1]), mask.shape)


def clipped(box: F64, size: tuple[int, ...]) -> F64:
    """(4,) within a picture of `size` (H, W)."""
    return np.asarray(np.clip(box, 0, [size[1], size[0], size[1], size[0]]))


def on_photo(points: F64, size: tuple[int, ...]) -> F64:
    """Those of the points (N, 2) that are on a picture of `size` (H, W)."""
    return np.asarray(points[(points >= 0).all(1) & (points < [size[1], size[0]]).all(1)])


def under(mask: Mask, points: F64) -> Mask:
    """(N,) whether each point of the picture is on the mask."""
    x, y = points.astype(int).T
    return np.asarray(mask[y, x])
