"""The user's own MANO: from the pickle its makers publish to the npz that the open hand also is.

    folder, zip or file -> MANO_{RIGHT,LEFT}.pkl --mano_layout--> arrays -> the left hand's shape directions -> npz

The npz lies in the weights' cache, never in the product, and carries the licence it came under. `smplx` could read
the pickle only with chumpy, which no longer installs, and by running what is in it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.hand_model.inert_pickle import UnsafePickle
from pipeline.hand_model.mano_layout import BadManoFile, read_mano
from pipeline.types import Side
from pipeline.weights import cache_dir

LICENCE = "MANO licence: non-commercial scientific research only (https://mano.is.tue.mpg.de/license.html)"
COMMAND = "hoi-annotate models add-mano PATH"
SIDES: tuple[Side, ...] = ("right", "left")
LARGEST = 100_000_000  # bytes; MANO's files have 4 million


@dataclass(frozen=True)
class ManoHand:
    """One hand in the cache."""

    side: Side
    path: Path
    licence: str
    source: str  # name of the file it was made from
    source_sha256: str
    size: int  # bytes, in the cache
    shape_fixed: bool  # the published file's shape directions were those of the other hand


def mano_path(side: Side) -> Path:
    """Where the user's MANO is kept, whether it is there or not."""
    return cache_dir() / "mano" / f"MANO_{side.upper()}.npz"  # smplx tells the side from this name


def installed() -> list[ManoHand]:
    """The hands that were added, right before left."""
    return [_described(side) for side in SIDES if mano_path(side).is_file()]


def add_mano(path: Path) -> list[ManoHand]:
    """Convert the hand at `path`, or both in a folder or zip, and put them into the cache.

    A left file alone needs the right one there already: the published left file has the right one's shape directions,
    and only beside it that can be told. Raises BadManoFile; nothing is changed unless all files are good.
    """
    given: dict[Side, dict[str, Any]] = {}
    for name, content in _files(path):
        side, hand = _converted(name, content)
        if given.setdefault(side, hand)["source_sha256"] != hand["source_sha256"]:
            raise BadManoFile(f"{path}: holds two different {side} hands; give the one file to use")
    if "left" in given:
        _fix_shape(given["left"], _shape_of_right(given))
    for side in SIDES:
        if side in given:
            _store(mano_path(side), given[side])
    return [_described(side) for side in SIDES if side in given]


def _described(side: Side) -> ManoHand:
    path = mano_path(side)
    with np.load(path, allow_pickle=False) as data:
        text = {name: str(data[name]) for name in ("licence", "source", "source_sha256")}
        return ManoHand(side, path, **text, size=path.stat().st_size, shape_fixed=bool(data["shape_fixed"]))


# From a path to files


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every MANO file in a folder or zip, or of the one file."""
    try:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if _is_mano(p.name) and p.is_file())
            if not found:
                raise BadManoFile(f"{path}: holds no MANO_RIGHT.pkl and no MANO_LEFT.pkl")
            for file in found:
                yield str(file), _limited(file, file.stat().st_size).read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.infolist() if _is_mano(m.filename.rpartition("/")[2])]
                if not members:
                    raise BadManoFile(f"{path}: holds no MANO_RIGHT.pkl and no MANO_LEFT.pkl")
                for member in members:
                    _limited(path / member.filename, member.file_size)
                    yield f"{path}/{member.filename}", archive.read(member)
        else:
            yield str(path), _limited(path, path.stat().st_size).read_bytes()
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # RuntimeError: a password
        raise BadManoFile(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _is_mano(name: str) -> bool:
    return re.fullmatch(r"MANO_(RIGHT|LEFT)\.pkl", name, re.IGNORECASE) is not None


def _limited(path: Path, size: int) -> Path:
    if size > LARGEST:
        raise BadManoFile(f"{path}: has {size / 1e6:.0f} MB; a MANO file has 4")
    return path


def _converted(name: str, content: bytes) -> tuple[Side, dict[str, Any]]:
    """The side and all entries of the npz, shape directions still as published. Raises BadManoFile."""
    try:
        side, layout = read_mano(content)
    except UnsafePickle as error:
        raise BadManoFile(f"{name}: refused, it is not MANO's pickle: {error}") from error
    except PipelineError as error:
        raise BadManoFile(f"{name}: is not MANO's: {error}") from error
    said = re.search("RIGHT|LEFT", Path(name).name, re.IGNORECASE)
    if said and said[0].lower() != side:
        raise BadManoFile(f"{name}: its name says {said[0].lower()}, its shape is a {side} hand's")
    digest = hashlib.sha256(content).hexdigest()
    notes = {"licence": LICENCE, "source": Path(name).name, "source_sha256": digest, "shape_fixed": False}
    return side, layout | notes


# Into the cache


def _shape_of_right(given: dict[Side, dict[str, Any]]) -> NDArray:
    if "right" in given:
        return np.asarray(given["right"]["shapedirs"])
    if not mano_path("right").is_file():
        raise BadManoFile(
            f"{given['left']['source']}: a known fault of this file only shows beside the right hand; "
            "add MANO_RIGHT.pkl first, or the folder with both"
        )
    with np.load(mano_path("right"), allow_pickle=False) as data:
        return np.asarray(data["shapedirs"])


def _fix_shape(left: dict[str, Any], right: NDArray) -> None:
    """The published left hand has the right one's shape directions: along x they must point the other way."""
    shape = left["shapedirs"]
    if np.abs(shape[:, 0] - right[:, 0]).max() < 0.01 * np.abs(right[:, 0]).max():
        shape[:, 0] *= -1
        left["shape_fixed"] = True


def _store(path: Path, layout: dict[str, Any]) -> None:
    """Whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".add-") as folder:
            part = Path(folder) / path.name
            np.savez_compressed(part, **layout)
            part.replace(path)
    except OSError as error:
        raise BadManoFile(f"cannot write {path}: {error.strerror}; set HOI_CACHE to a writable folder") from error
