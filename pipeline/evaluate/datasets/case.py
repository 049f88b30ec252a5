"""One case of a data set: a photo and what is true of it, checked for the mistakes that units and frames invite."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import HoiError, PipelineError
from pipeline.evaluate.grasps import fit_hand
from pipeline.evaluate.lengths import LONG, OBJECT_METRES, PALM, PALM_METRES, not_metres
from pipeline.evaluate.scenes import Scene, mirrored_hand
from pipeline.geometry.camera import project
from pipeline.hand_model import load_hand
from pipeline.hand_model.mano_file import mano_path
from pipeline.hand_model.model import MANO
from pipeline.types import F64, I64, Camera, HandPose, Mask, ObjectPose, Side

DOWN = (0.0, 1.0, 0.0)  # where nothing tells of gravity: down the picture, as the field simulates
AWAY_METRES = 0.5  # hand and object farther apart than this are not in one frame
AGREE_METRES = 0.01  # between the joints a data set gives and those its hand parameters give


class BadDataset(HoiError):
    """A data set is not where or not what it is said to be; the message names the file."""


class NotHeld(PipelineError):
    """This frame shows no hand with an object."""


@dataclass(frozen=True)
class Surface:
    """Triangles; metres."""

    vertices: F64  # (V, 3)
    faces: I64  # (F, 3)


@dataclass(frozen=True)
class Case:
    """A photo with its truth. Camera frame (OpenCV), metres."""

    name: str
    photo_file: Path | None  # None: `scene` is rendered
    camera: Camera  # of the photo as it is on disk
    side: Side
    joints: F64  # (21, 3) OpenPose order
    hand: Surface | None  # the true hand's skin, closed; None where only the user's MANO could make it
    object_name: str
    object: Surface  # in its own frame
    pose: ObjectPose  # of the object, scale 1
    hand_mask: Mask | None = None  # (H, W) what is seen of the hand
    object_mask: Mask | None = None
    hand_model: str = MANO  # whose skin `hand` is
    down: F64 = field(default_factory=lambda: np.array(DOWN))  # (3,) unit vector of gravity
    scene: Scene | None = None  # of `rendered`

    @property
    def placed(self) -> F64:
        """(V, 3) the object's vertices in the camera frame."""
        return self.pose.place(self.object.vertices)


def checked(case: Case, source: Path) -> Case:
    """The case itself, if its numbers can be metres in an OpenCV camera that sees them. Raises BadDataset."""
    if not np.isfinite(case.joints).all() or case.joints.shape != (21, 3):
        raise BadDataset(f"{source}: the joints are {case.joints.shape}, not (21, 3) finite numbers")
    palm = float(np.linalg.norm(case.joints[9] - case.joints[0]))
    _in_range(source, "the hand's joints", PALM, palm, PALM_METRES)
    extent = float(np.ptp(case.placed, axis=0).max())
    _in_range(source, f"the object '{case.object_name}'", LONG, extent, OBJECT_METRES)
    for what, points in (("hand", case.joints), ("object", case.placed)):
        depth = float(np.median(points[:, 2]))
        if depth <= 0:
            raise BadDataset(
                f"{source}: the {what} lies behind the camera (z = {depth:.2f} m): its frame is not what was expected"
            )
    gap = float(np.linalg.norm(case.joints[:, None] - case.placed[None, ::97], axis=2).min())
    if gap > AWAY_METRES + extent:
        raise BadDataset(f"{source}: hand and object are {gap:.2f} m apart: they are not in one frame and unit")
    middle = project(case.joints, case.camera.K).mean(0)
    size = np.array([case.camera.width, case.camera.height])
    if (middle < -size).any() or (middle > 2 * size).any():
        raise BadDataset(
            f"{source}: the hand is seen at pixel {middle.round()}, far outside the photo: wrong K or frame"
        )
    return case


def _in_range(source: Path, what: str, which: str, metres: float, limits: tuple[float, float]) -> None:
    wrong = not_metres(what, which, metres, limits)
    if wrong is not None:
        raise BadDataset(f"{source}: {wrong}")


def skin_of(verts: F64, side: Side) -> Surface | None:
    """MANO vertices (778, 3) with the closed faces of the user's MANO; None when it was not added."""
    return Surface(verts, load_hand(side, MANO).faces) if mano_path(side).is_file() else None


def mano_hand(pose: HandPose) -> tuple[F64, F64] | None:
    """Vertices (778, 3) and joints (21, 3) by the user's MANO, in the pose's frame; None when it was not added."""
    return load_hand(pose.side, MANO).posed(pose) if mano_path(pose.side).is_file() else None


def agreeing(source: Path, found: F64, given: F64) -> None:
    """Raises BadDataset when hand parameters and joints of a file do not mean the same hand."""
    gap = float(np.linalg.norm(found - given, axis=1).mean())
    if gap > AGREE_METRES:
        raise BadDataset(f"{source}: MANO puts the joints {gap * 1e3:.0f} mm from where the file has them: wrong frame")


def true_hand(case: Case) -> tuple[Surface, float | None]:
    """The hand's skin: the data set's where it is known, else the open hand through the true joints.

    The second value is then the mean distance (millimetres) at which the open hand misses the joints.
    """
    if case.hand is not None:
        return case.hand, None
    mirror = np.array([-1.0, 1.0, 1.0]) if case.side == "left" else np.ones(3)
    centre = case.joints[0]
    right, residual = fit_hand((case.joints - centre) * mirror)
    pose = mirrored_hand(right) if case.side == "left" else right
    model = load_hand(case.side)
    return Surface(model.posed(replace(pose, transl=pose.transl + centre))[0], model.faces), residual
