"""The MediaPipe hand networks as a detector of hands that hold things.

    keypoints given -> used as they are
    box given       -> the landmark network in every direction inside the box
    else            -> palm detector over many views -> landmark network -> agreement of several looks
    nothing sure    -> the landmark network over skin-coloured patches and the frame
    nothing at all  -> ... and over the photo's borders: the one hand that is best agreed on

Held objects hide palms and fingers, so a single pass over the photo misses almost half of such hands; the
views, the agreement score and the search are what it takes (STACK, "Hands").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.errors import NoHandFound
from pipeline.hand import networks as hand_networks
from pipeline.hand.consensus import Candidate, distance, extent, follow, look_again, overlap
from pipeline.hand.networks import HandNetworks, Landmarks
from pipeline.hand.proposals import Box, border_boxes, likely_boxes, palms, regions_of
from pipeline.hand.regions import Pyramid, Region
from pipeline.types import F64, U8, HandBox, HandDetection, HandHints, Photo, Side
from pipeline.weights import WEIGHTS

ACCEPTED = 0.42  # agreement score from which a hand is believed
ACCEPTED_CUT_OFF = 0.52  # ... when it was only found by looking where the photo ends; ghosts there reach 0.50
SURE = 0.58  # from which no further search is made
ACCEPTED_IN_BOX = 0.15  # a person said there is a hand
SMALLEST_PX = 40.0  # a smaller hand cannot be reconstructed, and most ghosts are small
_PALMS = 14  # palms that are looked at
_LOOKED_AT = 6  # answers per photo, box or patch that get the eight looks
_SAME_HAND = 0.6  # overlap of boxes from which two answers are one hand
_TOUCHING = 0.15  # overlap from which the lesser answer must be
_SURE_BESIDE = 0.65  # this sure, because half a hand and its object often look like another hand


class MediapipeDetector:
    """Hands by the MediaPipe palm detector and landmark network; needs the weights of recipe `cpu`."""

    name = "mediapipe"
    version = "2"
    weights_digest = " ".join(WEIGHTS[name].sha256[:12] for name in ("hand_detector", "hand_landmarks"))

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """No settings."""

    def detect(self, photo: Photo, hints: HandHints) -> list[HandDetection]:
        """Hands, larger first, then from the left; [] if none. Raises NoHandFound for a box without a hand."""
        networks = hand_networks.load()
        pyramid = Pyramid(photo.image)
        found = [
            _from_keypoints(networks, pyramid, keypoints, side)
            for keypoints, side in zip(hints.keypoints, _padded(hints.sides, len(hints.keypoints)), strict=True)
        ]
        found += [_in_box(networks, pyramid, box, photo.name) for box in hints.boxes]
        return sorted(found or _everywhere(networks, pyramid, photo.image), key=_order)


def _padded(sides: tuple[Side | None, ...], count: int) -> list[Side | None]:
    return [*sides, *[None] * (count - len(sides))]


def _order(hand: HandDetection) -> tuple[float, float]:
    return -round(float(np.ptp(hand.keypoints, axis=0).prod())), float(hand.keypoints[:, 0].min())


def _everywhere(networks: HandNetworks, photo: Pyramid, image: U8) -> list[HandDetection]:
    """Palm detector first; the search joins in when no hand is sure."""
    found = [(candidate, "detector") for candidate in _from_palms(networks, photo)]
    if not any(candidate.score >= SURE for candidate, _ in found):
        for box in likely_boxes(image):
            found += [(candidate, "search") for candidate in _around(networks, photo, box)]
            if any(candidate.score >= SURE for candidate, _ in found):
                break
    if not any(candidate.score >= ACCEPTED for candidate, _ in found):
        cut_off = [candidate for box in border_boxes(*image.shape[:2]) for candidate in _around(networks, photo, box)]
        best = max(cut_off, key=lambda candidate: candidate.score, default=None)
        found = [(best, "search")] if best is not None and best.score >= ACCEPTED_CUT_OFF else []
    kept: list[tuple[Candidate, str]] = []
    for candidate, source in sorted(found, key=lambda f: -f[0].score):
        shared = max((overlap(candidate.keypoints, other.keypoints) for other, _ in kept), default=0.0)
        needed = ACCEPTED if shared < _TOUCHING else _SURE_BESIDE
        if candidate.score >= needed and shared < _SAME_HAND and extent(candidate.keypoints) >= SMALLEST_PX:
            kept.append((candidate, source))
    return [_detection(candidate, source, None) for candidate, source in kept]


def _around(networks: HandNetworks, photo: Pyramid, box: Box) -> list[Candidate]:
    return _search(networks, photo, regions_of(box, (1.2, 1.7), 8), box, looked_at=3)


def _from_palms(networks: HandNetworks, photo: Pyramid) -> list[Candidate]:
    """What the landmark network makes of the palms, plain or mirrored, whichever it believes more."""
    seen = []
    for palm in palms(networks, photo, _PALMS):
        region = palm.hand_region()
        starts = [networks.landmarks(photo, replace(region, mirrored=flip)) for flip in (False, True)]
        seen.append(max((follow(networks, photo, start) for start in starts), key=lambda s: s.presence))
    return _best(networks, photo, seen, _LOOKED_AT)


def _search(
    networks: HandNetworks, photo: Pyramid, regions: Iterable[Region], box: Box, looked_at: int
) -> list[Candidate]:
    """What the landmark network makes of many regions, preferring answers that fill the box."""

    def worth(seen: Landmarks) -> float:
        return seen.presence * _fills(seen.keypoints, box)

    answers = sorted((networks.landmarks(photo, region) for region in regions), key=worth, reverse=True)
    refined: list[Landmarks] = []
    for answer in answers[: 2 * looked_at]:
        best = answer
        for _ in range(2):
            again = [networks.landmarks(photo, best.hand_region(mirrored=flip)) for flip in (False, True)]
            best = max((best, *again), key=worth)
        refined.append(best)
    return _best(networks, photo, sorted(refined, key=worth, reverse=True), looked_at)


def _fills(keypoints: F64, box: Box) -> float:
    """How well the keypoints' box agrees with a box (0.2 .. 1.2); some keypoints may be hidden outside it."""
    low, high = keypoints.min(0), keypoints.max(0)
    inter = np.clip(np.minimum(high, (box.x1, box.y1)) - np.maximum(low, (box.x0, box.y0)), 0, None).prod()
    union = (high - low).prod() + (box.x1 - box.x0) * (box.y1 - box.y0) - inter
    return 0.2 + float(inter / max(union, 1e-9))


def _best(networks: HandNetworks, photo: Pyramid, seen: list[Landmarks], count: int) -> list[Candidate]:
    """The `count` most present, different and large enough answers, each looked at again."""
    distinct: list[Landmarks] = []
    for answer in sorted(seen, key=lambda s: -s.presence):
        different = all(distance(answer.keypoints, other.keypoints) > 0.12 for other in distinct)
        if different and extent(answer.keypoints) >= SMALLEST_PX and answer.presence > 0.1:
            distinct.append(answer)
    return [look_again(networks, photo, answer) for answer in distinct[:count]]


def _in_box(networks: HandNetworks, photo: Pyramid, hint: HandBox, name: str) -> HandDetection:
    """The best answer inside a person's box. Raises NoHandFound."""
    box = Box(hint.x0, hint.y0, hint.x1, hint.y1)
    found = _search(networks, photo, regions_of(box, (1.2, 1.6, 2.1), 12), box, looked_at=_LOOKED_AT)

    def worth(candidate: Candidate) -> float:
        belief = {"right": candidate.right_score, "left": 1 - candidate.right_score, None: 1.0}[hint.side]
        return candidate.score * _fills(candidate.keypoints, box) * (0.2 + 0.8 * belief)

    best = max(found, key=worth, default=None)
    if best is None or best.score < ACCEPTED_IN_BOX:
        raise NoHandFound(f"{name}: no hand recognised in the given box; give its 21 keypoints instead")
    return _detection(best, "box", hint.side)


def _from_keypoints(networks: HandNetworks, photo: Pyramid, keypoints: F64, side: Side | None) -> HandDetection:
    """A person's keypoints as they are; the 3D shape from the network where it sees the same hand."""
    given = Landmarks(np.asarray(keypoints, np.float64), np.zeros((21, 3)), 1.0, 0.5, Region(0, 0, 1))
    seen = look_again(networks, photo, given)
    agrees = distance(seen.keypoints, given.keypoints) < 0.15
    world = seen.world if agrees else np.zeros((21, 3))
    return HandDetection(given.keypoints, world, 1.0, seen.right_score, side, "keypoints")


def _detection(candidate: Candidate, source: str, side: Side | None) -> HandDetection:
    return HandDetection(candidate.keypoints, candidate.world, candidate.score, candidate.right_score, side, source)
