"""The visible hand, guided by its landmarks.

capsules around the bones -> colours under them, the occluder's dropped -> colour models of hand and rest
-> bones that something hides left out -> log odds + distance prior -> guided filter -> cut -> parts that contain bone
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.segment.colour import ColourModel, is_skin, kmeans, subsample
from pipeline.segment.cut import cut
from pipeline.segment.guided import guided_filter
from pipeline.segment.scene import Scene, Skeleton, components, distance_to, without_thin_holes
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
MOST_SHOWN = 0.2  # of the hand, in a map that is believed to leave it out
OBJECT_ONLY = 3.0  # log odds against the hand where a map shows the object without it
INSIDE = 1.0  # log odds that what lies within the capsules is hand
THIN_GAP = 0.002  # metres from rim to middle; thinner holes are prints on a glove, nails and highlights
VISIBLE = 0.15  # of a bone's pixels have the hand's colours, unless something hides it
MIN_SHARE = 0.03  # of the core's pixels, for a colour to count
LEAST_BONE = 3e-5  # square metres under which there is bone, for a part to be kept: half a fingertip
PART_SHARE = 0.04  # of the largest part's bone pixels, for a part to be kept


@dataclass(frozen=True)
class HandEvidence:
    """What is known about one hand before masks are cut out."""

    core: Mask  # (h, w) thin capsules
    distance: np.ndarray  # (h, w) to the wide capsules, in units of FALLOFF
    colour: F64  # (h, w) log odds hand / rest of the colours alone, clipped to +-6
    score: F64  # (h, w) > 0 where the hand is more likely than not, smooth
    likely: Mask  # (h, w) the hand by score and the picture's edges, uncut at the wrist


def hand_evidence(scene: Scene, hand: Skeleton, maps: np.ndarray, held: Mask | None = None) -> HandEvidence:
    """Colour and place of one hand. `maps` (N, h, w) are the foreground maps, `held` a first guess of the object."""
    (palm, bones), (wide_palm, wide_bones) = (
        (hand.palm(scene.shape, width), hand.bones(scene.shape, width)) for width in (CORE, WIDE)
    )
    core = palm | bones.any(0)
    distance = _reach(hand, wide_palm | wide_bones.any(0))
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
    seen = _visible(bones, colour)  # a hidden bone says nothing about the pixels in front of it
    bare = palm | bones[seen].any(0)
    distance = _reach(hand, wide_palm | wide_bones[seen].any(0))
    score = colour + np.where(bare, 1.0, 0.0) + INSIDE - 1.3 * np.minimum(distance, 5)
    score -= _object_votes(object_only, colour, distance)
    if sure.any() and (shown := float(front[sure].mean())) > 0.6:  # the maps do show this hand: believe their edge
        score -= 4.0 * shown * (1 - front)
    smooth = guided_filter(scene.image, np.clip(score, -4, 4), max(2, round(0.003 * hand.metre)))
    return HandEvidence(core, distance, colour, smooth.astype(np.float64), cut(scene.lab, smooth))


def _object_votes(object_only: np.ndarray, colour: F64, distance: np.ndarray) -> np.ndarray:
    """(h, w) log odds against the hand: much if the maps leave out the whole hand, little if they take in fingers."""
    sure = (colour > 2) & (distance < 0.5)
    shown = float(object_only[sure].mean()) if sure.any() else 1.0
    return np.asarray((2.0 + OBJECT_ONLY * max(0.0, 1 - shown / MOST_SHOWN)) * object_only)


def _reach(hand: Skeleton, body: Mask) -> np.ndarray:
    """(h, w) distance to a part of the hand in units of FALLOFF."""
    return np.asarray(distance_to(body) / (FALLOFF * hand.metre))


def _visible(bones: Mask, colour: F64) -> np.ndarray:
    """(15,) bool: the finger bones (15, h, w) under which there is hand; the others are behind what is held."""
    return np.array([bool(bone.any()) and float((colour[bone] > 0).mean()) > VISIBLE for bone in bones])


def beyond_wrist(shape: tuple[int, int], hand: Skeleton, direction: F64) -> Mask:
    """(h, w): past the wrist's crease, where the detector puts its wrist, in the forearm's direction."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    along = (x - hand.wrist[0]) * direction[0] + (y - hand.wrist[1]) * direction[1]
    return np.asarray(along > 0)


def cut_hand(evidence: HandEvidence, arm_side: Mask, metre: float) -> Mask:
    """The hand mask: where the evidence is positive, not past the wrist, in parts that contain bone.

    `metre` is its length in pixels.
    """
    mask = evidence.likely & ~arm_side
    labels, areas = components(mask)
    bone = np.bincount(labels[evidence.core & mask], minlength=len(areas))
    bone[0] = 0
    kept = np.flatnonzero(bone >= min(LEAST_BONE * metre**2, max(1.0, PART_SHARE * bone.max())))
    return without_thin_holes(np.isin(labels, kept) & mask, THIN_GAP * metre) & ~arm_side


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
