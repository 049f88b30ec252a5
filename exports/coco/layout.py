"""Where COCO's files lie, and the two categories."""

from __future__ import annotations

from typing import Any

from exports.coco.keypoints import JOINTS, SKELETON

SPLITS = ("train", "val", "test")
INSTANCES, KEYPOINTS = "instances", "hand_keypoints"
HAND, OBJECT = 1, 2
OWN_KEY = "hoi_annotate"  # of a hand: what COCO has no key for

HAND_CATEGORY: dict[str, Any] = {
    "id": HAND,
    "name": "hand",
    "supercategory": "person",
    "keypoints": list(JOINTS),
    "skeleton": SKELETON,
}
OBJECT_CATEGORY: dict[str, Any] = {"id": OBJECT, "name": "object", "supercategory": "object"}
CATEGORIES = {INSTANCES: [HAND_CATEGORY, OBJECT_CATEGORY], KEYPOINTS: [HAND_CATEGORY]}


def annotation_path(kind: str, split: str) -> str:
    """One kind of annotations of one split, below the root."""
    return f"annotations/{kind}_{split}.json"


def image_path(split: str, file_name: str) -> str:
    """A photo, below the root; its folder is what readers call the image root."""
    return f"images/{split}/{file_name}"


def annotation_ids(sample_id: str) -> tuple[int, int]:
    """Ids of a sample's hand and object: never 0, different for all samples, the same when data is added."""
    number = 2 * int(sample_id)
    return number + 1, number + 2
