"""Do the pictures of one BOP image show the model in its pose, and are its numbers those of the pictures?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from exports.base import UnsuitableRecord
from exports.bop.layout import image_path, mask_path, scene_path
from exports.bop.model import MM
from exports.bop.view import View, view, visible_info
from pipeline.errors import PipelineError
from pipeline.hand_model.hand import read_hand
from pipeline.types import F64, I64, Camera, HandPose

MAX_WRONG_PIXELS = 1e-3  # share of the object's pixels that may differ (another CPU rounds another way)
MAX_BOX_ERROR = 2  # pixels
MAX_DEPTH_ERROR = 1.0  # mm
LIMIT = 1e12  # no number of an image is as large; JSON has integers that no float can hold
NUMBERS: dict[str, dict[str, int]] = {  # required keys, and how many numbers each holds (0: a single one)
    "scene_camera": {"cam_K": 9, "depth_scale": 0},
    "scene_gt": {"cam_R_m2c": 9, "cam_t_m2c": 3, "obj_id": 0},
    "scene_gt_info": {
        **{"bbox_obj": 4, "bbox_visib": 4, "px_count_all": 0, "px_count_valid": 0},
        **{"px_count_visib": 0, "visib_fract": 0},
    },
}
WHOLE = {"obj_id", "bbox_obj", "bbox_visib", "px_count_all", "px_count_valid", "px_count_visib"}
HAND = {"global_orient": 3, "hand_pose": 45, "betas": 10, "transl": 3}  # parameters, and how many numbers each has
Models = dict[int, tuple[F64, I64]]  # vertices (V, 3) mm and faces (F, 3) by obj_id


def check_numbers(at: tuple[str, int, int], parts: Mapping[str, Any]) -> list[str]:
    """One line for each required key that is missing or holds no such numbers. at: split, scene, image."""
    folder, entries = scene_path(*at[:2]), _entries(parts)
    return [f"{folder}/{name}.json: image {at[2]}: {p}" for name in NUMBERS for p in _structure(name, entries[name])]


def check_image(out: Path, at: tuple[str, int, int, str], parts: Mapping[str, Any], models: Models) -> list[str]:
    """One line per finding. at: split, scene, image and the suffix of photographs; parts: its entry in each file, of
    the right structure."""
    split, scene, image, suffix = at
    folder = scene_path(split, scene)
    entries = _entries(parts)
    found: list[str] = []
    paths = {kind: image_path(split, scene, kind, image) for kind in ("rgb", "depth")}
    paths["rgb"] = image_path(split, scene, "rgb", image, suffix)
    paths |= {kind: mask_path(split, scene, kind, image, 0) for kind in ("mask", "mask_visib")}
    pictures: dict[str, NDArray[Any]] = {}
    for kind, path in paths.items():
        picture = cv2.imread(str(out / path), cv2.IMREAD_UNCHANGED)
        if picture is None:
            found.append(f"{path}: cannot be read as an image")
        else:
            pictures[kind] = np.asarray(picture)
    if found:
        return found
    shape = pictures["rgb"].shape
    if shape[2:] != (3,) or pictures["rgb"].dtype != np.uint8:
        found.append(f"{paths['rgb']}: is not a picture of three channels of uint8")
    for kind, dtype in (("depth", np.uint16), ("mask", np.uint8), ("mask_visib", np.uint8)):
        if pictures[kind].shape != shape[:2] or pictures[kind].dtype != dtype:
            found.append(f"{paths[kind]}: is not {shape[1]}x{shape[0]} of {np.dtype(dtype).name}")
    gt = entries["scene_gt"]
    if gt["obj_id"] not in models:
        found.append(f"{folder}/scene_gt.json: image {image}: there is no usable model {gt['obj_id']}")
    rotation = np.array(gt["cam_R_m2c"]).reshape(3, 3)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(rotation) < 0:
        found.append(f"{folder}/scene_gt.json: image {image}: 'cam_R_m2c' is not a rotation")
    if found:
        return found
    K = np.array(entries["scene_camera"]["cam_K"]).reshape(3, 3)
    vertices, faces = models[gt["obj_id"]]
    solid = (vertices @ rotation.T + np.array(gt["cam_t_m2c"])) / MM, faces
    try:
        hand = _hand(parts["scene_hoi_annotate"][0]["hand"])
        seen = view(solid, hand, Camera(K, shape[1], shape[0]))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        return [f"{folder}/scene_hoi_annotate.json: image {image}: cannot be read: {error!r}"]
    except UnsuitableRecord as error:
        return [f"{folder}/scene_gt.json: image {image}: {error}"]
    if hand is None:  # a model that is not here: what hides the object is only known from the pictures
        seen = View(seen.depth, seen.depth_scale, seen.mask, np.asarray(pictures["mask_visib"] > 0), seen.info)
    found += [f"{paths[kind]}: {problem}" for kind, problem in _pictures(pictures, entries, seen, hand is not None)]
    expected = seen.info | visible_info(seen.visible, seen.info)
    found += [f"{folder}/scene_gt_info.json: image {image}: {p}" for p in _info(entries["scene_gt_info"], expected)]
    return found


def _entries(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parts[name] if name == "scene_camera" else parts[name][0] for name in NUMBERS}


def _structure(name: str, entry: Any) -> Iterator[str]:
    for key, count in NUMBERS[name].items():
        value: Any = entry.get(key) if isinstance(entry, dict) else None
        numbers: Any = value if count else [value]
        whole = isinstance(numbers, list) and len(numbers) == max(count, 1)
        kinds = int if key in WHOLE else float | int
        if not whole or any(isinstance(n, bool) or not isinstance(n, kinds) or not abs(n) < LIMIT for n in numbers):
            what = "whole" if key in WHOLE else "finite"
            yield f"'{key}' is missing or not {max(count, 1)} {what} numbers"
        elif key == "depth_scale" and not value > 0:
            yield "'depth_scale' is not positive"
        elif key == "cam_K" and (value[0] <= 0 or value[4] <= 0 or value[3] != 0 or value[6:] != [0, 0, 1]):
            yield "'cam_K' is no camera matrix"


def _hand(own: Mapping[str, Any]) -> tuple[F64, I64] | None:
    """The hand's surface from its parameters; None when it was made with a model that is not here."""
    if not isinstance(own["model"], str) or own["side"] not in ("left", "right"):
        raise TypeError("the hand's model or side is not named")
    try:
        model = read_hand(own["side"], own["model"])
    except PipelineError:
        return None
    arrays = {name: np.array(own[name], dtype=np.float64) for name in HAND}
    wrong = [name for name, array in arrays.items() if array.shape != (HAND[name],) or not np.isfinite(array).all()]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} of the hand: not as many finite numbers as a hand has")
    vertices, _ = model.posed(HandPose(own["side"], **arrays))
    return vertices, model.faces


def _pictures(
    pictures: Mapping[str, NDArray], entries: Mapping[str, Any], seen: View, whole: bool
) -> Iterator[tuple[str, str]]:
    allowed = MAX_WRONG_PIXELS * seen.mask.sum() + 2
    for kind, expected in (("mask", seen.mask), ("mask_visib", seen.visible)):
        if not set(np.unique(pictures[kind]).tolist()) <= {0, 255}:
            yield kind, "has values other than 0 and 255"
        wrong = int(((pictures[kind] > 0) != expected).sum())
        if wrong > allowed:
            yield kind, f"differs from the model in its pose in {wrong} pixels"
    depth = pictures["depth"] * float(entries["scene_camera"]["depth_scale"])
    expected_depth = seen.depth * seen.depth_scale
    where = np.ones_like(seen.mask) if whole else seen.mask & seen.visible
    wrong = int((np.abs(depth - expected_depth) > MAX_DEPTH_ERROR)[where].sum())
    if wrong > MAX_WRONG_PIXELS * max(int((seen.depth > 0).sum()), 1) + 2:
        yield "depth", f"differs from the reconstruction in {wrong} pixels"


def _info(entry: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    for key, value in expected.items():
        gap = float(np.abs(np.array(entry[key]) - np.array(value)).max())
        allowed = MAX_BOX_ERROR if key.startswith("bbox") else 1e-3 * max(float(np.max(value)), 1) + 2
        if gap > (1e-2 if key == "visib_fract" else allowed):
            yield f"'{key}' is {entry[key]}, but the model in its pose gives {value}"
