"""Reads the files of one FiftyOne sample back and compares them with its documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exports import glb
from exports.coco.keypoints import OUTSIDE, reprojected
from exports.fiftyone.documents import NAN
from exports.fiftyone.layout import (
    AMODAL,
    HAND,
    INSTANCES,
    KEYPOINTS,
    LABELS,
    OBJECT,
    SAMPLES,
    SEGMENTATION,
    data_path,
    mask_path,
    object_id,
)
from exports.fiftyone.scene import TO_GL, scene
from pipeline.errors import PipelineError
from pipeline.hand_model.hand import read_hand
from pipeline.types import U8

MAX_KEYPOINT_GAP = 0.1  # pixels
MAX_JOINT_GAP = 1e-4  # metres
MIN_COVERED = 0.5  # share of the visible object that its completed outline covers
Document = dict[str, Any]


def check_photo(out: Path, document: Document, sample: Mapping[str, Any]) -> Iterator[str]:
    """The photo, the masks and the keypoints."""
    path, where = document["filepath"], f"{SAMPLES}: {sample['id']} photo"
    picture = cv2.imread(str(out / path), cv2.IMREAD_COLOR)
    if picture is None:
        yield f"{path}: cannot be read as an image"
        return
    height, width = picture.shape[:2]
    size = (out / path).stat().st_size
    expected = {"size_bytes": size, "mime_type": "image/jpeg", "width": width, "height": height, "num_channels": 3}
    if document["metadata"] != {"_cls": "ImageMetadata", **expected}:
        yield f"{where}: 'metadata' is not that of {path}"
    seen: dict[str, U8] = {}
    for field, labels in ((INSTANCES, (HAND, OBJECT)), (AMODAL, (OBJECT,))):
        if document[field].get("_cls") != "Detections" or len(document[field]["detections"]) != len(labels):
            yield f"{where}: '{field}' is not {len(labels)} Detections"
            continue
        for label, detection in zip(labels, document[field]["detections"], strict=True):
            mask_file = mask_path(field, sample["id"], label if field == INSTANCES else "")
            identity: Document = {
                "_cls": "Detection",
                "label": label,
                "mask_path": mask_file,
                "attributes": {},
                "tags": [],
            }
            identity["_id"] = object_id(sample["id"], f"{field} {label}")
            for key, value in identity.items():
                if detection.get(key) != value:
                    yield f"{where}: '{key}' of {field} is {detection.get(key)!r}, not {value!r}"
            mask = cv2.imread(str(out / mask_file), cv2.IMREAD_UNCHANGED)
            if mask is None:
                yield f"{mask_file}: cannot be read as an image"
                continue
            whole = _placed(np.asarray(mask, dtype=np.uint8), detection["bounding_box"], height, width)
            if whole is None:
                yield f"{mask_file}: is empty, not 0 and 255, or not as large as its 'bounding_box'"
            else:
                seen[field + label] = whole
    if INSTANCES + OBJECT in seen and AMODAL + OBJECT in seen:
        visible = seen[INSTANCES + OBJECT] > 0
        if (seen[AMODAL + OBJECT] > 0)[visible].mean() < MIN_COVERED:
            yield f"{mask_path(AMODAL, sample['id'])}: is not the completed outline of the visible object"
    yield from _segmentation(out, document, sample, seen, (height, width))
    yield from (f"{where}: {problem}" for problem in _keypoints(document, sample, height, width))


def _placed(mask: U8, box: list[float], height: int, width: int) -> U8 | None:
    """A detection's mask in its photo; None when it does not fit its box."""
    x, y, w, h = (value * size for value, size in zip(box, (width, height, width, height), strict=True))
    left, top = round(x), round(y)
    if mask.shape != (round(h), round(w)) or not mask.any() or not np.isin(mask, (0, 255)).all():
        return None
    if abs(x - left) + abs(y - top) > 1e-6:
        return None
    if not (0 <= left <= width - mask.shape[1] and 0 <= top <= height - mask.shape[0]):
        return None
    whole = np.zeros((height, width), dtype=np.uint8)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return whole


def _segmentation(
    out: Path, document: Document, sample: Mapping[str, Any], seen: Mapping[str, U8], size: tuple[int, int]
) -> Iterator[str]:
    path = mask_path(SEGMENTATION, sample["id"])
    expected = {"_cls": "Segmentation", "tags": [], "mask_path": path, "_id": object_id(sample["id"], SEGMENTATION)}
    if document[SEGMENTATION] != expected:
        yield f"{SAMPLES}: {sample['id']} photo: '{SEGMENTATION}' is not {expected!r}"
    picture = cv2.imread(str(out / path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        yield f"{path}: cannot be read as an image"
    elif picture.shape != size or not np.isin(picture, (0, *LABELS)).all():
        yield f"{path}: is not 0, 1 and 2 in the photo's size"
    elif INSTANCES + HAND in seen and INSTANCES + OBJECT in seen:
        hand, thing = seen[INSTANCES + HAND] > 0, seen[INSTANCES + OBJECT] > 0
        if ((picture == 1) != hand).any() or ((picture == 2) != (thing & ~hand)).any():
            yield f"{path}: differs from the masks of the instances"


def _keypoints(document: Document, sample: Mapping[str, Any], height: int, width: int) -> Iterator[str]:
    if document[KEYPOINTS].get("_cls") != "Keypoints":
        yield f"'{KEYPOINTS}' is not of _cls Keypoints"
    (keypoint,) = document[KEYPOINTS]["keypoints"]
    identity: Document = {"_cls": "Keypoint", "label": HAND, "attributes": {}, "tags": [], "confidence": None}
    identity["_id"] = object_id(sample["id"], KEYPOINTS)
    for key, value in identity.items():
        if key not in keypoint or keypoint[key] != value:
            yield f"'{key}' of {KEYPOINTS} is {keypoint.get(key)!r}, not {value!r}"
    numbers = [[np.nan if value == NAN else value for value in point] for point in keypoint["points"]]
    points = np.array(numbers, dtype=np.float64) * [width, height]
    seen = np.array(keypoint["visible"])
    if points.shape != (21, 2) or seen.shape != (21,) or not np.isin(seen, (0, 1, 2)).all():
        yield f"'{KEYPOINTS}' are not 21 points, each with 'visible' 0, 1 or 2"
        return
    expected = reprojected(np.array(document["joints_3d"]), np.array(document["K"]))
    labelled = seen != OUTSIDE
    if not np.array_equal(labelled, np.isfinite(points).all(1)):
        yield f"'{KEYPOINTS}' are not NaN just where 'visible' is 0"
    elif not (np.abs(points - expected)[labelled] <= MAX_KEYPOINT_GAP).all():
        yield f"'{KEYPOINTS}' are not where 'joints_3d' project to"
    inside = ((expected > 0.02) & (expected < np.array([width, height]) - 0.02)).all(1)
    if (inside & ~labelled & (np.array(document["joints_3d"])[:, 2] > 0)).any():
        yield f"'{KEYPOINTS}' call a joint outside that is in the photo"


def check_scene(out: Path, document: Document, sample: Mapping[str, Any], size: tuple[int, int]) -> Iterator[str]:
    """The scene and the model it shows. size: (height, width) of the photo."""
    path, model_path = document["filepath"], data_path(f"{sample['id']}.glb")
    try:
        content = json.loads((out / path).read_bytes())
        yield from differences(content, scene(sample["id"], document["K"][1][1], size[1], size[0]), [path])
    except OSError as error:
        yield f"{path}: cannot be read ({error.strerror})"
    except ValueError as error:
        yield f"{path}: is not JSON ({error})"
    try:
        parts = {part.name: part for part in glb.decode((out / model_path).read_bytes())}
        hand, thing = parts["hand"], parts["object"]
    except OSError as error:
        yield f"{model_path}: cannot be read ({error.strerror})"
        return
    except (ValueError, KeyError) as error:
        yield f"{model_path}: is not a GLB of hand and object ({error!r})"
        return
    if hand.vertices.shape != (778, 3) or len(hand.faces) == 0 or len(thing.faces) == 0 or not thing.texture:
        yield f"{model_path}: hand or object have no faces, no texture, or not 778 vertices"
        return
    try:
        tip_ids = read_hand(sample["side"], sample["hand_model"]).tip_ids
    except PipelineError as error:
        yield f"{model_path}: its hand was not checked: {error}"
        return
    tips = np.array(document["joints_3d"])[[4, 8, 12, 16, 20]] @ TO_GL
    gap = float(np.abs(hand.vertices[tip_ids] - tips).max())
    if not gap <= MAX_JOINT_GAP:
        yield f"{model_path}: fingertips are {gap * 1e3:.1f} mm from 'joints_3d'"


def differences(given: Any, expected: Any, where: list[str]) -> Iterator[str]:
    """Where JSON is not what it should be. where: the file, then the keys on the way."""
    place = f"{where[0]}: " + ("'" + ".".join(where[1:]) + "' " if where[1:] else "")
    if isinstance(expected, dict) and isinstance(given, dict):
        for key in sorted(expected.keys() | given.keys()):
            if key not in given:
                yield f"{place}'{key}' is missing"
            elif key not in expected:
                yield f"{place}'{key}' does not belong there"
            else:
                yield from differences(given[key], expected[key], [*where, key])
    elif isinstance(expected, list) and isinstance(given, list) and len(given) == len(expected):
        for number, (one, other) in enumerate(zip(given, expected, strict=True)):
            yield from differences(one, other, [*where, str(number)])
    elif type(given) is not type(expected) or given != expected:
        yield f"{place}is not {json.dumps(expected)[:80]}"
