"""Reads a `models/<name>` folder back as strict OBJ readers do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from exports.ho3d.model import MODEL_FILES, MTL, OBJ, POINTS, TEXTURE
from exports.obman.mesh import MAX_VERTICES
from pipeline.types import F64, I64


@dataclass(frozen=True)
class MeshRead:
    """The geometry of an OBJ file."""

    vertices: F64  # (V, 3) metres
    faces: I64  # (F, 3)


def read_model(out: Path, name: str) -> tuple[MeshRead | None, list[str]]:
    """The mesh below out/name (None when it cannot be used) and what is wrong with its files."""
    found = [f"{name}/{file}: is missing" for file in MODEL_FILES if not (out / name / file).is_file()]
    if found:
        return None, found
    if cv2.imread(str(out / name / TEXTURE)) is None:
        found.append(f"{name}/{TEXTURE}: cannot be read as an image")
    if f"map_Kd {TEXTURE}" not in (out / name / MTL).read_text(encoding="utf-8", errors="replace").splitlines():
        found.append(f"{name}/{MTL}: does not name {TEXTURE}")
    text = (out / name / OBJ).read_text(encoding="utf-8", errors="replace")
    try:
        mesh, problems = _parse(text)
    except (ValueError, IndexError) as error:
        mesh, problems = None, [f"cannot be read ({error})"]
    found += [f"{name}/{OBJ}: {problem}" for problem in problems]
    if mesh is not None:
        found += [f"{name}/{POINTS}: {problem}" for problem in _points(out / name / POINTS, mesh)]
    return mesh, found


def _parse(text: str) -> tuple[MeshRead | None, list[str]]:
    rows: dict[str, list[list[str]]] = {key: [] for key in ("o", "mtllib", "usemtl", "v", "vt", "vn", "f")}
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in rows:
            rows[words[0]].append(words[1:])
    problems = []
    if len(rows["o"]) > 1 or len(rows["usemtl"]) != 1:
        problems.append(
            f"has {len(rows['usemtl'])} material groups in {max(len(rows['o']), 1)} objects, not one in one"
        )
    if rows["mtllib"] != [[MTL]]:
        problems.append(f"does not name {MTL}")
    if not rows["f"] or any(len(face) != 3 for face in rows["f"]):
        return None, [*problems, "has faces that are no triangles, or none"]
    corners = [corner.split("/") for face in rows["f"] for corner in face]
    if any(len(corner) != 3 or not all(index.isdigit() for index in corner) for corner in corners):
        return None, [*problems, "has a face corner that does not name v, vt and vn"]
    index = np.array(corners, dtype=np.int64) - 1
    vertices, normals = (np.array(rows[key], dtype=np.float64) for key in ("v", "vn"))
    uv = np.array(rows["vt"], dtype=np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or normals.shape != vertices.shape or uv.ndim != 2:
        return None, [*problems, "has vertices without a normal each, or none"]
    if index.min() < 0 or (index.max(0) >= (len(vertices), len(uv), len(normals))).any():
        return None, [*problems, "has a face corner that names a vertex which is not there"]
    if not np.array_equal(index[:, 0], index[:, 2]):
        problems.append("has faces whose v and vn differ, which DexYCB's reader refuses")
    if not np.isfinite(vertices).all():
        return None, [*problems, "has vertices that are not finite"]
    if len(np.unique(index[:, :2], axis=0)) > MAX_VERTICES:
        problems.append(f"splits into more than {MAX_VERTICES} vertices")
    return MeshRead(vertices, index[:, 0].reshape(-1, 3)), problems


def _points(path: Path, mesh: MeshRead) -> Iterator[str]:
    try:
        points = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError:
        points = np.zeros((0, 0))
    if points.ndim != 2 or points.shape[1:] != (3,) or not len(points):
        yield "is not lines of x y z"
    elif np.abs([points.min(0) - mesh.vertices.min(0), points.max(0) - mesh.vertices.max(0)]).max() > 1e-5:
        yield "does not span the box of the mesh"
