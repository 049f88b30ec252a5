"""A hand as HaMeR and WiLoR predict it, brought into the photo's own camera (METHOD 1.2).

Both look at a square crop and answer a MANO hand in that crop's own camera: focal length 5000 for 256 pixels, so far
away that depth inside the hand does not show, and no metres. Of the photo the same hand is seen from near by:

    turn     the crop was looked at along the ray through its centre: its orientation turns with that ray
    place    metres from the hand's own size: where the photo's K must draw its joints so that the camera that the
             predictor answered is the one of its kind that fits them best (both cameras draw one and the same picture)
    mirror   a left hand was looked at in a mirrored crop: predicted as a right one, mirrored back (x negated)

Shape, articulation and orientation stay as predicted. What remains is the perspective inside the hand: the photo draws
near skin larger than the predictor's far camera does, a few pixels at arm's length. That is the photo's truth, and
turning or bending the hand to hide it would make the hand worse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.errors import PipelineError
from pipeline.geometry.camera import from_focal, project, rays
from pipeline.hand.registration import place_in_depth, rotation_to
from pipeline.hand_model import HandModel, load_hand
from pipeline.types import F64, Camera, HandPose, Side

FOCAL = 5000 / 256  # of the crop's camera, in sides of the picture; the full picture's is that of its longer side
MIRROR = np.array([-1.0, 1.0, 1.0])
MIRROR_TURN = np.array([1.0, -1.0, -1.0])  # of an axis-angle, when x is negated


@dataclass(frozen=True)
class CropHand:
    """One prediction: always of a right hand, in the orientation of the crop as the network saw it."""

    side: Side
    global_orient: F64  # (3,) axis-angle
    hand_pose: F64  # (45,) axis-angle, absolute
    betas: F64  # (10,) of MANO
    pred_cam: F64  # (3,) scale, x, y of the weak-perspective camera of the crop
    centre: F64  # (2,) of the crop, pixels of the photo
    size: float  # side of the crop, pixels of the photo
    verts: F64 | None = None  # (778, 3) metres, the right hand as predicted, in the crop's orientation
    joints: F64 | None = None  # (21, 3) metres, OpenPose order


def rotation_vector(turns: np.ndarray) -> F64:
    """(..., 3, 3) matrices, or (..., 3) axis-angle, as flat axis-angle."""
    turns = np.asarray(turns, np.float64)
    if turns.shape[-2:] == (3, 3):
        return np.asarray(Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec().ravel())
    return turns.ravel()


def full_translation(hand: CropHand, width: int, height: int) -> F64:
    """(3,) where the full picture's camera (focal FOCAL * longer side) has the hand; HaMeR's `cam_crop_to_full`."""
    scale, x, y = hand.pred_cam
    x = x if hand.side == "right" else -x
    span = hand.size * scale + 1e-9
    middle = hand.centre - np.array([width, height]) / 2
    return np.array([2 * middle[0] / span + x, 2 * middle[1] / span + y, 2 * FOCAL * max(width, height) / span])


def from_full_translation(transl: F64, side: Side, centre: F64, size: float, width: int, height: int) -> F64:
    """(3,) `pred_cam` of a crop, from the full picture's translation: what `full_translation` undoes."""
    span = 2 * FOCAL * max(width, height) / transl[2]
    middle = centre - np.array([width, height]) / 2
    x, y = transl[:2] - 2 * middle / span
    return np.array([span / size, x if side == "right" else -x, y])


def as_seen(hand: CropHand, points: F64, width: int, height: int) -> F64:
    """(N, 2) pixels at which the predictor draws points (N, 3) of its right hand in the full picture."""
    own = points if hand.side == "right" else points * MIRROR
    seen = own + full_translation(hand, width, height)
    return np.asarray(FOCAL * max(width, height) * seen[:, :2] / seen[:, 2:] + np.array([width, height]) / 2)


def joints_drawn(hand: CropHand, width: int, height: int) -> F64:
    """(21, 2) pixels at which the predictor draws the joints; those of the open hand's shape, where it gave none."""
    joints = hand.joints
    if joints is None:
        pose = HandPose("right", hand.global_orient, hand.hand_pose, np.zeros(10), np.zeros(3))
        joints = load_hand("right").posed(pose)[1]
    return as_seen(hand, joints, width, height)


def crop_pose(hand: CropHand) -> HandPose:
    """The prediction as the parameters of a hand of its own side, in the crop's orientation, not placed."""
    turn = np.ones(3) if hand.side == "right" else MIRROR_TURN
    pose = (hand.hand_pose.reshape(15, 3) * turn).ravel()
    return HandPose(hand.side, hand.global_orient * turn, pose, hand.betas, np.zeros(3))


def to_photo(hand: CropHand, model: HandModel, camera: Camera) -> HandPose:
    """The prediction as a pose of `model` (of its side, and the model it was made with) in the photo's camera.

    Raises PipelineError when it is not finite or lies behind the camera.
    """
    pose = crop_pose(hand)
    numbers = np.concatenate([pose.global_orient, pose.hand_pose, pose.betas, hand.pred_cam, hand.centre])
    if not np.isfinite(numbers).all() or not np.isfinite(hand.size) or hand.pred_cam[0] <= 0 or hand.size <= 0:
        raise PipelineError("the predicted hand is not finite, or lies behind the camera")
    joints = model.posed(pose)[1]
    orient = crop_turn(hand, camera) * Rotation.from_rotvec(pose.global_orient)
    turned = replace(pose, global_orient=orient.as_rotvec())
    transl = _place(model.posed(turned)[1], joints + full_translation(hand, camera.width, camera.height), camera)
    return replace(turned, transl=transl)


def points_to_photo(hand: CropHand, camera: Camera) -> tuple[F64, F64]:
    """Vertices (778, 3) and joints (21, 3) of the prediction in the photo's camera, metres; both must be there."""
    assert hand.verts is not None
    assert hand.joints is not None
    mirror = np.ones(3) if hand.side == "right" else MIRROR
    turn = crop_turn(hand, camera)
    verts, joints = turn.apply(hand.verts * mirror), turn.apply(hand.joints * mirror)
    seen = hand.joints * mirror + full_translation(hand, camera.width, camera.height)
    transl = _place(joints, seen, camera)
    return verts + transl, joints + transl


def crop_turn(hand: CropHand, camera: Camera) -> Rotation:
    """From the crop's camera to the photo's: along the ray through the crop's centre."""
    return Rotation.from_matrix(rotation_to(rays(hand.centre, camera.K)))


def _place(points: F64, seen: F64, camera: Camera) -> F64:
    """(3,) metres: the translation of points (N, 3) whose picture is that of `seen` (N, 3) in the predictor's camera.

    The two pictures differ by perspective; the difference must not be one that moving the predictor's camera explains.
    """
    far = from_focal(FOCAL * max(camera.width, camera.height), camera.width, camera.height, "given")
    pixels, moves = project(seen, far.K), _slopes(seen, far)
    transl = place_in_depth(points, pixels, camera.K)
    for _ in range(20):
        now = points + transl
        if now[:, 2].min() <= 0 or not np.isfinite(now).all():
            raise PipelineError("the predicted hand cannot be placed before the photo's camera")
        away = (pixels - project(now, camera.K)).ravel()
        step = np.linalg.solve(moves.T @ _slopes(now, camera), moves.T @ away)
        transl = transl + step
        if np.linalg.norm(step) < 1e-9:
            break
    return np.asarray(transl)


def _slopes(points: F64, camera: Camera) -> F64:
    """(2N, 3) how the pixels of points (N, 3) move with a translation of them all."""
    focal = camera.K[[0, 1], [0, 1]]
    slopes = np.zeros((len(points), 2, 3))
    slopes[:, [0, 1], [0, 1]] = focal / points[:, 2:]
    slopes[:, :, 2] = -focal * points[:, :2] / points[:, 2:] ** 2
    return slopes.reshape(-1, 3)
