"""The visible hand, guided by its landmarks.

capsules around the bones -> colours under them, the occluder's dropped -> colour models of hand and rest
-> log odds + distance prior -> guided filter -> parts that contain bone
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.segment.colour import ColourModel, is_skin, kmeans, subsample
from pipeline.segment.guided import guided_filter
from pipeline.segment.scene import Scene, Skeleton, components, distance_to
from pipeline.types import F64, Mask

CORE = 0.5  # width of the capsules that are flesh if they are visible at all
WIDE = 1.1  # width of the capsules that hold the whole hand
FALLOFF = 0.02  # metres over which the distance prior loses one unit
WRIST_REACH = 0.025  # metres around wrist and thumb root that hardly any object covers
ROOT = (0, 1, 17, 5, 2)  # joints at the root of the hand, the surest first; close-ups cut some off
FOREGROUND = 0.5
LIKE_HUE = 16.0  # Lab units in the (a, b) plane between skin in light and skin in shadow
DEEPEST_SHADOW = 0.4  # of the lightness of the root's skin
ANY_COLOUR = -11.0  # log density of a colour seen nowhere else: uniform over Lab; hand beyond 3.6 sigma is not hand
MIN_SHARE = 0.03  # of the core's pixels, for a colour to count
PART_SHARE = 0.04  # of the largest part's bone pixels, for a part to be kept


@dataclass(frozen=True)
class HandEvidence:
    """What is known about one hand before masks are cut out."""

    core: Mask  # (h, w) thin capsules
    distance: np.ndarray  # (h, w) to the wide capsules, in units of FALLOFF
    colour: F64  # (h, w) log odds hand / rest of the colours alone, clipped to +-6
    score: F64  # (h, w) > 0 where the hand is more likely than not, smooth


def hand_evidence(scene: Scene, hand: Skeleton, maps: np.ndarray, held: Mask | None = None) -> HandEvidence:
    """Colour and place of one hand. `maps` (N, h, w) are the foreground maps, `held` a first guess of the object."""
    core, wide = hand.capsules(scene.shape, CORE), hand.capsules(scene.shape, WIDE)
    distance = distance_to(wide) / (FALLOFF * hand.metre)
    front = maps.max(0)
    object_only = _object_only(hand, core, maps)
    own, occluder = _split_core(scene, hand, core & (object_only < 0.5), front)
    rest = [_rest(scene, hand, distance, front), occluder]
    if held is not None:
        rest.append(subsample(scene.lab[held]))
    rest_model = ColourModel.fit(np.concatenate(rest), 8)
    colour = _log_odds(scene, ColourModel.fit(own, 4), rest_model)
    sure = (colour > 1) & (distance < 0.5)
    if sure.sum() > 300:  # once more, with the colours of the whole hand instead of its bones
        colour = _log_odds(scene, ColourModel.fit(scene.lab[sure], 4), rest_model)
    score = colour + np.where(core, 1.0, 0.0) + 1.0 - 1.3 * np.minimum(distance, 5)
    score -= 2.0 * object_only
    if sure.any() and (seen := float(front[sure].mean())) > 0.6:  # the maps do show this hand: believe their edge
        score -= 4.0 * seen * (1 - front)
    smooth = guided_filter(scene.image, np.clip(score, -4, 4), max(2, round(0.006 * hand.metre)))
    return HandEvidence(core, distance, colour, smooth.astype(np.float64))


def beyond_wrist(scene: Scene, hand: Skeleton, direction: F64, margin: float = 0.012) -> Mask:
    """(h, w): more than `margin` metres past the wrist, in the forearm's direction."""
    y, x = np.mgrid[: scene.shape[0], : scene.shape[1]]
    along = (x - hand.wrist[0]) * direction[0] + (y - hand.wrist[1]) * direction[1]
    return np.asarray(along > margin * hand.metre)


def cut_hand(evidence: HandEvidence, arm_side: Mask) -> Mask:
    """The hand mask: where the evidence is positive, not past the wrist, in parts that contain bone."""
    mask = (evidence.score > 0) & ~arm_side
    labels, areas = components(mask)
    bone = np.bincount(labels[evidence.core & mask], minlength=len(areas))
    bone[0] = 0
    kept = np.flatnonzero(bone >= max(1.0, PART_SHARE * bone.max()))
    return np.asarray(np.isin(labels, kept) & mask)


def _log_odds(scene: Scene, hand: ColourModel, rest: ColourModel) -> F64:
    other = np.logaddexp(rest.log_likelihood(scene.lab), ANY_COLOUR)
    return np.asarray(np.clip(hand.log_likelihood(scene.lab) - other, -6, 6))


def _rest(scene: Scene, hand: Skeleton, distance: np.ndarray, foreground: np.ndarray) -> F64:
    """Colours of what is not this hand: the foreground in full, the background thinned; away from the forearm."""
    y, x = np.mgrid[: scene.shape[0], : scene.shape[1]]
    d = hand.wristward
    along = (x - hand.wrist[0]) * d[0] + (y - hand.wrist[1]) * d[1]
    across = np.abs((y - hand.wrist[1]) * d[0] - (x - hand.wrist[0]) * d[1])
    forearm = (along > 0) & (across < 0.05 * hand.metre + 0.4 * along)
    far = (distance > 1) & ~forearm
    if not far.any():
        far = distance >= np.quantile(distance, 0.8)
    front = far & (foreground > 0.35)
    return np.concatenate([subsample(scene.lab[front]), subsample(scene.lab[far & ~front])])


def _split_core(scene: Scene, hand: Skeleton, core: Mask, foreground: np.ndarray) -> tuple[F64, F64]:
    """Lab colours under the bones: the hand's own, and those of what covers it.

    Hardly any object covers the root of the hand. Skin is recognised as skin if the root has skin of a like hue;
    what has another colour (gloves, dark or grey pictures) counts as hand if the root has it.
    """
    samples = subsample(scene.lab[core], 6000)
    if len(samples) < 10:
        return scene.lab.reshape(-1, 3)[:: max(1, scene.lab.size // 3000)], np.zeros((0, 3))
    labels, centres = kmeans(samples, min(5, max(2, len(samples) // 50)))
    share = np.bincount(labels, minlength=len(centres)) / len(labels)
    at_root = core & (_near(scene, hand, (0, 1)) < WRIST_REACH * hand.metre)
    if (at_root & (foreground > 0.35)).sum() > 0.2 * at_root.sum():
        at_root &= foreground > 0.35
    root = np.zeros(len(centres))
    if at_root.sum() > 20:
        nearest = ((scene.lab[at_root][:, None] - centres[None]) ** 2).sum(-1).argmin(1)
        root = np.bincount(nearest, minlength=len(centres)) / at_root.sum()
    skin = is_skin(centres) & (share > MIN_SHARE)
    rooted = skin & (root > 0.1)
    if rooted.any():
        gap = np.linalg.norm(centres[:, None, 1:] - centres[None, rooted, 1:], axis=-1).min(1)
        skin &= (gap < LIKE_HUE) & (centres[:, 0] > DEEPEST_SHADOW * centres[rooted, 0].min())
    kept = skin | (root > 0.4) if share[skin].sum() > 0.2 else (root > 0.2) | (share >= 0.35 * share.max())
    return samples[kept[labels]], samples[~kept[labels]]


def _near(scene: Scene, hand: Skeleton, joints: tuple[int, ...]) -> np.ndarray:
    """(h, w) pixels to the nearest of some joints."""
    y, x = np.mgrid[: scene.shape[0], : scene.shape[1]]
    gaps = [np.hypot(x - hand.keypoints[j, 0], y - hand.keypoints[j, 1]) for j in joints]
    return np.asarray(np.min(gaps, axis=0))


def _object_only(hand: Skeleton, core: Mask, maps: np.ndarray) -> np.ndarray:
    """(h, w) in 0..1: votes of those maps that show the object without the hand.

    Such a map leaves the root of the hand out; what it holds under the bones is then the object.
    """
    votes = np.zeros(core.shape)
    height, width = core.shape
    root = np.round(hand.keypoints[list(ROOT)]).astype(int)
    x, y = root[(root >= 0).all(1) & (root[:, 0] < width) & (root[:, 1] < height)][:2].T
    if not len(x):
        return votes
    for m in maps:
        if m[y, x].max() < 0.2 and m[core].mean() < 0.85 and (m > FOREGROUND).mean() > 0.01:
            votes = np.maximum(votes, m)
    return votes
