"""Predictions of HaMeR or WiLoR -> the estimate of a detected hand, in our hand model.

Their numbers are MANO's. Its shape parameters mean nothing in another hand model, so the skin decides: the predicted
vertices, or those of the user's own MANO, are refitted (pipeline.hand_model.refit). Without either the joint angles are
taken over, which mean the same in every hand of this layout, with the open hand's own shape.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.errors import MissingWeights
from pipeline.geometry.camera import project
from pipeline.hand.consensus import distance
from pipeline.hand.weak_perspective import CropHand, joints_drawn, points_to_photo, to_photo
from pipeline.hand_model import HandModel, load_hand
from pipeline.hand_model.model import MANO, OPEN_HAND
from pipeline.hand_model.refit import refit
from pipeline.types import F64, Camera, HandDetection, HandEstimate, HandPose, Side

SAME_HAND = 0.35  # of the hand's extent: a prediction farther from the keypoints is another hand's
DOUBT = 0.1  # of the extent: how much of a distance to the detector's keypoints makes a prediction e times less sure
log = logging.getLogger(__name__)


def box_of(detection: HandDetection) -> F64:
    """(4,) x0, y0, x1, y1 around the keypoints, pixels; the predictors widen it themselves."""
    return np.concatenate([detection.keypoints.min(0), detection.keypoints.max(0)])


def sides_of(detection: HandDetection) -> list[Side]:
    """The sides to ask about: a person's word, else both, since detectors are often wrong about held objects."""
    return [detection.side] if detection.side is not None else ["right", "left"]


def best_of(hands: Sequence[CropHand], detection: HandDetection, camera: Camera) -> CropHand | None:
    """The prediction that lies on the detected keypoints, of the side the detector believes in; None if none does."""
    ranked = [(_misfit(hand, detection, camera), i) for i, hand in enumerate(hands) if _may_be(hand, detection)]
    near = [(misfit + _disbelief(hands[i], detection), i) for misfit, i in ranked if misfit * DOUBT < SAME_HAND]
    return hands[min(near)[1]] if near else None


def estimate(hand: CropHand, detection: HandDetection, camera: Camera, name: str = OPEN_HAND) -> HandEstimate:
    """The hand in the photo's camera, metric, as the named hand model poses it. Raises PipelineError."""
    model = load_hand(hand.side, name)
    pose, apart_mm = _posed(hand, camera, model)
    keypoints = project(model.posed(pose)[1], camera.K)
    return HandEstimate(
        pose=pose,
        model=model.name,
        keypoints=detection.keypoints if detection.source == "keypoints" else keypoints,
        residual_px=float(np.median(np.linalg.norm(keypoints - detection.keypoints, axis=1))),
        residual_mm=apart_mm,
        score=detection.presence * math.exp(-distance(keypoints, detection.keypoints) / DOUBT),
    )


def _may_be(hand: CropHand, detection: HandDetection) -> bool:
    return detection.side in (None, hand.side)


def _misfit(hand: CropHand, detection: HandDetection, camera: Camera) -> float:
    """Mean distance to the detected keypoints, in units of DOUBT."""
    return distance(joints_drawn(hand, camera.width, camera.height), detection.keypoints) / DOUBT


def _disbelief(hand: CropHand, detection: HandDetection) -> float:
    if detection.side is not None:
        return 0.0
    belief = detection.right_score if hand.side == "right" else 1 - detection.right_score
    return -math.log(min(max(belief, 0.05), 0.95))


def _posed(hand: CropHand, camera: Camera, model: HandModel) -> tuple[HandPose, float]:
    """The pose of `model`, and the millimetres its joints are away from the predicted ones."""
    if model.name == MANO:  # what the prediction's numbers are for
        return to_photo(hand, model, camera), 0.0
    if hand.verts is not None and hand.joints is not None:
        verts, joints = points_to_photo(hand, camera)
    else:
        try:
            mano = load_hand(hand.side, MANO)
        except MissingWeights as missing:
            log.info("predicted joint angles are taken over without the hand's shape: %s", missing)
            return to_photo(replace(hand, betas=np.zeros(10)), model, camera), 0.0
        verts, joints = mano.posed(to_photo(hand, mano, camera))
    pose, figures = refit(verts, joints, hand.side, model)
    return pose, figures["joints_mm"]
