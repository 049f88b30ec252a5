"""The two FiftyOne samples that a pair becomes: its photo with masks and keypoints, and its scene."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from exports.base import Place, Record, UnsuitableRecord
from exports.coco.keypoints import OUTSIDE, keypoints_of
from exports.fiftyone.layout import (
    AMODAL,
    GROUP_FIELD,
    HAND,
    INSTANCES,
    KEYPOINTS,
    LABELS,
    OBJECT,
    PHOTO_SLICE,
    SCENE_SLICE,
    SEGMENTATION,
    data_path,
    mask_path,
    object_id,
    random_number,
)
from exports.fiftyone.schema import TEXTS
from exports.pictures import png
from pipeline.hand_model.hand import Hand
from pipeline.types import Mask

DECIMALS = 6  # metres, pixels of K, shares of the photo
NAN = {"$numberDouble": "NaN"}
Document = dict[str, Any]


def documents(
    record: Record, place: Place, photo_name: str, photo_bytes: int, model: Hand, provenance: Mapping[str, Any]
) -> tuple[list[Document], dict[str, bytes]]:
    """The documents of photo and scene, and the masks' files. Raises UnsuitableRecord when a mask is empty."""
    made, sample_id = record.reconstruction, place.id
    height, width = record.photo.size
    files: dict[str, bytes] = {}
    instances = []
    for label, mask in ((HAND, made.masks.hand), (OBJECT, made.masks.object)):
        path = mask_path(INSTANCES, sample_id, label)
        detection, files[path] = _detection(sample_id, INSTANCES, label, mask, path)
        instances.append(detection)
    path = mask_path(AMODAL, sample_id)
    amodal, files[path] = _detection(sample_id, AMODAL, OBJECT, made.completion.amodal_mask, path)
    values = {label: value for value, label in LABELS.items()}
    segmentation = np.where(made.masks.object, values[OBJECT], 0)
    segmentation = np.where(made.masks.hand, values[HAND], segmentation).astype(np.uint8)
    path = mask_path(SEGMENTATION, sample_id)
    files[path] = png(segmentation)

    told = _told(record, place, model, provenance)
    photo = told | {
        **_head(sample_id, PHOTO_SLICE, photo_name, "image"),
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": photo_bytes,
            "mime_type": "image/jpeg",
            "width": width,
            "height": height,
            "num_channels": 3,
        },
        INSTANCES: {"_cls": "Detections", "detections": instances},
        AMODAL: {"_cls": "Detections", "detections": [amodal]},
        KEYPOINTS: {"_cls": "Keypoints", "keypoints": [_keypoint(record, place, model)]},
        SEGMENTATION: {
            "_id": object_id(sample_id, SEGMENTATION),
            "_cls": "Segmentation",
            "tags": [],
            "mask_path": path,
        },
    }
    return [photo, told | _head(sample_id, SCENE_SLICE, f"{sample_id}.fo3d", "3d")], files


def _head(sample_id: str, slice_name: str, file_name: str, media_type: str) -> Document:
    return {
        "_id": object_id(sample_id, slice_name),
        "filepath": data_path(file_name),
        "_media_type": media_type,
        "_rand": random_number(sample_id, slice_name),
        GROUP_FIELD: {"_id": object_id(sample_id, GROUP_FIELD), "_cls": "Group", "name": slice_name},
    }


def _told(record: Record, place: Place, model: Hand, provenance: Mapping[str, Any]) -> Document:
    """What is said of the pair, the same in both slices."""
    made = record.reconstruction
    known = {"pair_id": plain(record.pair_id), "side": made.hand.side, "hand_model": model.name}
    texts = {name: _text(provenance.get(name)) for name in TEXTS} | known
    metrics = {name: float(value) for name, value in sorted(made.metrics.items()) if math.isfinite(value)}
    return {
        "tags": [place.split],
        **texts,
        "revision": record.revision,
        "metrics": {"_cls": "DynamicEmbeddedDocument", **plain(metrics)},
        "provenance": plain(provenance),
        "K": np.round(made.camera.K, DECIMALS).tolist(),
        "joints_3d": np.round(made.hand_joints, DECIMALS).tolist(),
    }


def _detection(sample_id: str, field: str, label: str, mask: Mask, path: str) -> tuple[Document, bytes]:
    """A box with the mask inside it. The box is in shares of the photo, the mask as many pixels as the box."""
    if not mask.any():
        raise UnsuitableRecord(f"the mask of the {label} is empty")
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
    document = {
        "_id": object_id(sample_id, f"{field} {label}"),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": label,
        "bounding_box": box,
        "mask_path": path,
    }
    return document, png(mask[top:bottom, left:right].astype(np.uint8) * 255)


def _keypoint(record: Record, place: Place, model: Hand) -> Document:
    """21 points in shares of the photo, NaN outside of it; `visible` as COCO counts."""
    height, width = record.photo.size
    found = keypoints_of(record.reconstruction, model.faces)
    points = [
        [NAN, NAN] if v == OUTSIDE else [round(x / width, DECIMALS), round(y / height, DECIMALS)] for x, y, v in found
    ]
    return {
        "_id": object_id(place.id, KEYPOINTS),
        "_cls": "Keypoint",
        "attributes": {},
        "tags": [],
        "label": HAND,
        "points": points,
        "confidence": None,
        "visible": [v for _, _, v in found],
    }


def plain(value: Any) -> Any:
    """JSON that MongoDB takes: keys without '.', '$' and NUL, texts that are Unicode, whole numbers of 64 bits."""
    if isinstance(value, Mapping):
        return {re.sub(r"[.$\x00]", "_", plain(str(key))): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")  # half a character, as in names from old disks: '?'
    return str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value


def _text(value: Any) -> str | None:
    return None if value is None else str(plain(str(value)))
