"""Reads an HO-3D export back, by the rules of its readers, and says what they (or their users) would stumble over."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exports import numpy_pickle
from exports.hands import hand_here
from exports.ho3d.layers import DEPTH_SCALE, SEG_SIZE, decode_depth, seg_picture
from exports.ho3d.layout import FRAME, SPLITS, VERSIONS, paths
from exports.ho3d.meta import OWN_KEY, TO_OPENGL
from exports.ho3d.meta_check import consistent, structure
from exports.ho3d.model import FOLDER
from exports.ho3d.model_check import MeshRead, read_model
from exports.ho3d.scene import render
from exports.ho3d.view import HEIGHT, WIDTH, shifted
from pipeline.types import U8

MAX_WRONG_PIXELS = 2e-3  # share of a re-rendered picture that may differ (another CPU rounds another way)
Meta = dict[str, Any]


def check_ho3d(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    given = manifest.get("options")
    options: Mapping[str, Any] = given if isinstance(given, dict) else {}
    version = options.get("version")
    if version not in VERSIONS:
        return [f"manifest.json: 'options.version' is {version!r}, not v2 or v3"]
    samples = manifest["samples"]
    found = [*_lists(out, samples), *_stray(out, samples)]
    models: dict[str, tuple[MeshRead | None, list[str]]] = {}
    labels = {str(name): number for number, name in enumerate(sorted({str(s.get("model")) for s in samples}), 1)}
    for name in labels:
        models[name] = read_model(out, f"{FOLDER}/{name}")
        found += models[name][1]
    for sample in samples:
        model = models[str(sample.get("model"))][0]
        found += _frame(out, sample, version, options, model, labels[str(sample.get("model"))])
    return found + list(_withheld(out, samples, version))


def _lists(out: Path, samples: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for split in SPLITS:
        expected = [f"{sample['id']}/{FRAME}" for sample in samples if sample["split"] == split]
        try:
            lines = (out / f"{split}.txt").read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            yield f"{split}.txt: cannot be read ({error})"
            continue
        if lines != [*expected, ""]:
            yield f"{split}.txt: does not list the frames of this split, one '<sequence>/<frame>' a line"


def _stray(out: Path, samples: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Readers that list folders take every file in them for a frame."""
    expected = {(sample["split"], sample["id"]) for sample in samples}
    for split in SPLITS:
        folders = sorted((out / split).iterdir()) if (out / split).is_dir() else []
        if not (out / split).is_dir():
            yield f"{split}: folder is missing"
        for folder in folders:
            if (split, folder.name) not in expected or not folder.is_dir():
                yield f"{split}/{folder.name}: is no sequence of the manifest; readers take it for one"
                continue
            for path in sorted(folder.glob("*/*")):
                if path.stem != FRAME:
                    yield f"{path.relative_to(out).as_posix()}: is no frame of this sequence; readers take it for one"


def _frame(
    out: Path, sample: Mapping[str, Any], version: str, options: Mapping[str, Any], model: MeshRead | None, label: int
) -> list[str]:
    at = paths(sample["split"], sample["id"], version)
    sizes = {"rgb": (HEIGHT, WIDTH, 3), "depth": (HEIGHT, WIDTH, 3), "seg": (*SEG_SIZE, 3)}
    found: list[str] = []
    pictures: dict[str, U8] = {}
    for kind, shape in sizes.items():
        picture = cv2.imread(str(out / at[kind]), cv2.IMREAD_COLOR)
        if picture is None:
            found.append(f"{at[kind]}: cannot be read as an image")
        elif picture.shape != shape:
            found.append(f"{at[kind]}: is {picture.shape[1]}x{picture.shape[0]}, not {shape[1]}x{shape[0]}")
        else:
            pictures[kind] = np.asarray(picture, dtype=np.uint8)
    meta = _load(out / at["meta"])
    if not isinstance(meta, dict):
        return [*found, f"{at['meta']}: {meta}"]
    joints = options.get("evaluation_joints", "root") if sample["split"] == "evaluation" else "all"
    problems = list(structure(meta, version, joints))
    if not problems:  # what follows computes with the values
        problems = list(consistent(meta, sample, model, label))
    found += [f"{at['meta']}: {problem}" for problem in problems]
    if not problems and model is not None:
        found += [f"{at[kind]}: {problem}" for kind, problem in _rendered(meta, version, model, pictures)]
    return found


def _rendered(meta: Meta, version: str, model: MeshRead, pictures: Mapping[str, U8]) -> Iterator[tuple[str, str]]:
    """(kind, problem): do depth and segmentation show what the numbers say, where they say it?"""
    rotation = cv2.Rodrigues(meta["objRot"])[0]
    placed = (model.vertices @ rotation.T + meta["objTrans"]) @ TO_OPENGL
    verts = meta[OWN_KEY]["hand_verts"].astype(np.float64) @ TO_OPENGL
    hand = hand_here("right", meta[OWN_KEY].get("hand_model"))
    if hand is None:
        return  # said of the meta already
    layers = render(shifted(meta["camMat"], 0.5), verts, hand, placed, model.faces)
    if "depth" in pictures:
        gap = np.abs(decode_depth(pictures["depth"]) - layers.depth) > 2 * DEPTH_SCALE
        if gap.mean() > MAX_WRONG_PIXELS:
            yield "depth", f"differs from hand and object of the meta in {gap.mean():.1%} of its pixels"
    if "seg" in pictures:
        wrong = np.abs(pictures["seg"].astype(int) - seg_picture(layers, version)).max(-1) > 100  # v2 is JPEG
        if wrong.mean() > MAX_WRONG_PIXELS:
            yield "seg", f"differs from hand and object of the meta in {wrong.mean():.1%} of its pixels"


def _withheld(out: Path, samples: Sequence[Mapping[str, Any]], version: str) -> Iterator[str]:
    """The evaluation split's truth, against the metas' own."""
    frames = [sample for sample in samples if sample["split"] == "evaluation"]
    for kind, key, count in (("xyz", "hand_joints", 21), ("verts", "hand_verts", 778)):
        name = f"evaluation_{kind}.json"
        try:
            content = json.loads((out / name).read_text(encoding="utf-8"))
            arrays = [np.asarray(points, dtype=np.float64) for points in content]
        except (OSError, ValueError, TypeError) as error:
            yield f"{name}: cannot be read ({error})"
            continue
        if len(arrays) != len(frames) or any(points.shape != (count, 3) for points in arrays):
            yield f"{name}: is not one ({count}, 3) array for every line of evaluation.txt"
            continue
        for sample, points in zip(frames, arrays, strict=True):
            meta = _load(out / paths("evaluation", sample["id"], version)["meta"])
            own = meta.get(OWN_KEY) if isinstance(meta, dict) else None
            truth = own.get(key) if isinstance(own, dict) else None
            if not isinstance(truth, np.ndarray) or truth.shape != points.shape:
                continue  # said of the meta already
            if not np.abs(points - truth).max() <= 2e-6:
                yield f"{name}: {sample['id']} is not what its meta says"


def _load(path: Path) -> Any:
    """What a pickle holds, or a string that says why it cannot be told."""
    try:
        data = path.read_bytes()
        if b"numpy._core" in data:
            return "names numpy._core, which numpy 1 does not have"
        meta = numpy_pickle.loads(data)
        return meta if isinstance(meta, dict) else "is not a dict"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        return f"is not a pickle of plain values and arrays ({error})"
