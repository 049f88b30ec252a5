"""Reads a DexYCB export back, by the rules of its readers, and says what they (or their users) would stumble over."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from exports.dexycb.check_numbers import Frame, calibration, consistent, meta_problems, own_problems, structure
from exports.dexycb.label import ARRAYS, POSES, millimetres, segmentation
from exports.dexycb.layout import LISTS, calibration_paths, lists, numbers, sequence_paths
from exports.hands import hand_here
from exports.ho3d.model import FOLDER
from exports.ho3d.model_check import MeshRead, read_model
from exports.ho3d.scene import render
from exports.ho3d.view import HEIGHT, WIDTH, shifted
from pipeline.types import Side

MAX_WRONG_PIXELS = 2e-3  # share of a re-rendered picture that may differ (another CPU rounds another way)
MAX_DEPTH_GAP = 1  # millimetres, from rounding
NAMED = ("sequence", "serial", "model", "side", "hand_model")  # what the format needs of the manifest


def check_dexycb(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    samples = manifest["samples"]
    for sample in samples:
        if not all(isinstance(sample.get(key), str) for key in NAMED) or sample["side"] not in get_args(Side):
            return [f"manifest.json: sample {sample['id']} does not say its {', '.join(NAMED)}"]
    numbered = numbers([sample["model"] for sample in samples])
    found = [*_lists(out, samples), *_stray(out, samples)]
    models: dict[str, MeshRead | None] = {}
    for name in numbered:
        models[name], problems = read_model(out, f"{FOLDER}/{name}")
        found += problems
    for sample in samples:
        found += _sequence(out, sample, models[sample["model"]], numbered[sample["model"]])
    return found


def _lists(out: Path, samples: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    content = read_json(out / LISTS)
    if not isinstance(content, dict):
        yield f"{LISTS}: {content}"
        return
    for key, value in lists(samples).items():
        if key not in content:
            yield f"{LISTS}: '{key}' is missing"
        elif content[key] != value:
            yield f"{LISTS}: '{key}' is not what the manifest's samples give"


def _stray(out: Path, samples: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Readers that walk the folders of subjects take every folder in them for a sequence."""
    expected = {sample["sequence"] for sample in samples}
    for path in sorted({*out.glob("*/*/meta.yml"), *(meta / "meta.yml" for meta in out.glob("subject-*/*"))}):
        name = path.parent.relative_to(out).as_posix()
        if name not in expected:
            yield f"{name}: is no sequence of the manifest; readers take it for one"


def _sequence(out: Path, sample: Mapping[str, Any], model: MeshRead | None, number: int) -> list[str]:
    """Everything of one pair."""
    at = sequence_paths(sample["sequence"], sample["serial"])
    at |= calibration_paths(sample["id"], sample["side"], sample["serial"])
    read: dict[str, Any] = {kind: read_yaml(out / at[kind]) for kind in ("meta", "intrinsics", "extrinsics", "mano")}
    read |= {
        "own": read_json(out / at["own"]),
        "label": read_npz(out / at["label"]),
        "pose": read_npz(out / at["pose"]),
    }
    unread = [f"{at[kind]}: {content}" for kind, content in read.items() if not isinstance(content, dict)]
    color, depth = _picture(out / at["color"], cv2.IMREAD_COLOR), _picture(out / at["depth"], cv2.IMREAD_ANYDEPTH)
    wrong_depth = [f"{at['depth']}: {problem}" for problem in _wrong_picture(depth, (HEIGHT, WIDTH), np.uint16)]
    found = [f"{at['color']}: {problem}" for problem in _wrong_picture(color, (HEIGHT, WIDTH, 3), np.uint8)]
    found += wrong_depth
    if unread:
        return found + unread
    problems = {
        "meta": list(meta_problems(read["meta"], sample, number)),
        "own": list(own_problems(read["own"], sample)),
        "label": list(structure(read["label"], ARRAYS, number)),
        "pose": list(structure(read["pose"], POSES, None)),
    }
    problems |= {kind: list(lines) for kind, lines in calibration(read, sample["serial"]).items()}
    if not any(problems.values()):  # what follows computes with the values
        hand = hand_here(sample["side"], sample["hand_model"])
        frame = Frame(read["label"], read["pose"], read["own"], read["intrinsics"], read["mano"], hand)
        problems = {kind: [*consistent(frame, kind)] for kind in ("intrinsics", "mano", "label", "pose")}
        if hand is None:
            problems["label"].append(f"hand model '{sample['hand_model']}' is not here, so its pose was not checked")
        elif model is not None and not any(problems.values()):
            rendered = _rendered(frame, model, None if wrong_depth else depth, number)
            problems |= {kind: [problem] for kind, problem in rendered}
    return found + [f"{at[kind]}: {problem}" for kind, lines in problems.items() for problem in lines]


def _rendered(frame: Frame, model: MeshRead, depth: NDArray[Any] | None, number: int) -> Iterator[tuple[str, str]]:
    """(kind, problem): do depth and segmentation show what the numbers say, where they say it?"""
    if frame.hand is None:
        return
    pose = frame.label["pose_y"][0].astype(np.float64)
    placed, verts = model.vertices @ pose[:, :3].T + pose[:, 3], frame.label["hand_verts"][0].astype(np.float64)
    if not (placed[:, 2].min() > 0 and verts[:, 2].min() > 0):
        yield "label", "'pose_y' or 'hand_verts' is behind the camera"
        return
    layers = render(shifted(frame.K, 0.5), verts, frame.hand, placed, model.faces)
    if depth is not None:
        gap = np.abs(depth.astype(int) - millimetres(layers.depth)) > MAX_DEPTH_GAP
        if gap.mean() > MAX_WRONG_PIXELS:
            yield "depth", f"differs from hand and object of the labels in {gap.mean():.1%} of its pixels"
    wrong = frame.label["seg"] != segmentation(layers.hand, layers.object, number)
    if wrong.mean() > MAX_WRONG_PIXELS:
        yield "label", f"'seg' differs from hand and object of the labels in {wrong.mean():.1%} of its pixels"


def _picture(path: Path, how: int) -> NDArray[Any] | None:
    return cv2.imread(str(path), how) if path.is_file() else None


def _wrong_picture(picture: NDArray[Any] | None, shape: tuple[int, ...], dtype: type) -> Iterator[str]:
    if picture is None:
        yield "cannot be read as an image"
    elif picture.shape != shape:
        yield f"is {picture.shape[1]}x{picture.shape[0]}, not {shape[1]}x{shape[0]}"
    elif picture.dtype != dtype:
        yield f"has {picture.dtype} pixels, not {np.dtype(dtype).name}"


def read_yaml(path: Path) -> Any:
    """A mapping, or a string that says why there is none."""
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        return f"cannot be read ({' '.join(str(error).split())})"
    return content if isinstance(content, dict) else "is not a mapping"


def read_json(path: Path) -> Any:
    """An object, or a string that says why there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    return content if isinstance(content, dict) else "is not a JSON object"


def read_npz(path: Path) -> Any:
    """The arrays by name, or a string that says why there are none. Pickles in it are not read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        return f"cannot be read ({error})"
