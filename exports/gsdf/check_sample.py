"""Do the files of one gSDF sample and its annotation say the same?"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exports import numpy_pickle
from exports.base import UnsuitableRecord
from exports.gsdf.annotation import at_rest, box_corners, in_camera, rigid
from exports.gsdf.layout import SDF_STAGES, data_path
from exports.gsdf.obj import read_obj
from exports.gsdf.sdf import MAX_POINTS
from exports.hands import MODEL_TOLERANCE, hand_here
from exports.obman.camera import SIZE, TO_OPENGL
from exports.obman.layers import render
from exports.obman.meta import ARRAYS, OWN_KEY, TIPS, pose_from_own, project_opengl
from pipeline.errors import BadMesh
from pipeline.geometry.orientation import is_watertight
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model.hand import Hand
from pipeline.types import F64, I64

MAX_GAP = 2e-6  # metres between numbers that are stored twice
MAX_PIXELS = 0.01  # between joints and what is stored of their projection
MAX_WRONG_PIXELS = 1e-3  # share of a re-rendered picture that may differ (another CPU rounds another way)
MAX_SDF_ERROR = 1e-5  # normalised units
PROBED = 200  # points of each array whose distances are measured again
SDF_KEYS = ("", "_other")
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    zipfile.BadZipFile,
)
Solid = tuple[F64, I64]


def check_sample(out: Path, stage: str, sample: Mapping[str, Any], entry: Mapping[str, Any]) -> list[str]:
    """One line per finding; `entry` is an annotation of the right structure. Missing files are found elsewhere."""
    paths = {kind: data_path(stage, kind, sample["id"]) for kind in ("mesh_hand", "mesh_obj", "meta", "segm")}
    solids: dict[str, Solid] = {}
    found: list[str] = []
    for kind in ("mesh_hand", "mesh_obj"):
        try:
            solids[kind] = read_obj((out / paths[kind]).read_text(encoding="ascii"))
            if not is_watertight(*solids[kind]):
                found.append(f"{paths[kind]}: is not closed")
        except (OSError, ValueError, IndexError, BadMesh) as error:
            found.append(f"{paths[kind]}: {error}")
    name = f"obman_{stage}.json: annotation {int(sample['id'])}"
    found += [f"{name}: {problem}" for problem in _annotation(entry, sample)]
    try:
        meta = numpy_pickle.loads((out / paths["meta"]).read_bytes())
        found += [f"{paths['meta']}: {problem}" for problem in _meta(meta, entry)]
        if "mesh_hand" in solids:
            gap = solids["mesh_hand"][0] @ TO_OPENGL - meta["verts_3d"]
            if not np.abs(gap).max() <= MAX_GAP:
                found.append(f"{paths['meta']}: 'verts_3d' is not what mesh_hand has")
    except (*UNREADABLE, pickle.UnpicklingError) as error:
        found.append(f"{paths['meta']}: cannot be read: {error!r}")
    if len(solids) < 2:
        return found
    found += [f"{name}: {problem}" for problem in _meshes(entry, solids)]
    if model := hand_here("right", sample.get("hand_model")):
        found += [f"{paths['segm']}: {problem}" for problem in _segm(out / paths["segm"], model, solids)]
    if stage in SDF_STAGES:
        found += _distances(out, stage, sample["id"], entry, solids)
    return found


def _array(entry: Mapping[str, Any], key: str) -> F64:
    return np.array(entry[key], dtype=np.float64)


def _annotation(entry: Mapping[str, Any], sample: Mapping[str, Any]) -> Iterator[str]:
    if entry["bbox"] != [0, 0, SIZE, SIZE]:
        yield f"'bbox' is {entry['bbox']}, not the whole picture"
    transform = _array(entry, "obj_transform")
    linear = transform[:3, :3]
    rigid = np.allclose(linear @ linear.T, np.eye(3), atol=1e-5) and np.linalg.det(linear) > 0
    if not rigid or not np.array_equal(transform[3], [0, 0, 0, 1]):
        yield "'obj_transform' is not rigid"
    elif np.abs(transform[:3, 3] - _array(entry, "obj_center_3d")).max() > MAX_GAP:
        yield "'obj_center_3d' is not where 'obj_transform' takes the origin"
    elif (
        np.abs(in_camera(transform, _array(entry, "obj_rest_corners_3d")) - _array(entry, "obj_corners_3d")).max()
        > MAX_GAP
    ):
        yield "'obj_corners_3d' is not where 'obj_transform' takes 'obj_rest_corners_3d'"
    own = entry[OWN_KEY]
    for key in ("pair_id", "revision", "hand_model"):
        if own.get(key) != sample.get(key):
            yield f"'{OWN_KEY}.{key}' is not what the manifest says"
    if model := hand_here("right", own.get("hand_model")):
        pose = _array(entry, "hand_poses")
        try:
            stored = {"betas": own["betas"], "transl": own["transl"], "global_orient": pose[:3], "hand_pose": pose[3:]}
            arrays = {key: np.array(value, dtype=np.float64) for key, value in stored.items()}
            _, joints = model.posed(pose_from_own({"hand": arrays}, "right"))
        except (*UNREADABLE, RuntimeError) as error:
            yield f"'{OWN_KEY}' cannot be read: {error!r}"
            return
        gap = float(np.abs(joints - _array(entry, "hand_joints_3d")).max())
        if gap > MODEL_TOLERANCE:
            yield f"'hand_joints_3d' is {gap * 1e3:.1f} mm from what 'hand_poses' and the betas give"


def _meta(meta: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[str]:
    """AlignSDF's keys against the annotation."""
    joints = _array(entry, "hand_joints_3d") @ TO_OPENGL
    seen = np.array([entry["obj_center_3d"], *entry["obj_corners_3d"]]) @ TO_OPENGL
    rest = np.array([[0.0, 0.0, 0.0], *entry["obj_rest_corners_3d"]])
    for key, expected in (("coords_3d", joints), ("obj_corners_3d", seen), ("obj_rest_corners_3d", rest)):
        value = meta[key]
        if not isinstance(value, np.ndarray) or value.shape != expected.shape or value.dtype != np.float32:
            yield f"'{key}' is not a float32 array of shape {expected.shape}"
        elif not np.abs(value - expected).max() <= MAX_GAP:  # so that NaN is found too
            yield f"'{key}' is not what the annotation says"
    wrong = False
    for key, shape in ARRAYS.items():
        value = meta[key]
        if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != np.float32:
            wrong = True
            yield f"'{key}' is not a float32 array of shape {shape}"
        elif not np.isfinite(value).all():
            wrong = True
            yield f"'{key}' has values that are not finite"
    if meta["side"] != "right":
        yield f"'side' is {meta['side']!r}, and the readers know right hands only"
    for key in ("class_id", "sample_id"):
        if not isinstance(meta[key], str):
            yield f"'{key}' is not a string"
    own = meta[OWN_KEY]
    for key in ("pair_id", "revision", "hand_model"):
        if own[key] != entry[OWN_KEY].get(key):
            yield f"'{OWN_KEY}.{key}' is not what the annotation says"
    if not wrong:
        yield from _values(meta, entry)


def _values(meta: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[str]:
    """ObMan's keys, of the right structure, against the annotation."""
    if np.abs(project_opengl(meta["coords_3d"]) - meta["coords_2d"]).max() > MAX_PIXELS:
        yield "'coords_3d' does not project to 'coords_2d'"
    if np.abs(rigid(meta["affine_transform"]) - _array(entry, "obj_transform")).max() > MAX_GAP:
        yield "'affine_transform' does not turn and move the object as the annotation does"
    scale = np.cbrt(np.linalg.det(meta["affine_transform"][:3, :3].astype(np.float64)))
    if not isinstance(meta["obj_scale"], float) or not abs(scale - meta["obj_scale"]) <= 1e-5 * scale:
        yield f"'obj_scale' is {meta['obj_scale']}, but 'affine_transform' has {scale:.6f}"
    if not np.array_equal(meta["hand_pose"], meta["pca_pose"]):
        yield "'hand_pose' and 'pca_pose' differ"
    if model := hand_here("right", entry[OWN_KEY].get("hand_model")):
        pose = meta["pca_pose"].astype(np.float64) @ model.components
        if np.abs(pose - _array(entry, "hand_poses")[3:]).max() > 1e-4:
            yield "'pca_pose' is not the pose of the annotation's 'hand_poses'"


def _meshes(entry: Mapping[str, Any], solids: Mapping[str, Solid]) -> Iterator[str]:
    vertices, _ = solids["mesh_hand"]
    if len(vertices) != 778:
        yield f"mesh_hand has {len(vertices)} vertices, not 778"
    elif model := hand_here("right", entry[OWN_KEY].get("hand_model")):
        gap = float(np.abs(_array(entry, "hand_joints_3d")[list(TIPS)] - vertices[model.tip_ids]).max())
        if gap > MODEL_TOLERANCE:
            yield f"fingertips of 'hand_joints_3d' are {gap * 1e3:.1f} mm from those of mesh_hand"
    corners = box_corners(at_rest(_array(entry, "obj_transform"), solids["mesh_obj"][0]))
    if np.abs(corners - _array(entry, "obj_rest_corners_3d")).max() > MAX_GAP:
        yield "'obj_rest_corners_3d' is not the box of mesh_obj"


def _segm(path: Path, model: Hand, solids: Mapping[str, Solid]) -> Iterator[str]:
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None or picture.shape != (SIZE, SIZE, 3):
        return  # said of the folder already
    try:
        layers = render(solids["mesh_hand"][0], model, *solids["mesh_obj"])
    except (UnsuitableRecord, IndexError) as error:
        yield f"the meshes cannot be rendered: {error}"
        return
    wrong = float((picture != layers.segm).any(-1).mean())
    if wrong > MAX_WRONG_PIXELS:
        yield f"differs from the meshes in {wrong:.1%} of its pixels"


def _distances(
    out: Path, stage: str, sample_id: str, entry: Mapping[str, Any], solids: Mapping[str, Solid]
) -> Iterator[str]:
    scale, offset = _array(entry, "sdf_scale"), _array(entry, "sdf_offset")
    name = data_path(stage, "norm", sample_id)
    try:
        with np.load(out / name, allow_pickle=False) as norm:
            same = np.array_equal(norm["scale"], scale.astype(np.float32))
            same &= np.array_equal(norm["offset"], offset.astype(np.float32))
            if not same or norm["scale"].dtype != np.float32 or norm["offset"].dtype != np.float32:
                yield f"{name}: is not float32 'sdf_scale' and 'sdf_offset' of the annotation"
    except UNREADABLE as error:
        yield f"{name}: cannot be read: {error}"
    normalised = {kind: ((vertices + offset) * scale, faces) for kind, (vertices, faces) in solids.items()}
    reach = max(float(np.linalg.norm(vertices, axis=1).max()) for vertices, _ in normalised.values())
    if not 0.5 < reach < 1:
        yield f"obman_{stage}.json: annotation {int(sample_id)}: 'sdf_scale' and 'sdf_offset' do not fit the unit ball"
    fields = {kind: SignedDistance(*solid) for kind, solid in normalised.items()}
    for kind, own, other in (("sdf_hand", "mesh_hand", "mesh_obj"), ("sdf_obj", "mesh_obj", "mesh_hand")):
        name = data_path(stage, kind, sample_id)
        try:
            with np.load(out / name, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
            yield from (f"{name}: {problem}" for problem in _arrays(arrays, fields[own], fields[other]))
        except UNREADABLE as error:
            yield f"{name}: cannot be read: {error!r}"


def _arrays(arrays: Mapping[str, NDArray], own: SignedDistance, other: SignedDistance) -> Iterator[str]:
    if len(arrays["pos"]) + len(arrays["neg"]) > MAX_POINTS:
        yield f"has more than the {MAX_POINTS} points that the readers' lmdb has room for"
    for side in ("pos", "neg"):
        points, count = arrays[side], len(arrays[side])
        shapes: dict[str, tuple[int, type]] = {side: (4, np.float32), f"{side}_other": (1, np.float32)}
        shapes |= {f"lab_{side}{end}": (4, np.int32) for end in SDF_KEYS}
        wrong = [k for k, (n, d) in shapes.items() if arrays[k].shape != (count, n) or arrays[k].dtype != d]
        if wrong or not count:
            yield f"'{side}' is empty, or wrong in shape or dtype: {', '.join(wrong)}"
            continue
        sign = 1 if side == "pos" else -1
        if not (sign * points[:, 3] >= 0).all():
            yield f"'{side}' has distances of the wrong sign"
        for end in SDF_KEYS:
            labels = arrays[f"lab_{side}{end}"]
            if labels.min() < 0 or (labels.max(0) > [5, 15, 6, 1]).any():
                yield f"'lab_{side}{end}' has labels that are none"
        probe = np.linspace(0, count - 1, min(count, PROBED)).astype(int)
        for key, value, field in ((side, points[:, 3], own), (f"{side}_other", arrays[f"{side}_other"][:, 0], other)):
            error = np.abs(field.query(points[probe, :3])[0] - value[probe])
            if not error.max() < MAX_SDF_ERROR:
                yield f"'{key}' is up to {error.max():.5f} from the distances to the meshes"
