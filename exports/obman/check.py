"""Reads an ObMan export back, by the rules of its loaders, and says what they (or their users) would stumble over."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exports import numpy_pickle
from exports.base import UnsuitableRecord
from exports.hands import MODEL_TOLERANCE
from exports.obman.camera import SIZE, TO_OPENGL
from exports.obman.layers import CHANNELS, decode_depth, encode_depth, render
from exports.obman.layout import KINDS, MODEL_FILES, SHAPENET_ROOT, SPLITS, sample_path
from exports.obman.mesh import MAX_VERTICES
from exports.obman.meta import (
    ARRAYS,
    FLOATS,
    OWN_KEY,
    STRINGS,
    TIPS,
    object_points,
    pose_from_own,
    project_opengl,
)
from pipeline.errors import PipelineError
from pipeline.hand_model.hand import Hand, read_hand
from pipeline.types import U8

MAX_REPROJECTION_PX = 1.0
MAX_WRONG_PIXELS = 1e-3  # share of a re-rendered picture that may differ (another CPU rounds another way)
MAX_PLANE_ERROR = 1e-3  # metres
Meta = dict[str, Any]


def check_obman(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    found = list(_layout(out, manifest))
    for sample in manifest["samples"]:
        found += _sample(out, sample)
    return found


def _layout(out: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    expected = {(sample["split"], sample["id"]) for sample in manifest["samples"]}
    for split in SPLITS:
        for kind, suffix in KINDS.items():
            folder = out / split / kind
            if not folder.is_dir():
                yield f"{split}/{kind}: folder is missing"
                continue
            for path in sorted(folder.iterdir()):
                name = path.name.removesuffix(f".{suffix}")
                if (split, name) not in expected or name == path.name:
                    yield f"{split}/{kind}/{path.name}: is no sample of the manifest; loaders fail on stray files"


def _sample(out: Path, sample: Mapping[str, Any]) -> list[str]:
    names = {kind: sample_path(sample["split"], kind, sample["id"]) for kind in KINDS}
    paths = {kind: out / name for kind, name in names.items()}
    images: dict[str, U8] = {}
    found = []
    for kind in (kind for kind in KINDS if kind != "meta"):
        image = cv2.imread(str(paths[kind]), cv2.IMREAD_COLOR)
        if image is None:
            found.append(f"{names[kind]}: cannot be read as an image")
        elif image.shape != (SIZE, SIZE, 3):
            found.append(f"{names[kind]}: is {image.shape[1]}x{image.shape[0]}, not {SIZE}x{SIZE}")
        else:
            images[kind] = np.asarray(image, dtype=np.uint8)
    meta = _load(paths["meta"])
    if not isinstance(meta, dict):
        return [*found, f"{names['meta']}: {meta}"]
    shape_problems = list(_structure(meta))
    found += [f"{names['meta']}: {problem}" for problem in shape_problems]
    if shape_problems:
        return found  # what follows computes with the values
    try:
        model = read_hand(meta["side"], str(meta[OWN_KEY].get("hand_model")))
    except PipelineError as error:
        return [*found, f"{names['meta']}: {error}"]
    found += [f"{names['meta']}: {problem}" for problem in _hand(meta, model)]
    found += [f"{names['meta']}: {problem}" for problem in _transform(meta)]
    found += [f"{names['meta']}: {problem}" for problem in _own(meta, model, sample)]
    mesh, problems = _object(out, meta)
    found += problems
    if mesh is not None:
        found += [f"{names[kind]}: {problem}" for kind, problem in _rendered(meta, model, mesh, images)]
    return found


def _load(path: Path) -> Any:
    """What a pickle holds, or a string that says why it cannot be told."""
    try:
        data = path.read_bytes()
        if b"numpy._core" in data:
            return "names numpy._core, which numpy 1 does not have"
        return numpy_pickle.loads(data)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        return f"is not a pickle of plain values and arrays ({error})"


def _structure(meta: Meta) -> Iterator[str]:
    for key in (*ARRAYS, *FLOATS, *STRINGS, OWN_KEY):
        if key not in meta:
            yield f"'{key}' is missing"
    for key, shape in ARRAYS.items():
        value = meta.get(key)
        if key not in meta:
            continue
        if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != np.float32:
            yield f"'{key}' is not a float32 array of shape {shape}"
        elif not np.isfinite(value).all():
            yield f"'{key}' is not finite"
    for key in FLOATS:
        if key in meta and not (isinstance(meta[key], float) and np.isfinite(meta[key]) and meta[key] > 0):
            yield f"'{key}' is not a positive float"
    for key in STRINGS:
        if key in meta and not isinstance(meta[key], str):
            yield f"'{key}' is not a string"
    if meta.get("side", "left") not in ("left", "right"):
        yield f"'side' is {meta['side']!r}, not 'left' or 'right'"
    if not isinstance(meta.get(OWN_KEY, {}), dict):
        yield f"'{OWN_KEY}' is not a dict"
    if "grasp_quality" in meta and not {"grasp_epsilon", "grasp_volume"} <= set(meta):
        yield "'grasp_quality' is there without 'grasp_epsilon' and 'grasp_volume'"


def _hand(meta: Meta, model: Hand) -> Iterator[str]:
    joints, verts = meta["coords_3d"], meta["verts_3d"]
    if max(joints[:, 2].max(), verts[:, 2].max()) >= 0:
        yield "'coords_3d' or 'verts_3d' is not in front of the OpenGL camera (z < 0)"
        return
    error = float(np.abs(project_opengl(joints) - meta["coords_2d"]).max())
    if error > MAX_REPROJECTION_PX:
        yield f"'coords_3d' projects {error:.1f} px from 'coords_2d'"
    gap = float(np.abs(joints[list(TIPS)] - verts[model.tip_ids]).max())
    if gap > MODEL_TOLERANCE:
        yield f"fingertips of 'coords_3d' are {gap * 1e3:.1f} mm from their vertices in 'verts_3d'"
    if not np.array_equal(meta["hand_pose"], meta["pca_pose"]):
        yield "'hand_pose' and 'pca_pose' differ"


def _own(meta: Meta, model: Hand, sample: Mapping[str, Any]) -> Iterator[str]:
    own = meta[OWN_KEY]
    try:
        if own["hand_model"] != model.name:
            yield f"hand model '{own['hand_model']}' is not here, so its parameters were not checked"
            return
        pose = pose_from_own(own, meta["side"])
        gap = float(np.abs(meta["pca_pose"] @ model.components - pose.hand_pose).max())
        if gap > 1e-4:
            yield f"'pca_pose' @ components is {gap:.4f} rad from the axis-angle pose in '{OWN_KEY}'"
        verts, joints = model.posed(pose)
        for key, points in (("verts_3d", verts), ("coords_3d", joints)):
            gap = float(np.abs(points @ TO_OPENGL - meta[key]).max())
            if gap > MODEL_TOLERANCE:
                yield f"'{key}' is {gap * 1e3:.1f} mm from what the hand's parameters give"
        for key in ("pair_id", "revision", "groups"):
            if own[key] != sample.get(key):
                yield f"'{OWN_KEY}.{key}' is not what the manifest says"
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        yield f"'{OWN_KEY}' cannot be read: {error!r}"


def _transform(meta: Meta) -> Iterator[str]:
    affine = meta["affine_transform"].astype(np.float64)
    linear = affine[:3, :3]
    scale = float(np.cbrt(np.linalg.det(linear)))
    rigid = scale > 0 and np.allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-4 * scale**2)
    if not rigid or not np.array_equal(affine[3], [0, 0, 0, 1]):
        yield "'affine_transform' is not a rotation, a scale and a shift"
    elif abs(scale / meta["obj_scale"] - 1) > 1e-3:
        yield f"'obj_scale' is {meta['obj_scale']:.4f}, but 'affine_transform' scales by {scale:.4f}"


def _object(out: Path, meta: Meta) -> tuple[Meta | None, list[str]]:
    """The object's mesh (None when it cannot be used) and what is wrong with its files."""
    name = f"{SHAPENET_ROOT}/{meta['class_id']}/{meta['sample_id']}/models"
    found = [f"{name}/{file}: is missing" for file in MODEL_FILES if not (out / name / file).is_file()]
    if found:
        return None, found
    points = _load(out / name / "surface_points.pkl")
    if not isinstance(points, np.ndarray) or points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        found.append(f"{name}/surface_points.pkl: is not an (N, 3) array")
    if cv2.imread(str(out / name / "texture.png")) is None:
        found.append(f"{name}/texture.png: cannot be read as an image")
    text = (out / name / "model_normalized.obj").read_text(encoding="utf-8", errors="replace")
    found += [f"{name}/model_normalized.obj: {problem}" for problem in _obj_problems(text)]
    mesh = _load(out / name / "model_normalized.pkl")
    problem = _mesh_problem(mesh)
    if problem:
        return None, [*found, f"{name}/model_normalized.pkl: {problem}"]
    return mesh, found


def _mesh_problem(mesh: Any) -> str | None:
    if not isinstance(mesh, dict) or not {"vertices", "faces"} <= set(mesh):
        return "is not a dict of vertices and faces"
    vertices, faces = mesh["vertices"], mesh["faces"]
    for array in (vertices, faces):
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] != 3 or len(array) == 0:
            return "vertices or faces are not an (N, 3) array"
    if len(vertices) > MAX_VERTICES or faces.min() < 0 or faces.max() >= len(vertices):
        return f"faces do not fit the vertices, or there are more than {MAX_VERTICES}"
    return None


def _obj_problems(text: str) -> Iterator[str]:
    """What makes strict OBJ readers fail: corners without a/b/c, several objects or materials, too many corners."""
    words = [line.split() for line in text.splitlines() if line]
    corners = {corner for word in words if word[0] == "f" for corner in word[1:]}
    counts = {key: sum(word[0] == key for word in words) for key in ("o", "usemtl", "v", "vt", "vn", "f")}
    if counts["o"] != 1 or counts["usemtl"] != 1:
        yield f"has {counts['o']} objects and {counts['usemtl']} material groups, not one of each"
    if not counts["f"] or any(len(word) != 4 for word in words if word[0] == "f"):
        yield "has faces that are no triangles, or none"
    limits = (counts["v"], counts["vt"], counts["vn"])
    for corner in corners:
        index = corner.split("/")
        if len(index) != 3 or not all(i.isdigit() and 0 < int(i) <= n for i, n in zip(index, limits, strict=False)):
            yield f"has a face corner '{corner}' that does not name v, vt and vn"
            break
    if len(corners) > MAX_VERTICES:
        yield f"splits into {len(corners)} vertices, more than {MAX_VERTICES}"


def _rendered(meta: Meta, model: Hand, mesh: Meta, images: Mapping[str, U8]) -> Iterator[tuple[str, str]]:
    """(kind, problem): do segm and depth show what the numbers say, where they say it?"""
    hand = meta["verts_3d"].astype(np.float64) @ TO_OPENGL
    try:
        layers = render(hand, model, object_points(meta, mesh["vertices"]), mesh["faces"])
    except UnsuitableRecord as error:
        yield "meta", f"cannot be rendered: {error}"
        return
    if "segm" in images:
        wrong = float((images["segm"] != layers.segm).any(-1).mean())
        if wrong > MAX_WRONG_PIXELS:
            yield "segm", f"differs from hand and object of the meta in {wrong:.1%} of its pixels"
    expected, planes = encode_depth(layers.depth)
    for channel, prefix in enumerate(CHANNELS):
        far, near = meta[f"{prefix}depth_min"], meta[f"{prefix}depth_max"]
        for key in (f"{prefix}depth_min", f"{prefix}depth_max"):
            if abs(meta[key] - planes[key]) > MAX_PLANE_ERROR:
                yield "meta", f"'{key}' is {meta[key]:.4f} m, but the reconstruction gives {planes[key]:.4f} m"
        if "depth" not in images:
            continue
        image = images["depth"][..., channel]
        if image.max() != 255:
            yield "depth", f"channel {'BGR'[channel]} reaches {image.max()}, not 255"
        step = max(far - near, 0.0) / 254 + MAX_PLANE_ERROR
        close = np.isclose(decode_depth(image, far, near), decode_depth(expected[..., channel], far, near), atol=step)
        if (~close).mean() > MAX_WRONG_PIXELS:
            yield "depth", f"channel {'BGR'[channel]} differs from the meta in {(~close).mean():.1%} of its pixels"
