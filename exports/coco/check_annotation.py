"""Reads one COCO annotation back: mask, area, box, keypoints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from exports.coco.keypoints import NEAR_MASK, OUTSIDE, VISIBLE, reprojected
from exports.coco.layout import HAND, OBJECT, OWN_KEY
from pipeline.types import U8

MAX_REPROJECTION_PX = 0.1  # keypoints are rounded to 0.01 px, joints to a micrometre
MIN_COVERED = 0.5  # share of the visible object that its completed outline covers
Json = dict[str, Any]


def check_annotation(annotation: Json, image: Json) -> Iterator[str]:
    """Findings on a hand or an object. Raises KeyError, TypeError, ValueError.. for what cannot be read at all."""
    if annotation["category_id"] not in (HAND, OBJECT):
        yield f"'category_id' is {annotation['category_id']!r}, not {HAND} or {OBJECT}"
        return
    if type(annotation["iscrowd"]) is not int or annotation["iscrowd"] != 0:
        yield "'iscrowd' is not 0"
    mask = _decoded(annotation, "segmentation", image)
    if not mask.any():
        yield "'segmentation' is empty"
        return
    yield from _region(annotation, mask)
    if annotation["category_id"] == HAND:
        yield from _keypoints(annotation, mask)
        return
    amodal = _decoded(annotation, "amodal_segmentation", image)
    if amodal[mask > 0].mean() < MIN_COVERED:
        yield "'amodal_segmentation' is not the outline of the visible object"


def _decoded(annotation: Json, key: str, image: Json) -> U8:
    """A mask. Raises ValueError when it is not the compressed RLE of this photo."""
    from pycocotools import mask as rle

    given, size = annotation[key], [image["height"], image["width"]]
    if not isinstance(given, dict) or given.get("size") != size or not isinstance(given.get("counts"), str):
        raise ValueError(f"'{key}' is not compressed RLE of size {size}")
    mask = np.asarray(rle.decode({"size": size, "counts": given["counts"].encode("ascii")}), dtype=np.uint8)
    if rle.encode(np.asfortranarray(mask))["counts"].decode("ascii") != given["counts"]:
        raise ValueError(f"'{key}' does not fill its size")
    return mask


def _region(annotation: Json, mask: U8) -> Iterator[str]:
    """Area and box, counted here in the decoded mask."""
    if annotation["area"] != float(mask.sum()):
        yield f"'area' is {annotation['area']!r}, but the mask has {int(mask.sum())} pixels"
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    sizes = (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    box = [float(value) for value in (columns[0], rows[0], *sizes)]
    if annotation["bbox"] != box:
        yield f"'bbox' is {annotation['bbox']!r}, but the mask's is {box}"


def _keypoints(annotation: Json, mask: U8) -> Iterator[str]:
    """Are the keypoints where the joints project to, and as visible as they say?"""
    given = annotation["keypoints"]
    if len(given) != 63 or not all(type(number) in (int, float) for number in given):
        yield "'keypoints' are not 21 times x, y, v"
        return
    points = np.array(given, dtype=np.float64).reshape(21, 3)
    seen = points[:, 2]
    if not np.isin(seen, (0, 1, 2)).all():
        yield "'keypoints' have a visibility that is not 0, 1 or 2"
        return
    if annotation["num_keypoints"] != int((seen > 0).sum()):
        yield f"'num_keypoints' is {annotation['num_keypoints']!r}, but {int((seen > 0).sum())} are labelled"
    own = annotation[OWN_KEY]
    joints, K = np.array(own["joints_3d"], dtype=np.float64), np.array(own["K"], dtype=np.float64)
    if joints.shape != (21, 3) or K.shape != (3, 3) or not (np.isfinite(joints).all() and np.isfinite(K).all()):
        yield f"'{OWN_KEY}' has no finite 'joints_3d' (21, 3) and 'K' (3, 3)"
        return
    tips = own["tip_ids"]
    if not (isinstance(tips, list) and len(tips) == 5 and all(type(tip) is int and 0 <= tip < 778 for tip in tips)):
        yield f"'{OWN_KEY}.tip_ids' are not five vertices"
    expected = reprojected(joints, K)
    height, width = mask.shape
    inside = (joints[:, 2] > 0) & (expected > 0.02).all(1) & (expected < [width - 0.02, height - 0.02]).all(1)
    labelled = seen != OUTSIDE
    error = np.abs(points[:, :2] - expected).max(1)
    if (inside & ~labelled).any() or (labelled & ~(error <= MAX_REPROJECTION_PX)).any():
        yield f"'keypoints' are not where '{OWN_KEY}.joints_3d' project to by its 'K'"
    if points[~labelled, :2].any():
        yield "'keypoints' outside of the picture are not at (0, 0)"
    at = np.clip(points[seen == VISIBLE, :2], 0, [width - 1, height - 1]).astype(int)
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    reach = math.sqrt(2) * (NEAR_MASK * K[0, 0] / joints[seen == VISIBLE, 2] + 2)  # of a square, in whole pixels
    if (distance[at[:, 1], at[:, 0]] > reach).any():
        yield "'keypoints' call a joint visible that is far from the visible hand"
