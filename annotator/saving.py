"""`show --save`: what a pair is made of, as files anyone can open.

hand.png object.png object_amodal.png contact_front.png contact_back.png   0 / 255, in the size of the photo
pair.glb                                                                   camera frame, metres
pair.json                                                                  parameters, camera, metrics, provenance
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotator import overview
from annotator.errors import BadRequest
from annotator.records import load_reconstruction
from annotator.workspace import Workspace
from db.repositories import Pairs, Revisions
from pipeline.types import Mask, Reconstruction


def save(workspace: Workspace, name: str, folder: Path, number: int | None = None) -> list[Path]:
    """Writes the files of one pair's revision; files of the same names are replaced. Raises BadRequest."""
    from annotator.report import pair_glb

    with workspace.database.read() as session:
        pair = Pairs(session).find(name)
        made = load_reconstruction(Revisions(session).get(pair, number), workspace.blobs)
        width, height = pair.photo.width or 0, pair.photo.height or 0
    masks = {
        "hand": made.masks.hand,
        "object": made.masks.object,
        "object_amodal": made.completion.amodal_mask,
        "contact_front": made.contacts.front,
        "contact_back": made.contacts.back,
    }
    described = overview.details(workspace, name, number) | {"camera": _camera(made, width, height)}
    contents = {f"{role}.png": _png(mask, width, height) for role, mask in masks.items()}
    contents["pair.glb"] = pair_glb(made)
    contents["pair.json"] = (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(folder / file, data) for file, data in contents.items()]
    except OSError as error:
        raise BadRequest(f"cannot write {folder}: {error.strerror or error}") from error


def _camera(made: Reconstruction, width: int, height: int) -> dict[str, Any]:
    """The camera in pixels of the upright original, which the saved masks are in."""
    K = made.camera.K.copy()
    K[0] *= width / made.camera.width
    K[1] *= height / made.camera.height
    return {"K": K.tolist(), "width": width, "height": height, "source": made.camera.source}


def _png(mask: Mask, width: int, height: int) -> bytes:
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.NEAREST)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _write(path: Path, data: bytes) -> Path:
    """The file is whole or not there."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
