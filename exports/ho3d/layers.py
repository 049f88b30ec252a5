"""HO-3D's two rendered pictures: depth in two bytes, and segmentation in colours at a quarter of the size."""

from __future__ import annotations

import numpy as np

from exports.base import UnsuitableRecord
from exports.ho3d.scene import Layers, encode
from exports.ho3d.view import HEIGHT, WIDTH
from exports.pictures import jpeg
from pipeline.types import F64, U8

DEPTH_SCALE = 0.00012498664727900177  # metres; the sensor's, hard-coded in the readers
SEG_SIZE = (HEIGHT // 4, WIDTH // 4)
HAND_BGR = {"v2": 2, "v3": 0}  # the channel (cv2's order) in which the hand is 255: red in v2, blue in v3
OBJECT_BGR = {"v2": 0, "v3": 2}


def encode_depth(depth: F64) -> U8:
    """(480, 640) metres, 0 for nothing -> (480, 640, 3) BGR: red the low byte, green the high one."""
    units = np.rint(depth / DEPTH_SCALE)
    if units.max() > np.iinfo(np.uint16).max:
        raise UnsuitableRecord(f"the pair is {depth.max():.1f} m away; HO-3D's depth ends at 8.19 m")
    low_high = units.astype(np.uint16)
    return np.stack([np.zeros_like(low_high), low_high >> 8, low_high & 255], -1).astype(np.uint8)


def decode_depth(picture: U8) -> F64:
    """(480, 640, 3) BGR -> (480, 640) metres; what the readers do, without their overflow under numpy 2."""
    return (picture[..., 2].astype(np.float64) + 256.0 * picture[..., 1]) * DEPTH_SCALE


def segmentation(layers: Layers, version: str) -> bytes:
    """(120, 160): hand and object, what is seen of each; JPEG in v2, PNG in v3, as in the public sets."""
    picture = seg_picture(layers, version)
    if version == "v3":
        return encode(".png", picture)
    return jpeg(picture, 100)


def seg_picture(layers: Layers, version: str) -> U8:
    """(120, 160, 3) BGR."""
    picture = np.zeros((*SEG_SIZE, 3), dtype=np.uint8)
    picture[..., HAND_BGR[version]] = np.where(layers.hand[2::4, 2::4], 255, 0)
    picture[..., OBJECT_BGR[version]] = np.where(layers.object[2::4, 2::4], 255, 0)
    return picture
