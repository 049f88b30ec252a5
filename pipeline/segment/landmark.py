"""The `cpu` recipe's segmenter: foreground network, hand landmarks and colours. Runs without the network too.

photo -> scene (640 px) -> foreground maps --+--> hand evidence -> forearm -> hand mask --+
                                             |                                            +-> object
                                             +--> second round, knowing the object <------+
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from pipeline.segment.colour import to_lab
from pipeline.segment.contour import ADJACENT
from pipeline.segment.cut import cut
from pipeline.segment.foreground import ForegroundNet, grabcut_map
from pipeline.segment.hand_mask import cut_hand, hand_evidence
from pipeline.segment.object_mask import Forearm, Grasp, choose_object, find_forearm
from pipeline.segment.scene import Scene, dilate, distance_to, eroded, signed_distance
from pipeline.types import HandDetection, Mask, Masks, Photo
from pipeline.weights import WEIGHTS, is_cached, weight_path

WITHOUT_NETWORK = "foreground by GrabCut: the ISNet weights are missing (hoi-annotate models pull cpu)"
REACH = 0.12  # metres around the hand in which GrabCut may find an object
EDGE = 0.001  # metres by which a contour at working size is off; it moves by no more than four times that
SURE_OBJECT = 0.006  # metres from its contour, where a first object mask teaches the hand what is not hand


class LandmarkSegmenter:
    """Hand, object and forearm from landmarks, colours, and what stands out of the photo."""

    name = "landmark"
    version = "5"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`threads` of the network, 1 when not given: workers are as many as cores; any number gives the same bits."""
        self._threads = int(settings.get("threads", 1))

    @property
    def weights_digest(self) -> str:
        """sha256 of ISNet as published, '' when GrabCut stands in for it."""
        return WEIGHTS["isnet"].sha256 if is_cached("isnet") else ""

    def segment(self, photo: Photo, hands: list[HandDetection]) -> list[Masks | str]:
        """One entry per hand: masks at photo size, or why this hand has none."""
        if not hands:
            return []
        scene = Scene.of(photo, hands)
        notes: tuple[str, ...] = ()
        if is_cached("isnet"):
            net = ForegroundNet(weight_path("isnet"), self._threads)
            maps = net.maps(scene.image, [h.keypoints for h in scene.hands])
        else:
            maps, notes = np.stack([_grabcut(scene, i) for i in range(len(hands))]), (WITHOUT_NETWORK,)
        return at_photo_size(segment_scene(scene, maps), scene, photo, notes)


def segment_scene(scene: Scene, maps: np.ndarray) -> list[Masks | str]:
    """The masks of every hand at working size, given foreground maps (N, h, w) in 0..1."""
    first = _one_round(scene, maps, [None] * len(scene.hands))
    held = [
        None if isinstance(m, str) else eroded(m.object, SURE_OBJECT * hand.metre)
        for m, hand in zip(first, scene.hands, strict=True)
    ]
    return _one_round(scene, maps, held)


def _one_round(scene: Scene, maps: np.ndarray, held: list[Mask | None]) -> list[Masks | str]:
    front = maps.max(0)
    evidence = [hand_evidence(scene, h, maps, known) for h, known in zip(scene.hands, held, strict=True)]
    arms = [find_forearm(scene, h, e, front) for h, e in zip(scene.hands, evidence, strict=True)]
    nearest = np.argmax([e.score for e in evidence], axis=0)  # a pixel belongs to one hand
    hands = [
        cut_hand(e, a.side | (nearest != i), h.metre)
        for i, (e, a, h) in enumerate(zip(evidence, arms, scene.hands, strict=True))
    ]
    skin = np.asarray(np.any(hands, axis=0))
    arms = [replace(a, mask=a.mask & ~skin) for a in arms]
    taken = np.asarray(np.any([skin, *(a.mask for a in arms)], axis=0))
    return [_masks(scene, i, hands[i], arms[i], taken, maps) for i in range(len(hands))]


def _masks(scene: Scene, index: int, hand: Mask, arm: Forearm, taken: Mask, maps: np.ndarray) -> Masks | str:
    skeleton = scene.hands[index]
    if not hand.any():
        return f"hand {index + 1}: nothing under its keypoints looks like a hand"
    rim = dilate(taken, 0.25 * ADJACENT * skeleton.metre)
    grasp = Grasp(hand, arm.mask, taken, rim, skeleton.hull(scene.shape), skeleton.metre)
    obj, score = choose_object(scene, grasp, maps)
    if not obj.any():
        return f"hand {index + 1}: nothing that stands out touches it"
    return Masks(hand, obj, arm.mask & ~hand & ~obj, score)


def _grabcut(scene: Scene, index: int) -> np.ndarray:
    hand = scene.hands[index]
    body = hand.capsules(scene.shape)
    return grabcut_map(scene.image, body | hand.hull(scene.shape), distance_to(body) > REACH * hand.metre)


def at_photo_size(answers: list[Masks | str], scene: Scene, photo: Photo, notes: tuple[str, ...]) -> list[Masks | str]:
    """Masks of working size -> masks of photo size, on the photo's own edges where it is the finer of the two."""
    return [
        answer if isinstance(answer, str) else _scaled(answer, photo, scene.scale, hand.metre / scene.scale, notes)
        for answer, hand in zip(answers, scene.hands, strict=True)
    ]


def _scaled(masks: Masks, photo: Photo, scale: float, metre: float, notes: tuple[str, ...]) -> Masks:
    size = photo.size[::-1]
    hand, obj, arm = (
        np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5)
        for mask in (masks.hand, masks.object, masks.arm)
    )
    if scale < 1:
        hand = _snapped(hand, photo, metre) & ~arm
        obj = _snapped(obj, photo, metre) & ~arm
    obj &= ~hand
    return Masks(hand, obj, arm & ~hand & ~obj, masks.score, notes + masks.notes)


def _snapped(mask: Mask, photo: Photo, metre: float) -> Mask:
    """(H, W): the mask with its contour moved to the edges of the photo, by at most four times EDGE."""
    reach = max(1.0, EDGE * metre)
    y, x = np.nonzero(dilate(mask, 5 * reach))
    if not len(y):
        return mask
    window = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
    moved = mask.copy()
    moved[window] = cut(to_lab(photo.image[window]), signed_distance(mask[window]) / reach, certain=True)
    return moved
