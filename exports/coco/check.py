"""Reads a COCO export back and says what its readers, or their users, would stumble over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2

from exports.coco.check_annotation import check_annotation
from exports.coco.layout import (
    CATEGORIES,
    HAND,
    INSTANCES,
    KEYPOINTS,
    OBJECT,
    OWN_KEY,
    SPLITS,
    annotation_ids,
    annotation_path,
    image_path,
)
from exports.json_file import read_json

BROKEN = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError)
Json = dict[str, Any]


def check_coco(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    found: list[str] = []
    for split in SPLITS:
        contents = {}
        problems: list[str] = []
        for kind in CATEGORIES:
            path = annotation_path(kind, split)
            contents[kind], unread = read_json(out, path)
            problems += unread or [f"{path}: {problem}" for problem in _structure(contents[kind], kind)]
        if not problems:  # what follows takes the structure for granted
            samples = {sample["id"]: sample for sample in manifest["samples"] if sample["split"] == split}
            problems = list(_split(out, split, contents, samples))
        found += problems
    return found


def _structure(content: Any, kind: str) -> Iterator[str]:
    """Lists of dicts with ids, the categories, and texts and numbers where readers look things up by them."""
    if not isinstance(content, dict) or not isinstance(content.get("info"), dict):
        yield "is not a dict with 'info'"
        return
    keys: dict[str, dict[str, type]] = {
        "images": {"file_name": str, "width": int, "height": int, "license": int, "photo": dict},
        "annotations": {"image_id": int, "category_id": int, "pair_id": str},
        "categories": {},
        "licenses": {"name": str},
    }
    for key, wanted in keys.items():
        items = content.get(key)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            yield f"'{key}' is missing or not a list of dicts"
            continue
        ids = [item.get("id") for item in items]
        if not all(type(number) is int and number > 0 for number in ids) or len(set(ids)) < len(ids):
            yield f"'{key}' has an 'id' that is missing, not a whole number above 0, or there twice"
        for name, of in wanted.items():
            if not all(type(item.get(name)) is of for item in items):
                yield f"'{key}' has a '{name}' that is missing or of another type than {of.__name__}"
    if content.get("categories") != CATEGORIES[kind]:
        yield "'categories' are not " + " and ".join(category["name"] for category in CATEGORIES[kind])


def _split(out: Path, split: str, contents: Mapping[str, Json], samples: Mapping[str, Json]) -> Iterator[str]:
    instances, keypoints = contents[INSTANCES], contents[KEYPOINTS]
    path = annotation_path(INSTANCES, split)
    images = {image["id"]: image for image in instances["images"]}
    for annotation in instances["annotations"]:
        image = images.get(annotation["image_id"])
        if image is None:
            yield f"{path}: annotation {annotation['id']}: 'image_id' is that of no image"
            continue
        try:
            problems = list(check_annotation(annotation, image))
        except BROKEN as error:
            problems = [f"cannot be read: {error!r}"]
        yield from (f"{path}: annotation {annotation['id']}: {problem}" for problem in problems)
    yield from (f"{path}: {problem}" for problem in _samples(instances, images, samples))
    yield from _photos(out, split, instances)
    hands = [annotation for annotation in instances["annotations"] if annotation["category_id"] == HAND]
    if keypoints["annotations"] != hands or any(keypoints[key] != instances[key] for key in ("images", "licenses")):
        yield f"{annotation_path(KEYPOINTS, split)}: differs from the hands of {path}"


def _samples(content: Json, images: Mapping[int, Json], samples: Mapping[str, Json]) -> Iterator[str]:
    """Does the manifest know the same pairs, on the same photos?"""
    annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
    licences = {licence["id"]: licence["name"] for licence in content["licenses"]}
    used: dict[int, set[Any]] = {}  # licences of the pairs of an image
    for sample_id, sample in samples.items():
        hand_id, object_id = annotation_ids(sample_id)
        hand, held = annotations.pop(hand_id, None), annotations.pop(object_id, None)
        for number, annotation in ((hand_id, hand), (object_id, held)):
            if annotation is None:
                yield f"annotation {number} of sample {sample_id} is missing"
        if hand is None or held is None:
            continue
        provenance = {}
        for key, value in _told(hand).items():
            if value is None:
                yield f"annotation {hand_id}: '{OWN_KEY}' or its 'provenance' is not a dict"
            elif key == "provenance":
                provenance = value
            elif value != sample.get(key):
                yield f"annotation {hand_id}: '{OWN_KEY}.{key}' is {value!r}, not {sample.get(key)!r}"
        kept = {key: provenance.get(key) for key in ("class_id", "object_id")}
        expected: list[tuple[Json, Json]] = [
            (hand, {"category_id": HAND, "partner_id": object_id, "side": sample.get("side")}),
            (held, {"category_id": OBJECT, "partner_id": hand_id, **kept}),
        ]
        for annotation, values in expected:
            for key, value in {"pair_id": sample.get("pair_id"), **values}.items():
                if key not in annotation or annotation[key] != value:
                    yield f"annotation {annotation['id']}: '{key}' is {annotation.get(key)!r}, not {value!r}"
            image = images.get(annotation["image_id"], {})
            used.setdefault(annotation["image_id"], set()).add(sample.get("licence"))
            if image.get("file_name") != sample.get("file_name"):
                yield f"annotation {annotation['id']}: 'image_id' is not of the photo that the manifest names"
            elif image["photo"].get("sha256") != sample.get("photo") or not isinstance(image["photo"].get("name"), str):
                yield f"image {image['id']}: 'photo' is not the one that the manifest names"
    if annotations:
        yield f"annotation {min(annotations)} belongs to no sample of the manifest"
    for number, image in images.items():
        if number not in used:
            yield f"image {number} has no annotation"
        elif licences.get(image["license"]) not in used[number]:
            yield f"image {number}: 'license' is not that of its pairs"


def _told(hand: Json) -> Json:
    """What a hand says under our own key that the manifest knows too, and its provenance; None: it does not."""
    own = hand.get(OWN_KEY)
    if not isinstance(own, dict) or not isinstance(own.get("provenance"), dict):
        return {"provenance": None}
    told = {"id": "sample", "revision": "revision", "hand_model": "hand_model"}
    return {key: own.get(name, "missing") for key, name in told.items()} | {"provenance": own["provenance"]}


def _photos(out: Path, split: str, content: Json) -> Iterator[str]:
    for image in content["images"]:
        path = image_path(split, image["file_name"])
        picture = cv2.imread(str(out / path).replace("\0", "?"), cv2.IMREAD_COLOR)
        if picture is None:
            yield f"{path}: cannot be read as an image"
        elif picture.shape != (image["height"], image["width"], 3):
            yield f"{path}: is {picture.shape[1]}x{picture.shape[0]}, not {image['width']}x{image['height']}"
