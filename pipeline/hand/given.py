"""Hands given as files: our own parameters, or what HaMeR and WiLoR saved (saved.py).

<photo>.npz    side, global_orient (3,), hand_pose (45,), betas (10,), transl (3,) as `HandPose` has them; several
               hands: each with a first axis of N. Or any file that saved.py reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.geometry.camera import project
from pipeline.hand.consensus import distance
from pipeline.hand.predicted import SAME_HAND, best_of, estimate
from pipeline.hand.saved import files_digest, find, read_hands
from pipeline.hand_model import load_hand
from pipeline.hand_model.model import OPEN_HAND
from pipeline.types import Camera, HandDetection, HandEstimate, HandPose, Mask, Photo, Side

SHAPES = {"global_orient": 3, "hand_pose": 45, "betas": 10, "transl": 3}


class GivenHand:
    """Settings: `path`, a file or a folder with one file per photo."""

    name = "given"
    version = "1"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._path = Path(settings.get("path", "")).expanduser()
        self._model = str(settings.get("hand_model", OPEN_HAND))

    def needs(self) -> list[str]:
        """One line when the path is not there."""
        return [] if self._path.exists() else [f"given: there is no '{self._path}'; set 'path' in [hand] of the recipe"]

    @property
    def weights_digest(self) -> str:
        """sha256 of the given files."""
        return files_digest(self._path)

    def fit(self, photo: Photo, detection: HandDetection, hand_mask: Mask, camera: Camera) -> HandEstimate:
        """The given hand that lies on the detected one. Raises PipelineError when none does."""
        path = find(self._path, photo)
        poses = _own(path) if path.suffix == ".npz" else None
        if poses is None:
            hand = best_of(read_hands(path, photo), detection, camera)
            if hand is not None:
                return estimate(hand, detection, camera, self._model)
            raise PipelineError(f"{photo.name}: no hand of {path} lies on the detected one")
        placed = [(distance(_drawn(pose, camera, self._model), detection.keypoints), i) for i, pose in enumerate(poses)]
        apart, nearest = min(placed)
        if apart > SAME_HAND:
            raise PipelineError(f"{photo.name}: no hand of {path} lies on the detected one")
        pose = poses[nearest]
        return HandEstimate(pose, self._model, _drawn(pose, camera, self._model), 0.0, 0.0, 1.0)


def _drawn(pose: HandPose, camera: Camera, model: str) -> np.ndarray:
    joints = load_hand(pose.side, model).posed(pose)[1]
    if joints[:, 2].min() <= 0:
        raise PipelineError("the given hand lies behind the camera")
    return np.asarray(project(joints, camera.K))


def _own(path: Path) -> list[HandPose] | None:
    """The poses in a file of our own; None when it is another's. Raises PipelineError when it is broken."""
    try:
        with np.load(path, allow_pickle=False) as data:
            found = {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError) as error:
        raise PipelineError(f"{path}: is no npz file of numbers ({error})") from error
    if "side" not in found or "transl" not in found:
        return None
    sides = np.atleast_1d(found["side"])
    arrays = {}
    for name, length in SHAPES.items():
        array = np.asarray(found.get(name, np.full(length, np.nan)), dtype=np.float64).reshape(-1)
        if array.size != len(sides) * length or not np.isfinite(array).all():
            raise PipelineError(f"{path}: '{name}' is not {length} finite numbers for each of {len(sides)} hands")
        arrays[name] = array.reshape(-1, length)
    if not set(map(str, sides)) <= {"left", "right"}:
        raise PipelineError(f"{path}: 'side' is neither left nor right")
    return [HandPose(_side(side), **{name: arrays[name][i] for name in SHAPES}) for i, side in enumerate(sides)]


def _side(value: Any) -> Side:
    return "right" if str(value) == "right" else "left"
