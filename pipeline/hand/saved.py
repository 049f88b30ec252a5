"""Hands that were predicted before: HaMeR's as EasyHOI keeps them, WiLoR's as wilor-mini answers them.

    <photo>.pt     dict of EasyHOI's HaMeR demo: mano_params, cam_transl, is_right (read as data, nothing in it is run)
    <photo>.json   the same as lists, or wilor-mini's list of {hand_bbox, is_right, wilor_preds}
    <photo>.npz    the same, mano_params flattened to its three entries
    <photo>_cam.json   beside a .pt: the focal length that it was made with, in widths of the picture

Pictures are read relative to their size, so it does not matter at which resolution the predictor saw the photo.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.hand.weak_perspective import (
    FOCAL,
    MIRROR,
    MIRROR_TURN,
    CropHand,
    from_full_translation,
    joints_drawn,
    rotation_vector,
)
from pipeline.types import F64, Photo, Side

SUFFIXES = (".pt", ".json", ".npz")
CROP = 0.5  # of the longer side; a crop has to have some size, and any gives the same hand


def find(place: Path, photo: Photo, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """The file of a photo: `place` itself, or `<name without suffix>.<suffix>` in it. Raises PipelineError."""
    place = place.expanduser()
    if place.is_file():
        return place
    stem = Path(photo.name).stem
    for suffix in suffixes:
        if (place / f"{stem}{suffix}").is_file():
            return place / f"{stem}{suffix}"
    raise PipelineError(f"{photo.name}: no saved hand in {place}; expected {stem}{' or '.join(suffixes)}")


def files_digest(place: Path) -> str:
    """sha256 of the saved hands in a file or folder: other files, other hands."""
    files = [place] if place.is_file() else sorted(place.glob("*"))
    state = hashlib.sha256()
    for path in files:
        if path.suffix in SUFFIXES and path.is_file():
            state.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def read_hands(place: Path, photo: Photo) -> list[CropHand]:
    """All hands that were predicted in a photo. Raises PipelineError when the file is not one of those above."""
    path = find(place, photo)
    try:
        content = _content(path)
        if isinstance(content, Mapping):
            return _hamer(content, _focal(path, photo), photo)
        return [_wilor_mini(entry, photo) for entry in content]
    except PipelineError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise PipelineError(f"{path}: is not what HaMeR or WiLoR saves: {reason}") from error


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        return _read_pt(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as data:
            found = {name: data[name] for name in data.files}
        names = ("global_orient", "hand_pose", "betas")
        return {"mano_params": {name: found[name] for name in names}} | found
    return json.loads(path.read_text(encoding="utf-8"))


def _read_pt(path: Path) -> Any:
    """A file of torch.save, as data only: tensors, numpy arrays, numbers, lists, tables."""
    import torch

    core = np.core if not hasattr(np, "_core") else np._core
    arrays = [
        (core.multiarray._reconstruct, f"{name}.multiarray._reconstruct") for name in ("numpy.core", "numpy._core")
    ]
    scalars = [(core.multiarray.scalar, f"{name}.multiarray.scalar") for name in ("numpy.core", "numpy._core")]
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?")]
    try:
        with torch.serialization.safe_globals([*arrays, *scalars, np.ndarray, np.dtype, *kinds]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a file that is not its own
        reason = " ".join(str(error).split())[:160]
        raise PipelineError(f"{path}: cannot be read as data ({reason})") from error


def _focal(path: Path, photo: Photo) -> float:
    """In longer sides of the picture."""
    beside = path.with_name(f"{path.stem}_cam.json")
    if not beside.is_file():
        return FOCAL
    height, width = photo.size
    return float(json.loads(beside.read_text(encoding="utf-8"))["fx"]) * width / max(width, height)


def _hamer(content: Mapping[str, Any], focal: float, photo: Photo) -> list[CropHand]:
    params = {name: _numbers(content["mano_params"][name]) for name in ("global_orient", "hand_pose", "betas")}
    transl, right = _numbers(content["cam_transl"]), _numbers(content["is_right"]).ravel() > 0.5
    if not len(right) == len(transl) == len(params["betas"]):
        raise PipelineError(f"{photo.name}: its saved hands are {len(right)} sides, but {len(transl)} places")
    hands = []
    for i, is_right in enumerate(right):
        far = transl[i] * [1.0, 1.0, FOCAL / focal]
        turns = [rotation_vector(params[name][i]) for name in ("global_orient", "hand_pose")]
        hands.append(_placed("right" if is_right else "left", turns, params["betas"][i], far, photo))
    return hands


def _wilor_mini(entry: Mapping[str, Any], photo: Photo) -> CropHand:
    """One hand of wilor-mini, which has mirrored left hands back already: mirrored once more, to be as predicted."""
    found = {name: _numbers(value) for name, value in entry["wilor_preds"].items()}
    side: Side = "right" if float(np.ravel(entry["is_right"])[0]) > 0.5 else "left"
    mirror, turn = (np.ones(3), np.ones(3)) if side == "right" else (MIRROR, MIRROR_TURN)
    turns = [rotation_vector(found[name][0]) for name in ("global_orient", "hand_pose")]
    turns = [(vector.reshape(-1, 3) * turn).ravel() for vector in turns]
    verts, joints = found["pred_vertices"][0] * mirror, found["pred_keypoints_3d"][0] * mirror
    return _placed(side, turns, found["betas"][0], found["pred_cam_t_full"][0], photo, verts, joints)


def _placed(
    side: Side,
    turns: list[F64],
    betas: F64,
    transl: F64,
    photo: Photo,
    verts: F64 | None = None,
    joints: F64 | None = None,
) -> CropHand:
    """A hand given by the full picture's camera, as one of a crop around it."""
    height, width = photo.size
    if turns[0].shape != (3,) or turns[1].shape != (45,) or betas.shape != (10,) or transl.shape != (3,):
        raise PipelineError(f"{photo.name}: its saved hand has arrays of the wrong shape")
    if not transl[2] > 0:
        raise PipelineError(f"{photo.name}: its saved hand lies behind the camera")
    size = CROP * max(width, height)
    middle = np.array([width, height]) / 2
    camera = from_full_translation(transl, side, middle, size, width, height)
    hand = CropHand(side, turns[0], turns[1], betas, camera, middle, size, verts, joints)
    drawn = joints_drawn(hand, width, height)
    centre = (drawn.min(0) + drawn.max(0)) / 2  # it was cropped around its keypoints
    camera = from_full_translation(transl, side, centre, size, width, height)
    return replace(hand, pred_cam=camera, centre=centre)


def _numbers(value: Any) -> F64:
    """Whatever was saved, as float64."""
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value, dtype=np.float64)
