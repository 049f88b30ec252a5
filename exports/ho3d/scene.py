"""One pair before the 640 x 480 camera of HO-3D's and DexYCB's readers: checked, cut out, rendered."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from exports import pictures
from exports.base import Record
from exports.depth import depth_in_view
from exports.hands import checked_hand
from exports.ho3d.model import Model, model_of
from exports.ho3d.view import HEIGHT, WIDTH, View, look_at
from exports.pictures import jpeg
from exports.splits import groups_of
from pipeline.hand_model.hand import Hand
from pipeline.types import F64, U8, Mask

# One filter for all rows: libpng's choice of the best one takes four times as long as the rest.
PNG_SETTINGS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]


@dataclass(frozen=True)
class Scene:
    """What both formats write of a pair. Metres, OpenCV camera; it is the photo's, only K is another."""

    record: Record
    hand: Hand
    model: Model
    view: View
    layers: Layers

    @property
    def image(self) -> U8:
        """(480, 640, 3) RGB."""
        return self.view.picture(self.record.photo.image)


@dataclass(frozen=True)
class Layers:
    """What is seen of hand and object, rendered from the reconstruction."""

    depth: F64  # (480, 640) metres along z, the nearer of both; 0 where neither is
    hand: Mask  # (480, 640) where the hand is in front
    object: Mask  # (480, 640) where the object is


def stage(record: Record) -> Scene:
    """Raises UnsuitableRecord when hand, object or photo do not fit."""
    made = record.reconstruction
    hand = checked_hand(record)
    model = model_of(record)
    placed = model.placed
    view = look_at(np.concatenate([made.hand_verts, placed]), made.camera)
    return Scene(record, hand, model, view, render(view.K, made.hand_verts, hand, placed, model.faces))


def render(K: F64, hand_verts: F64, hand: Hand, placed: F64, faces: NDArray[np.integer]) -> Layers:
    """hand_verts (778, 3) and placed (V, 3): metres, OpenCV camera. K: pixel (0.5, 0.5) is the first one's centre."""
    hand_z = depth_in_view(hand_verts, hand.faces, K, HEIGHT, WIDTH)
    object_z = depth_in_view(placed, faces, K, HEIGHT, WIDTH)
    nearest = np.minimum(hand_z, object_z)
    seen = np.isfinite(nearest)
    in_front = hand_z < object_z
    return Layers(np.where(seen, nearest, 0.0), seen & in_front, seen & ~in_front)


def encode(suffix: str, picture: NDArray[np.integer]) -> bytes:
    """A picture as OpenCV takes it (BGR) -> '.png' or '.jpg'."""
    return jpeg(picture) if suffix == ".jpg" else pictures.encode(".png", picture, PNG_SETTINGS)


def own_truth(scene: Scene) -> dict[str, object]:
    """What the public sets have no key for: photo, camera and parameters as they were, provenance."""
    record, made = scene.record, scene.record.reconstruction
    return {
        "version": 1,
        "pair_id": record.pair_id,
        "revision": record.revision,
        "photo": {"name": record.photo.name, "sha256": record.photo.sha256, "size": list(record.photo.size)},
        "verdict": record.provenance.get("verdict"),
        "provenance": record.provenance,
        "groups": groups_of(record.photo.sha256, record.provenance),
        "metrics": made.metrics,
        "side": made.hand.side,
        "hand_model": scene.hand.name,
        "tip_ids": scene.hand.tip_ids.tolist(),
        "K": made.camera.K.tolist(),
        "camera_source": made.camera.source,
        "window": [scene.view.x, scene.view.y, 4 * scene.view.unit, 3 * scene.view.unit],
        "object_in_photo": {
            "rotation": made.object_pose.rotation.tolist(),
            "transl": made.object_pose.transl.tolist(),
            "scale": float(made.object_pose.scale),
        },
    }
