"""Reads a FiftyOne export back the way the importer does and says what its users would stumble over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exports.fiftyone.check_sample import check_photo, check_scene, differences
from exports.fiftyone.documents import plain
from exports.fiftyone.layout import (
    GROUP_FIELD,
    METADATA,
    PHOTO_SLICE,
    SAMPLES,
    SCENE_SLICE,
    data_path,
    object_id,
    random_number,
)
from exports.fiftyone.schema import TEXTS, metadata
from exports.json_file import read_json

BROKEN = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError)
Document = dict[str, Any]


def check_fiftyone(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    described, found = read_json(out, METADATA)
    content, problems = read_json(out, SAMPLES)
    given = content.get("samples") if isinstance(content, dict) else None
    if not problems and not (isinstance(given, list) and all(isinstance(item, dict) for item in given)):
        problems = [f"{SAMPLES}: 'samples' is not a list of dicts"]
    found += problems
    if found or not isinstance(given, list):
        return found
    by_id = {str(document.get("_id")): document for document in given}
    if len(by_id) < len(given):
        found.append(f"{SAMPLES}: '_id' of a sample is missing or there twice")
    metrics: set[str] = set()
    for sample in manifest["samples"]:
        pair = [by_id.pop(str(object_id(sample["id"], name)), None) for name in (PHOTO_SLICE, SCENE_SLICE)]
        sound: list[Document] = []
        for name, document in zip((PHOTO_SLICE, SCENE_SLICE), pair, strict=True):
            if document is None:
                found.append(f"{SAMPLES}: the {name} of sample {sample['id']} is missing")
                continue
            problems = [f"{SAMPLES}: {sample['id']} {name}: {problem}" for problem in _told(document, sample, name)]
            found += problems
            if not problems:
                metrics.update(set(document["metrics"]) - {"_cls"})
                sound.append(document)
        if len(sound) == 2:
            found += _pair(out, sound[0], sound[1], sample)
    found += [f"{SAMPLES}: sample {name} is not in the manifest" for name in sorted(by_id)]
    return found + list(differences(described, metadata(metrics), [METADATA]))


def _pair(out: Path, photo: Document, shown: Document, sample: Mapping[str, Any]) -> Iterator[str]:
    """Findings on two documents whose common part is sound."""
    where = f"{SAMPLES}: {sample['id']}"
    for key in (*TEXTS, "metrics", "provenance", "K", "joints_3d"):
        if photo[key] != shown[key]:
            yield f"{where}: '{key}' is not the same in photo and scene"
    try:
        yield from check_photo(out, photo, sample)
        size = photo["metadata"]["height"], photo["metadata"]["width"]
        yield from check_scene(out, shown, sample, size)
    except BROKEN as error:
        yield f"{where}: cannot be read: {error!r}"


def _told(document: Document, sample: Mapping[str, Any], name: str) -> Iterator[str]:
    """What both slices have."""
    sample_id = sample["id"]
    file_name = sample.get("file_name") if name == PHOTO_SLICE else f"{sample_id}.fo3d"
    expected = {
        "filepath": data_path(str(file_name)),
        "_media_type": "image" if name == PHOTO_SLICE else "3d",
        "_rand": random_number(sample_id, name),
        GROUP_FIELD: {"_id": object_id(sample_id, GROUP_FIELD), "_cls": "Group", "name": name},
        "tags": [sample["split"]],
        "pair_id": plain(sample.get("pair_id")),
        "revision": sample.get("revision"),
        "side": sample.get("side"),
        "hand_model": sample.get("hand_model"),
    }
    for key, value in expected.items():
        if key not in document:
            yield f"'{key}' is missing"
        elif document[key] != value or type(document[key]) is not type(value):
            yield f"'{key}' is {document[key]!r}, not {value!r}"
    for key in TEXTS:
        if key not in document or not isinstance(document[key], str | None):
            yield f"'{key}' is missing or no text"
    if not isinstance(document.get("provenance"), dict):
        yield "'provenance' is missing or no dict"
    metrics = document.get("metrics")
    if not isinstance(metrics, dict) or metrics.get("_cls") != "DynamicEmbeddedDocument":
        yield "'metrics' is missing or not of _cls DynamicEmbeddedDocument"
    elif not all(isinstance(value, float) for key, value in metrics.items() if key != "_cls"):
        yield "'metrics' has a value that is not a float"
    for key, shape in (("K", (3, 3)), ("joints_3d", (21, 3))):
        try:
            array = np.array(document.get(key), dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.zeros(0)
        if array.shape != shape or not np.isfinite(array).all():
            yield f"'{key}' is not finite numbers of shape {shape}"
