"""Where FiftyOne's files lie, and how its documents are named the same on every run."""

from __future__ import annotations

import hashlib

VERSION = "1.1.0"  # of FiftyOne: the first that reads masks of detections from disk; newer ones migrate it
METADATA, SAMPLES = "metadata.json", "samples.json"
GROUP_FIELD, PHOTO_SLICE, SCENE_SLICE = "group", "photo", "scene"
INSTANCES, AMODAL, KEYPOINTS, SEGMENTATION = "instances", "amodal", "keypoints", "segmentation"
LABELS = {1: "hand", 2: "object"}  # pixel values of the segmentation
HAND, OBJECT = LABELS.values()


def data_path(name: str) -> str:
    """A photo, a scene or a model, below the root; FiftyOne joins it to the dataset's folder."""
    return f"data/{name}"


def mask_path(field: str, sample_id: str, label: str = "") -> str:
    """A mask, below the root. The folder tells the importer which document's `mask_path` to join to the folder."""
    folder = field if field == SEGMENTATION else f"{field}.detections"
    return f"fields/{folder}/{sample_id}{'-' if label else ''}{label}.png"


def object_id(sample_id: str, what: str) -> dict[str, str]:
    """A document's id: 12 bytes from what it is, so that equal exports are equal."""
    return {"$oid": hashlib.sha256(f"{sample_id} {what}".encode("ascii")).hexdigest()[:24]}


def random_number(sample_id: str, what: str) -> float:
    """FiftyOne's `_rand`, by which it shuffles; 0 to 1, from the sample's id."""
    digest = hashlib.sha256(f"random {sample_id} {what}".encode("ascii")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
