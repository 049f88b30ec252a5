"""A pair with a left hand as the pair with a right hand that a mirror shows.

The mirror is the plane x = 0 of the camera frame, M = diag(-1, 1, 1): a pixel at u goes to width - u. Nothing may
keep its handedness: an object's rotation R becomes M R M, a proper one, and its mesh is mirrored in its own frame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from exports.base import Record, UnsuitableRecord
from exports.hands import hand_of
from pipeline.types import (
    F64,
    Camera,
    Completion,
    Contacts,
    HandEstimate,
    HandPose,
    Masks,
    Mesh,
    ObjectMesh,
    ObjectPose,
    Reconstruction,
    ViewPrior,
)

MIRROR = np.array([-1.0, 1.0, 1.0])  # of points
TURN_MIRROR = np.array([1.0, -1.0, -1.0])  # of axis-angle: M exp(w) M = exp(TURN_MIRROR * w)
TIPS = (4, 8, 12, 16, 20)  # of OpenPose's joints
TOLERANCE = 1e-4  # metres between the mirrored vertices and what the mirrored parameters give

Picture = TypeVar("Picture", bound=NDArray)


def mirrored(record: Record) -> Record:
    """The mirror image of a left hand's record; a right hand's record as it is.

    `provenance` says so under 'mirrored'. Raises UnsuitableRecord when the right hand of its model is not the left
    one's mirror image.
    """
    made = record.reconstruction
    if made.hand.side == "right":
        return record
    model = hand_of(record, "right")
    hand, verts = mirrored_hand(made.hand), made.hand_verts * MIRROR
    gap = float(np.abs(model.posed(hand)[0] - verts).max())
    if not gap <= TOLERANCE:
        raise UnsuitableRecord(f"mirrored, its parameters give a hand {gap * 1e3:.2f} mm from its mirror image")
    joints = made.hand_joints * MIRROR
    joints[list(TIPS)] = verts[model.tip_ids]  # MANO's two hands do not number their fingertips alike
    reconstruction = Reconstruction(
        camera=_camera(made.camera),
        masks=_masks(made.masks),
        completion=_completion(made.completion),
        estimate=_estimate(made.estimate, made.camera.width),
        hand=hand,
        hand_verts=verts,
        hand_joints=joints,
        object=_object(made.object),
        object_pose=_object_pose(made.object_pose),
        contacts=_contacts(made.contacts),
        metrics=made.metrics,
        diagnostics=made.diagnostics,
    )
    photo = replace(record.photo, image=flipped(record.photo.image))
    return replace(
        record, photo=photo, reconstruction=reconstruction, provenance={**record.provenance, "mirrored": True}
    )


def flipped(picture: Picture) -> Picture:
    """(H, W, ...) left to right."""
    return np.ascontiguousarray(picture[:, ::-1])  # type: ignore[return-value]


def mirrored_hand(hand: HandPose) -> HandPose:
    """The parameters of the mirror image, for the other side's model.

    The model turns about its wrist at rest, which for the other side is the mirror image too, so `transl` is simply
    mirrored.
    """
    return HandPose(
        side="left" if hand.side == "right" else "right",
        global_orient=hand.global_orient * TURN_MIRROR,
        hand_pose=(hand.hand_pose.reshape(15, 3) * TURN_MIRROR).ravel(),
        betas=hand.betas,
        transl=hand.transl * MIRROR,
    )


def mirrored_mesh(mesh: Mesh) -> Mesh:
    """The mesh mirrored in its own frame, faces turned so that they look outward again. Its picture goes with it."""
    return replace(mesh, vertices=mesh.vertices * MIRROR, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))


def _turned(rotation: F64) -> F64:
    """(..., 3, 3) M R M."""
    return np.asarray(rotation * np.outer(MIRROR, MIRROR))


def _camera(camera: Camera) -> Camera:
    K = camera.K.copy()
    K[0, 1] *= -1
    K[0, 2] = camera.width - K[0, 2]
    return replace(camera, K=K)


def _masks(masks: Masks) -> Masks:
    return replace(masks, hand=flipped(masks.hand), object=flipped(masks.object), arm=flipped(masks.arm))


def _completion(completion: Completion) -> Completion:
    return replace(completion, amodal_mask=flipped(completion.amodal_mask), image=flipped(completion.image))


def _contacts(contacts: Contacts) -> Contacts:
    return replace(contacts, front=flipped(contacts.front), back=flipped(contacts.back))


def _estimate(estimate: HandEstimate, width: int) -> HandEstimate:
    keypoints = estimate.keypoints * [-1, 1] + [width, 0]
    return replace(estimate, pose=mirrored_hand(estimate.pose), keypoints=keypoints)


def _object(thing: ObjectMesh) -> ObjectMesh:
    prior = thing.prior
    seen = ViewPrior(_turned(prior.rotation), prior.transl * MIRROR, _turned(prior.starts), prior.depth_known)
    return replace(thing, mesh=mirrored_mesh(thing.mesh), prior=seen)


def _object_pose(pose: ObjectPose) -> ObjectPose:
    return replace(pose, rotation=_turned(pose.rotation), transl=pose.transl * MIRROR)
