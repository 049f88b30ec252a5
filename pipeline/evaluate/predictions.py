"""Meshes of any other system, one folder per case: DIR/<case>/{hand,object}.{obj,ply,glb}, joints.txt if it has them.

Frames that systems answer in, and how they come into the photo's camera:

    camera   OpenCV: x right, y down, z forward                    as it is
    opengl   x right, y up, looking along -z                       y and z turned
    wrist    the camera's axes, origin at the hand's wrist         moved to the true wrist
    object   the true object's own frame                           by the true object's pose

Either file may be a point cloud (no faces): the object's shape is then measured, not its contact. A folder without a
hand is measured for its object, one without an object, or no folder at all, is a failure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import trimesh

from pipeline.errors import PipelineError
from pipeline.evaluate.datasets.case import BadDataset, Case, Surface
from pipeline.evaluate.pair import Pair
from pipeline.types import F64

Frame = Literal["camera", "opengl", "wrist", "object"]
Unit = Literal["m", "cm", "mm"]
FRAMES: tuple[Frame, ...] = get_args(Frame)
METRES: dict[Unit, float] = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
HAND_METRES = (0.05, 0.4)  # longest side of a hand's box, with some of its arm
SUFFIXES = (".obj", ".ply", ".glb")
OPENGL: F64 = np.diag([1.0, -1.0, -1.0])


class MissingPrediction(PipelineError):
    """The other system has no (readable) answer for a case."""


@dataclass(frozen=True)
class Predictions:
    """A folder of another system's answers."""

    name: str  # its row in the table
    folder: Path
    frame: Frame = "camera"
    unit: Unit = "m"

    def __call__(self, case: Case) -> Pair:
        """The answer for a case, in its camera frame. Raises MissingPrediction."""
        at = self.folder / case.name
        if not at.is_dir():
            raise MissingPrediction(f"{at}: no folder for this case")
        found = {what: self._file(at, what) for what in ("hand", "object")}
        if found["object"] is None:
            raise MissingPrediction(f"{at}: no object.obj, .ply or .glb")
        read = _read(found["hand"])
        if read is not None:
            self._check_unit(at, read)
        hand, item = (self._placed(case, surface) for surface in (read, _read(found["object"])))
        joints = at / "joints.txt"
        return Pair(hand, self._points(case, _joints(joints)) if joints.is_file() else None, item)

    def digest(self, name: str) -> str:
        """Of everything that decides a case's figures."""
        state = hashlib.sha256(f"{self.frame} {self.unit}".encode())
        at = self.folder / name
        for file in sorted(at.iterdir()) if at.is_dir() else []:
            if file.is_file():
                state.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
        return state.hexdigest()

    @staticmethod
    def _file(at: Path, what: str) -> Path | None:
        return next((at / f"{what}{suffix}" for suffix in SUFFIXES if (at / f"{what}{suffix}").is_file()), None)

    def _check_unit(self, at: Path, hand: Surface) -> None:
        """A hand's size is known: one that is a hand's in another unit only is in that one."""
        length = float(np.ptp(hand.vertices, axis=0).max())
        fitting = [unit for unit, metres in METRES.items() if HAND_METRES[0] <= length * metres <= HAND_METRES[1]]
        if fitting and self.unit not in fitting:
            raise MissingPrediction(
                f"{at}: the hand is {length:.4g} {self.unit} long; if that is in {fitting[0]}, say --unit {fitting[0]}"
            )

    def _placed(self, case: Case, surface: Surface | None) -> Surface | None:
        return None if surface is None else Surface(self._points(case, surface.vertices), surface.faces)

    def _points(self, case: Case, points: F64) -> F64:
        metres = points * METRES[self.unit]
        if self.frame == "opengl":
            return np.asarray(metres @ OPENGL)
        if self.frame == "wrist":
            return np.asarray(metres + case.joints[0])
        return case.pose.place(metres) if self.frame == "object" else metres


def predictions(text: str, frame: Frame, unit: Unit) -> Predictions:
    """From NAME=DIR or DIR, which is then named after its last part. Raises BadDataset."""
    name, equals, folder = text.partition("=")
    if not equals or Path(text).is_dir():  # a folder's own name may have the sign
        name, folder = Path(text).resolve().name, text
    path = Path(folder)
    if not path.is_dir():
        raise BadDataset(f"{path}: no such folder of predictions (<case>/object.obj, .ply or .glb)")
    return Predictions(name, path, frame, unit)


def _read(file: Path | None) -> Surface | None:
    if file is None:
        return None
    try:
        loaded: Any = trimesh.load(file, process=False)
        if isinstance(loaded, trimesh.Scene):
            parts = list(loaded.dump())
            clouds = [part for part in parts if isinstance(part, trimesh.PointCloud)]
            loaded = clouds[0] if clouds else trimesh.util.concatenate(parts)
        vertices = np.asarray(loaded.vertices, np.float64)
        faces = np.asarray(getattr(loaded, "faces", np.zeros((0, 3))), np.int64).reshape(-1, 3)
    except Exception as error:
        raise MissingPrediction(f"{file}: not a mesh that can be read ({error})") from error
    if not len(vertices) or not np.isfinite(vertices).all():
        raise MissingPrediction(f"{file}: the mesh is empty or not finite")
    return Surface(vertices, faces)


def _joints(file: Path) -> F64:
    try:
        joints = np.loadtxt(file)
    except ValueError as error:
        raise MissingPrediction(f"{file}: not 21 lines 'x y z'") from error
    if joints.shape != (21, 3) or not np.isfinite(joints).all():
        raise MissingPrediction(f"{file}: not 21 lines 'x y z'")
    return joints
