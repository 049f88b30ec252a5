"""Reads a gSDF export back, by the rules of its readers, and says what they (or their users) would stumble over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exports.gsdf.annotation import ARRAYS, SDF_ARRAYS
from exports.gsdf.check_sample import check_sample
from exports.gsdf.layout import SDF_STAGES, STAGES, kinds_of, split_paths
from exports.json_file import read_json
from exports.obman.camera import SIZE


def check_gsdf(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    found: list[str] = []
    for stage in STAGES:
        samples = {sample["id"]: sample for sample in manifest["samples"] if sample["split"] == stage}
        found += _folders(out, stage, set(samples))
        for path in split_paths(stage):
            found += _list(out, path, sorted(samples))
        annotations, problems = _annotations(out, stage, set(samples))
        found += problems
        for sample_id, sample in sorted(samples.items()):
            if sample_id in annotations:
                found += check_sample(out, stage, sample, annotations[sample_id])
    return found + list(_align_lists(out, manifest))


def _folders(out: Path, stage: str, ids: set[str]) -> Iterator[str]:
    for kind, suffix in kinds_of(stage).items():
        folder = f"data/{stage}/{kind}"
        if not (out / folder).is_dir():
            yield f"{folder}: folder is missing"
            continue
        for path in sorted((out / folder).iterdir()):
            name = path.name.removesuffix(f".{suffix}")
            if name not in ids or name == path.name:
                yield f"{folder}/{path.name}: is no sample of the manifest, and create_lmdb takes every file"
        for name in sorted(ids):
            if not (out / folder / f"{name}.{suffix}").is_file():
                yield f"{folder}/{name}.{suffix}: is missing"
            elif suffix in ("jpg", "png"):
                picture = cv2.imread(str(out / folder / f"{name}.{suffix}"), cv2.IMREAD_COLOR)
                if picture is None or picture.shape != (SIZE, SIZE, 3):
                    yield f"{folder}/{name}.{suffix}: cannot be read as an image of {SIZE}x{SIZE}"


def _list(out: Path, path: str, ids: list[str]) -> list[str]:
    content, found = read_json(out, path)
    if not found and content != ids:
        found = [f"{path}: is not the list of the {len(ids)} samples of the manifest"]
    return found


def _align_lists(out: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    ids = {stage: sorted(s["id"] for s in manifest["samples"] if s["split"] == stage) for stage in STAGES}
    names = [f"data/obman/test/rgb/{sample_id}.jpg" for sample_id in ids["test"]]
    for path, expected in (("alignsdf/obman.json", ids["train"]), ("alignsdf/input.json", names)):
        content, found = read_json(out, path)
        key = "train" if path.endswith("obman.json") else "filenames"
        yield from found
        if not found and (not isinstance(content, dict) or content.get(key) != expected):
            yield f"{path}: '{key}' is not the list of the samples of the manifest"


def _annotations(out: Path, stage: str, ids: set[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The annotations that can be used, by sample id, and what is wrong with the file."""
    path = f"obman_{stage}.json"
    content, found = read_json(out, path)
    if found:
        return {}, found
    try:
        images = {image["id"]: image["file_name"] for image in content["images"]}
        entries = {entry["id"]: entry for entry in content["annotations"]}
        named = {key: images[entry["image_id"]] for key, entry in entries.items()}
        counts = len(content["images"]), len(content["annotations"])
    except (KeyError, TypeError) as error:
        return {}, [f"{path}: lacks what readers look for: {error!r}"]
    right = {int(sample_id): sample_id for sample_id in ids}
    if images != right or named != right or counts != (len(ids), len(ids)):
        found.append(f"{path}: does not hold one image and one annotation for each sample of the manifest")
    usable = {}
    for key, entry in entries.items():
        problems = list(_structure(entry, stage))
        found += [f"{path}: annotation {key}: {problem}" for problem in problems]
        if not problems and key in right:
            usable[right[key]] = entry
    return usable, found


def _structure(entry: dict[str, Any], stage: str) -> Iterator[str]:
    for key, shape in (ARRAYS | (SDF_ARRAYS if stage in SDF_STAGES else {})).items():
        if key not in entry:
            yield f"'{key}' is missing"
            continue
        try:
            value = np.array(entry[key], dtype=np.float32)
        except (TypeError, ValueError, OverflowError):
            value = np.array(np.nan)
        if value.shape != shape or not np.isfinite(value).all():
            yield f"'{key}' is not {shape} finite numbers"
    if not isinstance(entry.get("hoi_annotate"), dict):
        yield "'hoi_annotate' is missing"
