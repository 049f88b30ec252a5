"""Reads a FreiHAND export back the way the toolbox does and says what its users would stumble over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exports.freihand.hand import bone_length, posed
from exports.freihand.layout import LISTS, MODEL_PATH, OWN, SETS, SIZE, list_path, picture_path
from exports.json_file import read_json
from pipeline.errors import PipelineError
from pipeline.geometry.camera import project
from pipeline.geometry.layers import depth_map
from pipeline.hand_model.hand import OPEN_HAND, Hand, read_hand
from pipeline.types import F64

MAX_GAP = 2e-4  # metres between the lists and what the 61 numbers give
BONE_GAP = 1e-5  # metres
MAX_OUTSIDE = 0.5  # share of the mask that may lie outside of the projected hand before it is another hand's
MASK_LEVELS = (16, 239)  # a mask's JPEG is darker or brighter than these
Lists = dict[str, list[Any]]


def check_freihand(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    found: list[str] = []
    for split, set_name in SETS.items():
        samples = [sample for sample in manifest["samples"] if sample["split"] == split]
        samples.sort(key=lambda sample: str(sample.get("index")).zfill(8))
        for number, sample in enumerate(samples):
            if sample.get("index") != number:
                given = sample.get("index")
                found.append(f"manifest.json: 'index' of sample {sample['id']} is {given!r}, not {number}")
        lists, problems = _lists(out, set_name, len(samples))
        found += problems
        found += _stray(out, set_name, len(samples))
        for number, sample in enumerate(samples):
            arrays = {name: lists[name][number] for name in LISTS if name in lists}
            found += _sample(out, set_name, number, arrays, sample)
            if OWN in lists:
                where = f"{list_path(set_name, OWN)}: entry {number}"
                found += [f"{where}: {problem}" for problem in _own(lists[OWN][number], sample)]
    if any(sample.get("hand_model") == OPEN_HAND for sample in manifest["samples"]):
        found += _model_file(out, read_hand("right", OPEN_HAND))
    return found


def _lists(out: Path, set_name: str, count: int) -> tuple[Lists, list[str]]:
    """The lists that are as long as they should be, and what is wrong with the others."""
    lists: Lists = {}
    found = []
    for name in (*LISTS, OWN):
        path = list_path(set_name, name)
        content, problems = read_json(out, path)
        if not problems and (not isinstance(content, list) or len(content) != count):
            problems = [f"{path}: is not a list of {count} entries, one per sample of the manifest"]
        if not problems:
            lists[name] = content
        found += problems
    return lists, found


def _stray(out: Path, set_name: str, count: int) -> Iterator[str]:
    expected = {f"{number:08d}.jpg" for number in range(count)}
    for kind in ("rgb", "mask"):
        folder = out / set_name / kind
        if not folder.is_dir():
            yield f"{set_name}/{kind}: folder is missing"
            continue
        for path in sorted(folder.iterdir()):
            if path.name not in expected:
                yield f"{set_name}/{kind}/{path.name}: is no sample of the manifest; loaders list this folder"


def _sample(
    out: Path,
    set_name: str,
    number: int,
    raw: Mapping[str, Any],
    sample: Mapping[str, Any],
) -> Iterator[str]:
    values: dict[str, F64] = {}
    for name, given in raw.items():
        try:
            array = np.asarray(given, dtype=np.float64) if _only_numbers(given) else None
        except (ValueError, OverflowError):
            array = None
        if array is None or array.shape != LISTS[name] or not np.isfinite(array).all():
            yield f"{list_path(set_name, name)}: entry {number} is not finite numbers of shape {LISTS[name]}"
        else:
            values[name] = array
    pictures = {}
    for kind in ("rgb", "mask"):
        path = picture_path(set_name, kind, f"{number:08d}")
        picture = cv2.imread(str(out / path), cv2.IMREAD_UNCHANGED)
        if picture is None:
            yield f"{path}: cannot be read as an image"
        elif picture.shape != (SIZE, SIZE, 3):
            yield f"{path}: has shape {picture.shape}, not {(SIZE, SIZE, 3)}"
        else:
            pictures[kind] = picture
    if len(values) < len(LISTS):
        return
    model = _model(sample)
    problems = list(_hand(set_name, number, values, model))
    yield from problems
    if model is None:
        path = list_path(set_name, "mano")
        yield f"{path}: entry {number} was not checked, for hand model '{sample.get('hand_model')}' is not here"
    elif not problems and "mask" in pictures:
        problem = _mask_problem(pictures["mask"], values, model)
        if problem:
            yield f"{picture_path(set_name, 'mask', f'{number:08d}')}: {problem}"


def _own(own: Any, sample: Mapping[str, Any]) -> Iterator[str]:
    """Findings on an entry of our list."""
    if not isinstance(own, dict):
        yield "is not a dict"
        return
    for key in ("pair_id", "revision", "hand_model"):
        if own.get(key) != sample.get(key):
            yield f"'{key}' is {own.get(key)!r}, but the manifest says {sample.get(key)!r}"
    if own.get("sample") != sample["id"]:
        yield f"'sample' is {own.get('sample')!r}, but the manifest says {sample['id']!r}"
    if not isinstance(own.get("provenance"), dict):
        yield "'provenance' is missing or not a dict"
    photo, crop = own.get("photo"), own.get("crop")
    if not isinstance(photo, dict) or photo.get("sha256") != sample.get("photo"):
        yield "'photo' is not the one that the manifest names"
    if not (isinstance(crop, list) and len(crop) == 3 and all(type(value) is int for value in crop) and crop[2] > 0):
        yield "'crop' is not left, top, side"
    model = _model(sample)
    if model is not None and own.get("tip_ids") != model.tip_ids.tolist():
        yield f"'tip_ids' are not those of {model.name}"


def _model(sample: Mapping[str, Any]) -> Hand | None:
    """The hand model of a sample, if it is here."""
    try:
        return read_hand("right", str(sample.get("hand_model")))
    except PipelineError:
        return None


def _hand(set_name: str, number: int, values: Mapping[str, F64], model: Hand | None) -> Iterator[str]:
    """Do the lists say the same hand, before the same camera?"""
    K, xyz, verts = values["K"], values["xyz"], values["verts"]
    if K[0, 0] <= 0 or K[1, 1] <= 0 or K[1, 0] or not np.array_equal(K[2], [0, 0, 1]):
        yield f"{list_path(set_name, 'K')}: entry {number} is no camera matrix"
        return
    if xyz[:, 2].min() <= 0 or verts[:, 2].min() <= 0:
        yield f"{list_path(set_name, 'xyz')}: entry {number} is not in front of the camera"
        return
    if abs(values["scale"] - bone_length(xyz)) > BONE_GAP:
        yield (
            f"{list_path(set_name, 'scale')}: entry {number} is {values['scale']:.4f} m, but the reference bone in "
            f"'xyz' is {bone_length(xyz):.4f} m"
        )
    pixels = project(verts, K)
    if pixels.min() < -0.5 or pixels.max() > SIZE + 0.5:
        yield f"{list_path(set_name, 'K')}: entry {number} puts the hand outside of its picture"
    if values["mano"][0, -1] <= 0:
        yield f"{list_path(set_name, 'mano')}: entry {number} has a 'scale' that is not above 0"
        return
    if model is None:
        return
    gap = float(np.abs(xyz[[4, 8, 12, 16, 20]] - verts[model.tip_ids]).max())
    if gap > MAX_GAP:
        yield f"{list_path(set_name, 'xyz')}: fingertips of entry {number} are {gap * 1e3:.1f} mm from their vertices"
    for name, points in zip(("verts", "xyz"), posed(values["mano"][0], K, model), strict=True):
        gap = float(np.abs(points - values[name]).max())
        if not gap <= MAX_GAP:
            yield (
                f"{list_path(set_name, 'mano')}: entry {number} gives '{name}' {gap * 1e3:.1f} mm from where its list "
                f"has them, by the camera of {list_path(set_name, 'K')}"
            )


def _mask_problem(mask: np.ndarray, values: Mapping[str, F64], model: Hand) -> str | None:
    if ((mask > MASK_LEVELS[0]) & (mask <= MASK_LEVELS[1])).any():
        return "is not black and white"
    seen = mask[..., 0] > MASK_LEVELS[1]
    if not seen.any():
        return "is empty"
    hand = np.isfinite(depth_map(values["verts"], model.faces, values["K"], SIZE, SIZE))
    outside = float((seen & ~hand).sum() / seen.sum())
    return f"lies {outside:.0%} outside of the hand of 'verts'" if outside > MAX_OUTSIDE else None


def _model_file(out: Path, model: Hand) -> Iterator[str]:
    try:
        content = json.loads((out / MODEL_PATH).read_bytes())
        for key in ("faces", "mean_pose", "tip_ids"):
            if not np.array_equal(np.array(content[key]), getattr(model, key)):
                yield f"{MODEL_PATH}: '{key}' are not those of {model.name}"
    except OSError as error:
        yield f"{MODEL_PATH}: cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError) as error:
        yield f"{MODEL_PATH}: is not the hand model ({error!r})"


def _only_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(_only_numbers(item) for item in value)
    return type(value) in (int, float)
