"""Reading the files of a data set; every failure is one line that names the file."""

from __future__ import annotations

import json
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.errors import BadMesh, PipelineError
from pipeline.evaluate.datasets.case import BadDataset, Surface
from pipeline.evaluate.grasps import closed, load_mesh
from pipeline.geometry.watertight import make_watertight
from pipeline.hand_model.inert_pickle import UnsafePickle, read_values
from pipeline.types import F64, I64


def folder(path: Path, dataset: str, layout: str) -> Path:
    """The folder, if it is there: what tells a data set's root from another folder."""
    if not path.is_dir():
        raise BadDataset(f"{path.parent}: not the root of {dataset}: it has no {path.name}/; expected {layout}")
    return path


def present(path: Path) -> Path:
    """The file, if it is there."""
    if not path.is_file():
        raise BadDataset(f"{path}: missing")
    return path


def pickle_file(path: Path) -> Any:
    """What a pickle holds, read without running anything that is in it."""
    try:
        return read_values(present(path).read_bytes())
    except UnsafePickle as error:
        raise BadDataset(f"{path}: {error}") from error


def object_npy(path: Path) -> Any:
    """The one object (a dictionary) that `numpy.save` pickled into an .npy."""
    with present(path).open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
            np.lib.format._read_array_header(file, version)  # type: ignore[attr-defined]
            return read_values(file.read())[0]
        except (ValueError, UnsafePickle, IndexError, TypeError) as error:
            raise BadDataset(f"{path}: not a dictionary saved by numpy ({error})") from error


def npy_file(path: Path) -> NDArray[Any]:
    """A plain array, mapped: only what is looked at is read."""
    try:
        return np.asarray(np.load(present(path), mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise BadDataset(f"{path}: not a plain array ({error})") from error


def npz_file(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz."""
    try:
        with np.load(present(path), allow_pickle=False) as data:
            return dict(data)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadDataset(f"{path}: not an .npz that can be read") from error


@lru_cache(maxsize=256)
def yaml_file(path: Path) -> dict[str, Any]:
    """A mapping."""
    try:
        content = yaml.safe_load(present(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadDataset(f"{path}: not YAML") from error
    if not isinstance(content, dict):
        raise BadDataset(f"{path}: holds no mapping")
    return content


@lru_cache(maxsize=8)
def json_file(path: Path) -> Any:
    """Any JSON value; kept, for the large ones list a whole data set."""
    try:
        return json.loads(present(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadDataset(f"{path}: not JSON") from error


def value(mapping: Any, key: str, path: Path) -> Any:
    """A key's value. Raises BadDataset when the file lacks it."""
    if not isinstance(mapping, dict) or key not in mapping:
        raise BadDataset(f"{path}: lacks '{key}'")
    return mapping[key]


def item(values: Any, index: Any, what: str, path: Path) -> Any:
    """An entry of a list, array or index. Raises BadDataset when the file has no such one."""
    try:
        return values[index]
    except (IndexError, KeyError, TypeError) as error:
        raise BadDataset(f"{path}: {what} has no entry {index}") from error


def numbers(array: Any, shape: tuple[int | None, ...], what: str, path: Path) -> F64:
    """Finite float64 numbers of a shape (None: any length). Raises BadDataset."""
    try:
        found = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadDataset(f"{path}: {what} holds no numbers") from error
    fits = len(found.shape) == len(shape) and all(n is None or n == m for n, m in zip(shape, found.shape, strict=True))
    if not fits or not np.isfinite(found).all():
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise BadDataset(f"{path}: {what} is {found.shape}, not ({wanted}) finite numbers")
    return found


def rigid(matrix: F64, what: str, path: Path) -> tuple[F64, F64]:
    """Rotation (3, 3) and translation (3,) of a (3 or 4, 4) matrix. Raises BadDataset when it turns nothing rigidly."""
    rotation = matrix[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise BadDataset(f"{path}: {what} does not begin with a rotation")
    return rotation, matrix[:3, 3]


def picture(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) BGR as cv2 reads it."""
    image = cv2.imread(str(present(path)), cv2.IMREAD_COLOR)
    if image is None:
        raise BadDataset(f"{path}: not a picture that can be read")
    return np.asarray(image, dtype=np.uint8)


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header. Raises BadDataset."""
    from pipeline.photo import original_size

    try:
        height, width = original_size(present(path).read_bytes(), path.name)
    except PipelineError as error:
        raise BadDataset(f"{path}: not a picture that can be read") from error
    return width, height


@lru_cache(maxsize=64)
def solid(path: Path) -> Surface:
    """A mesh file, welded and closed; in the file's units and frame. Raises BadDataset."""
    try:
        return Surface(*closed(load_mesh(present(path)), path))
    except BadMesh as error:
        raise BadDataset(str(error)) from error


def solid_of(vertices: F64, faces: I64, path: Path) -> Surface:
    """Vertices and faces that came from a file, closed. Raises BadDataset."""
    try:
        return Surface(*make_watertight(vertices, faces))
    except BadMesh as error:
        raise BadDataset(f"{path}: {error}") from error


@lru_cache(maxsize=16)
def solid_parts(path: Path, part_file: Path, parts: tuple[int, ...]) -> tuple[tuple[Surface, bool], ...]:
    """A mesh file's two parts, each closed by itself, and whether it is the moving one (0 in `parts`, per vertex).

    Faces between the parts belong to neither. Raises BadDataset.
    """
    mesh = load_mesh(present(path))
    if len(parts) != len(mesh.vertices):
        raise BadDataset(f"{part_file}: has {len(parts)} entries for {len(mesh.vertices)} vertices of {path.name}")
    moving = ~np.array(parts, dtype=bool)
    pieces = []
    for which in (True, False):
        faces = mesh.faces[(moving[mesh.faces] == which).all(1)]
        if len(faces):
            used, own = np.unique(faces, return_inverse=True)
            pieces.append((solid_of(mesh.vertices[used], own.reshape(-1, 3), path), which))
    if not pieces:
        raise BadDataset(f"{path}: no face lies within one of the parts of {part_file.name}")
    return tuple(pieces)
