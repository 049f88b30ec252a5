"""The two MediaPipe hand networks through LiteRT: the palm detector and the landmark network.

Inputs are square RGB crops; answers are given in pixels of the photo the crop was cut from. Both networks
and their pre- and post-processing are described in "MediaPipe Hands: On-device Real-time Hand Tracking"
(Zhang et al. 2020); the layout of the outputs was read off the files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.hand.regions import Pyramid, Region
from pipeline.types import F64
from pipeline.weights import weight_path

PALM_SIDE, LANDMARK_SIDE = 192, 224
_STRIDES = ((8, 2), (16, 6))  # (stride in pixels, anchors per cell) of the palm detector


@dataclass(frozen=True)
class Palm:
    """One answer of the palm detector, in the photo's pixels."""

    score: float
    centre: F64  # (2,)
    size: float  # side of the palm's box
    wrist: F64  # (2,)
    middle: F64  # (2,) base of the middle finger

    def hand_region(self) -> Region:
        """The region the landmark network wants: the palm's box moved half its size towards the fingers, x 2.6."""
        along = self.middle - self.wrist
        angle = math.atan2(along[1], along[0])
        towards = np.array([math.cos(angle), math.sin(angle)])
        cx, cy = self.centre + 0.5 * self.size * towards
        return Region(float(cx), float(cy), 2.6 * self.size, angle + math.pi / 2)


@dataclass(frozen=True)
class Landmarks:
    """One answer of the landmark network, in the photo's pixels and orientation."""

    keypoints: F64  # (21, 2) pixels
    world: F64  # (21, 3) metres, x right, y down, z forward, origin near the hand's centre
    presence: float  # 0..1
    right_score: float  # 0..1
    region: Region  # what the network was shown

    def hand_region(self, scale: float = 1.9, mirrored: bool = False) -> Region:
        """A region around these keypoints, fingers up: where to look again."""
        knuckles = (self.keypoints[5] + self.keypoints[13] + 2 * self.keypoints[9]) / 4
        along = knuckles - self.keypoints[0]
        angle = math.atan2(along[1], along[0]) + math.pi / 2
        axes = Region(0, 0, 1, angle).axes()
        turned = self.keypoints @ axes
        low, high = turned.min(0), turned.max(0)
        cx, cy = axes @ ((low + high) / 2)
        return Region(float(cx), float(cy), float((high - low).max() * scale), angle, mirrored)


class HandNetworks:
    """Both networks, loaded once per process by `load`; one thread, so results do not depend on the machine."""

    def __init__(self, detector: Path, landmarks: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._detector = Interpreter(model_path=str(detector), num_threads=1)
        self._landmarks = Interpreter(model_path=str(landmarks), num_threads=1)
        for network in (self._detector, self._landmarks):
            network.allocate_tensors()
        self._anchors = _anchors()

    def palms(self, photo: Pyramid, region: Region, threshold: float) -> list[Palm]:
        """Every anchor above the threshold (no suppression), in the photo's pixels."""
        raw, logits = sorted(self._run(self._detector, photo.cut(region, PALM_SIDE)), key=lambda a: -a.shape[-1])
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -50, 50)))
        palms = []
        for i in np.flatnonzero(scores > threshold):
            anchor = self._anchors[i] * PALM_SIDE
            centre = region.to_photo(anchor + raw[0, i, :2], PALM_SIDE)
            points = region.to_photo(anchor + raw[0, i, 4:18].reshape(7, 2), PALM_SIDE)
            size = float(raw[0, i, 2:4].max()) * region.size / PALM_SIDE
            palms.append(Palm(float(scores[i]), centre, size, wrist=points[0], middle=points[2]))
        return palms

    def landmarks(self, photo: Pyramid, region: Region) -> Landmarks:
        """The 21 landmarks the network believes to see in the region, with its own doubt."""
        screen, presence, right, world = self._run(self._landmarks, photo.cut(region, LANDMARK_SIDE))
        keypoints = region.to_photo(screen.reshape(21, 3)[:, :2].astype(np.float64), LANDMARK_SIDE)
        shape = world.reshape(21, 3).astype(np.float64)
        shape[:, :2] = shape[:, :2] @ region.axes().T
        right_score = float(right.ravel()[0])
        return Landmarks(
            keypoints, shape, float(presence.ravel()[0]), 1 - right_score if region.mirrored else right_score, region
        )

    @staticmethod
    def _run(network: Any, crop: np.ndarray) -> list[np.ndarray]:
        """Feed one RGB crop; outputs ordered by name (the exporter numbered them)."""
        network.set_tensor(network.get_input_details()[0]["index"], crop[None].astype(np.float32) / 255)
        network.invoke()
        outputs = sorted(network.get_output_details(), key=lambda detail: detail["name"])
        return [network.get_tensor(detail["index"]) for detail in outputs]


@lru_cache(maxsize=1)
def load() -> HandNetworks:
    """The networks from the weight cache. Raises MissingWeights."""
    return HandNetworks(weight_path("hand_detector"), weight_path("hand_landmarks"))


def _anchors() -> F64:
    """(2016, 2) centres of the palm detector's anchors, as fractions of the crop."""
    rows = []
    for stride, count in _STRIDES:
        cells = PALM_SIDE // stride
        centres = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(centres, centres)
        rows.append(np.repeat(np.column_stack([x.ravel(), y.ravel()]), count, axis=0))
    return np.concatenate(rows)
