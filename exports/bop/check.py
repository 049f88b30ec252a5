"""Reads a BOP export back, by the rules of the toolkit, and says what it (or its users) would stumble over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exports.bop.check_image import LIMIT, Models, check_image, check_numbers
from exports.bop.layout import IMAGES_PER_SCENE, JSON_FILES, MODELS, SPLITS, model_path, scene_path
from exports.bop.model import info, read_ply
from exports.bop.numbers import MIN_VISIBLE, target
from exports.json_file import read_json
from exports.text import counted

MAX_MODEL_ERROR = 1e-3  # mm
INFO_KEYS = ("min_x", "min_y", "min_z", "size_x", "size_y", "size_z", "diameter")
CAMERA_KEYS = ("cx", "cy", "fx", "fy", "depth_scale", "height", "width")


def check_bop(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    models, found = _models(out)
    known = {sample["id"]: sample for sample in manifest["samples"]}
    suffix = str((manifest.get("options") or {}).get("photo", "png"))
    seen: list[str] = []
    used: set[int] = set()
    targets: list[Any] = []
    for split in SPLITS:
        if not (out / split).is_dir():
            found.append(f"{split}: folder is missing")
            continue
        for number, folder in enumerate(sorted((out / split).iterdir())):
            if folder.name != f"{number:06d}" or not folder.is_dir():
                found.append(f"{split}/{folder.name}: is not the folder of scene {number}")
                continue
            images, problems = _scene(out, split, number)
            found += problems
            for image, parts in sorted(images.items()):
                own = parts["scene_hoi_annotate"][0]
                found += list(_belongs(f"{scene_path(split, number)}/scene_hoi_annotate.json", own, known, split))
                seen.append(str(own.get("id")))
                broken = check_numbers((split, number, image), parts)
                found += broken or check_image(out, (split, number, image, suffix), parts, models)
                if broken:  # what follows computes with the numbers
                    continue
                used.add(parts["scene_gt"][0]["obj_id"])
                if split == "test" and parts["scene_gt_info"][0]["visib_fract"] >= MIN_VISIBLE:
                    targets.append(target(number, image, parts["scene_gt"][0]["obj_id"]))
    found += [f"manifest.json: sample {sample_id} is in several images" for sample_id in _repeated(seen)]
    found += [f"manifest.json: sample {sample_id} is in no scene" for sample_id in sorted(set(known) - set(seen))]
    found += [f"{model_path(number)}: is in no image" for number in sorted(set(models) - used)]
    return found + list(_camera(out, bool(known))) + _targets(out, targets)


def _repeated(names: list[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _models(out: Path) -> tuple[Models, list[str]]:
    """The models that can be used, by number."""
    path = f"{MODELS}/models_info.json"
    entries, found = read_json(out, path)
    if found:
        return {}, found
    if not isinstance(entries, dict) or list(entries) != [str(number) for number in range(1, len(entries) + 1)]:
        return {}, [f"{path}: does not hold the numbers from 1 on"]
    models: Models = {}
    there = sorted(file.name for file in (out / MODELS).glob("*.ply"))
    if there != [model_path(number).rpartition("/")[2] for number in range(1, len(entries) + 1)]:
        found.append(f"{path}: does not hold the models that are in its folder")
    for key, entry in entries.items():
        name, texture = model_path(int(key)), model_path(int(key), "png")
        try:
            vertices, faces, _, named = read_ply((out / name).read_text(encoding="ascii"))
        except (OSError, ValueError, KeyError, IndexError) as error:
            found.append(f"{name}: cannot be read: {error}")
            continue
        models[int(key)] = vertices, faces
        if named != texture.rpartition("/")[2]:
            found.append(f"{name}: names the texture {named}")
        if cv2.imread(str(out / texture)) is None:
            found.append(f"{texture}: cannot be read as an image")
        found += [f"{path}: object {key}: {problem}" for problem in _info(entry, info(vertices))]
        if np.abs(vertices.min(0) + vertices.max(0)).max() > MAX_MODEL_ERROR:
            found.append(f"{name}: its origin is not in the middle of its box")
    return models, found


def _info(entry: Any, expected: dict[str, Any]) -> Iterator[str]:
    for key in INFO_KEYS:
        value = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(value, float | int) or isinstance(value, bool) or not abs(value) < LIMIT:
            yield f"'{key}' is missing or not a number"
        elif not abs(value - expected[key]) < MAX_MODEL_ERROR:
            yield f"'{key}' is {value}, but the model has {expected[key]}"


def _scene(out: Path, split: str, scene: int) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """What the four files say of each image; files for which that cannot be told are named."""
    folder = scene_path(split, scene)
    contents, found = {}, []
    for name in JSON_FILES:
        path = f"{folder}/{name}.json"
        content, problems = read_json(out, path)
        if not problems and (not isinstance(content, dict) or not content):
            problems = [f"{path}: is not an object with an entry per image"]
        elif not problems and list(content) != [str(image) for image in range(len(content))]:
            problems = [f"{path}: its images are not numbered from 0 on"]
        elif not problems and len(content) > IMAGES_PER_SCENE:
            problems = [f"{path}: has more than {IMAGES_PER_SCENE} images"]
        elif not problems and name != "scene_camera":
            problems = [f"{path}: image {i} is not a list of one object" for i, e in content.items() if not _single(e)]
        found += problems
        contents[name] = content
    if found:
        return {}, found
    count = len(contents["scene_gt"])
    counts = {name: len(content) for name, content in contents.items()}
    wrong = {name: counted(n, "image") for name, n in counts.items() if n != count}
    found = [f"{folder}/{name}.json: has {images}, not {count}" for name, images in wrong.items()]
    if found:
        return {}, found
    return {image: {name: content[str(image)] for name, content in contents.items()} for image in range(count)}, []


def _single(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 1 and isinstance(entry[0], dict)


def _belongs(path: str, own: dict[str, Any], known: Mapping[str, Mapping[str, Any]], split: str) -> Iterator[str]:
    sample = known.get(str(own.get("id")))
    if sample is None or sample["split"] != split:
        yield f"{path}: '{own.get('id')}' is no sample of the manifest for {split}"
        return
    for key in ("pair_id", "revision"):
        if own.get(key) != sample.get(key):
            yield f"{path}: {sample['id']}: '{key}' is not what the manifest says"


def _camera(out: Path, needed: bool) -> Iterator[str]:
    if not needed:
        return
    content, found = read_json(out, "camera.json")
    yield from found
    for key in () if found else CAMERA_KEYS:
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, float | int) or isinstance(value, bool) or not 0 < value < LIMIT:
            yield f"camera.json: '{key}' is missing or not a positive number"


def _targets(out: Path, expected: list[Any]) -> list[str]:
    path = "test_targets_bop19.json"
    content, found = read_json(out, path)
    if not found and content != expected:
        found = [f"{path}: is not the list of the test images whose object is seen"]
    return found if found or (out / "dataset_info.md").is_file() else ["dataset_info.md: is missing"]
