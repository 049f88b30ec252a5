"""One record as the members of a canonical sample: everything a revision holds, in metres and the OpenCV camera frame.

json         facts that every sample has under the same keys with the same types, so that tables can be made of them
details.txt  the rest as JSON text: what is there for some samples only (provenance, metrics, diagnostics, ...)
pictures, masks, depth, arrays, two GLBs
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from exports import glb
from exports.base import Place, Record, UnsuitableRecord
from exports.canonical.layout import ARRAYS, DEPTH_UNITS, VERSION, members
from exports.depth import depth_in_view
from exports.hands import checked_hand
from exports.pictures import bgr, encode, jpeg, png
from exports.splits import groups_of
from pipeline.hand_model.hand import Hand
from pipeline.types import F64, PARTS, U8, Camera, HandPose, Mask, Reconstruction

PARAMETERS = ("global_orient", "hand_pose", "betas", "transl")
WORDS = ("verdict", "licence", "source", "subject", "recipe", "class_id", "object_id")  # provenance that all have
SKIN = (0.68, 0.42, 0.32)  # linear RGB of the hand in pair.glb
JPEG_QUALITY, PAIR_TEXTURE_QUALITY = 95, 90


def contents(record: Record, place: Place, pictures: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The sample's members in their order, and the facts that are in its json.

    `pictures`: jpg or png. Raises UnsuitableRecord when the record contradicts itself or cannot be written.
    """
    made = record.reconstruction
    model = checked_hand(record)
    thing, pair = _meshes(made, model)
    units, depth = _depth(pair, model, made)
    told = facts(record, place, units)
    found = {
        "json": json.dumps(told).encode("ascii"),
        "details.txt": json.dumps(details(record)).encode("ascii"),
        f"photo.{pictures}": _picture(record.photo.image, pictures),
        f"completion.{pictures}": _picture(made.completion.image, pictures),
        **{f"{name}.png": _mask(mask, made.camera) for name, mask in masks_of(made).items()},
        "depth.png": png(depth),
        **{f"{name}.npy": _npy(name, array) for name, array in arrays_of(made).items()},
        "object.glb": glb.encode([thing]),
        "pair.glb": glb.encode(pair),
    }
    return {name: found[name] for name in members(pictures)}, told


def facts(record: Record, place: Place, depth_unit: float) -> dict[str, Any]:
    """What is in a sample's json. Rows of matrices are lists; unknown words are ''."""
    made = record.reconstruction
    pose = made.object_pose
    known = {name: _word(record.provenance.get(name)) for name in WORDS}
    told = {
        "version": VERSION,
        "id": place.id,
        "split": place.split,
        "pair_id": _word(record.pair_id),
        "revision": int(record.revision),
        **{name: known[name] for name in WORDS if name not in ("class_id", "object_id")},
        "groups": [_word(name) for name in groups_of(record.photo.sha256, record.provenance)],
        "photo": {"name": _word(record.photo.name), "sha256": record.photo.sha256},
        "camera": {
            "K": _numbers(made.camera.K),
            "width": int(made.camera.width),
            "height": int(made.camera.height),
            "source": _word(made.camera.source),
        },
        "hand": {"side": made.hand.side, "model": made.estimate.model, **parameters(made.hand)},
        "object": {
            "kind": _word(made.object.kind),
            "class_id": known["class_id"],
            "object_id": known["object_id"],
            "rotation": _numbers(pose.rotation),
            "transl": _numbers(pose.transl),
            "scale": float(pose.scale),
        },
        "touching": {part: part in made.contacts.touching for part in PARTS},
        "depth_unit": depth_unit,
    }
    _refuse_what_is_not_finite(told)
    return told


def details(record: Record) -> dict[str, Any]:
    """What is in a sample's details.txt; numbers that are not finite are null."""
    made, prior = record.reconstruction, record.reconstruction.object.prior
    return {
        "pair_id": record.pair_id,
        "photo": {"name": record.photo.name, "focal_px": _json(record.photo.focal_px)},
        "metrics": _json(made.metrics),
        "diagnostics": _json(made.diagnostics),
        "provenance": _json(record.provenance),
        "estimate": _json(
            {
                "side": made.estimate.pose.side,
                **{name: getattr(made.estimate.pose, name) for name in PARAMETERS},
                **{name: getattr(made.estimate, name) for name in ("keypoints", "residual_px", "residual_mm", "score")},
            }
        ),
        "object": _json(
            {
                "scores": made.object.scores,
                "notes": made.object.notes,
                "prior": {name: getattr(prior, name) for name in ("rotation", "transl", "starts", "depth_known")},
            }
        ),
        "masks": _json({"score": made.masks.score, "notes": made.masks.notes}),
        "completion": {"notes": list(made.completion.notes)},
        "touching": list(made.contacts.touching),
    }


def masks_of(made: Reconstruction) -> dict[str, Mask]:
    """The masks by their member's name."""
    return {
        "hand_mask": made.masks.hand,
        "object_mask": made.masks.object,
        "arm_mask": made.masks.arm,
        "amodal_mask": made.completion.amodal_mask,
        "contact_front": made.contacts.front,
        "contact_back": made.contacts.back,
    }


def arrays_of(made: Reconstruction) -> dict[str, F64]:
    """The arrays by their member's name."""
    return {
        "hand_verts": made.hand_verts,
        "hand_joints": made.hand_joints,
        "contact_distance": made.contacts.distance,
    }


def parameters(pose: HandPose) -> dict[str, list[float]]:
    """The hand's parameters as lists of numbers."""
    return {name: _numbers(getattr(pose, name)) for name in PARAMETERS}


def depth_of(hand: NDArray[Any], model: Hand, thing: NDArray[Any], faces: NDArray[Any], camera: Camera) -> F64:
    """(H, W) metres along z to the nearer of hand and object, inf where neither is. Vertices: metres, camera frame."""
    size = camera.height, camera.width
    seen = depth_in_view(hand, model.faces, camera.K, *size)
    return depth_in_view(thing, faces, camera.K, *size, onto=seen)


def encode_depth(z: F64) -> tuple[float, NDArray[np.uint16]]:
    """Metres -> metres per step, and (H, W) steps; 0 where there is no surface."""
    seen = np.isfinite(z)
    farthest = float(z[seen].max()) if seen.any() else 0.0
    fitting = [unit for unit in DEPTH_UNITS if farthest / unit <= np.iinfo(np.uint16).max]
    if not fitting:
        raise UnsuitableRecord(f"the pair is {farthest:.0f} m from the camera")
    steps = np.zeros(z.shape, np.uint16)
    steps[seen] = np.maximum(1, np.rint(z[seen] / fitting[0])).astype(np.uint16)
    return fitting[0], steps


def _meshes(made: Reconstruction, model: Hand) -> tuple[glb.Part, list[glb.Part]]:
    """The object in its own frame with its lossless texture, and the pair in the camera's."""
    mesh, pose = made.object.mesh, made.object_pose
    faces, uv = mesh.faces, mesh.uv.astype(np.float32)
    if not len(faces) or not (np.isfinite(mesh.vertices).all() and np.isfinite(uv).all()):
        raise UnsuitableRecord("the object's mesh has no faces or is not finite")
    texture = bgr(mesh.texture)
    raw = mesh.vertices.astype(np.float32)
    thing = glb.Part("object", raw, faces, uv, png(texture), float(pose.scale))
    placed = pose.place(raw.astype(np.float64)).astype(np.float32)
    small = jpeg(texture, PAIR_TEXTURE_QUALITY)
    hand = glb.Part("hand", made.hand_verts.astype(np.float32), model.faces, color=SKIN)
    return thing, [hand, glb.Part("object", placed, faces, uv, small)]


def _depth(pair: list[glb.Part], model: Hand, made: Reconstruction) -> tuple[float, NDArray[np.uint16]]:
    """Of what pair.glb holds, so that a reader who renders it gets the same."""
    hand, thing = pair
    return encode_depth(depth_of(hand.vertices, model, thing.vertices, thing.faces, made.camera))


def _picture(image: U8, kind: str) -> bytes:
    return png(bgr(image)) if kind == "png" else jpeg(bgr(image), JPEG_QUALITY)


def _mask(mask: Mask, camera: Camera) -> bytes:
    if mask.shape != (camera.height, camera.width):
        raise UnsuitableRecord(f"a mask is {mask.shape[1]}x{mask.shape[0]}, not {camera.width}x{camera.height}")
    return encode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])


def _npy(name: str, array: F64) -> bytes:
    shape, dtype = ARRAYS[name]
    if array.shape != shape or not np.isfinite(array).all():
        raise UnsuitableRecord(f"{name} is not finite or not of shape {shape}")
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array, dtype=dtype), allow_pickle=False)
    return out.getvalue()


def _numbers(array: NDArray[Any]) -> list[Any]:
    return np.asarray(array, dtype=np.float64).tolist()  # type: ignore[no-any-return]


def _word(value: Any) -> str:
    """Text that any reader can decode; the exact one is in details.txt."""
    return "" if value is None else str(value).encode("utf-8", "replace").decode()


def _refuse_what_is_not_finite(value: Any, name: str = "") -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_what_is_not_finite(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            _refuse_what_is_not_finite(item, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UnsuitableRecord(f"{name} is not finite")


def _json(value: Any) -> Any:
    """Plain JSON values. Raises UnsuitableRecord for what is none."""
    if isinstance(value, Mapping):
        return {str(name): _json(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return _json(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.generic):
        return _json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise UnsuitableRecord(f"provenance, metrics or diagnostics hold a {type(value).__name__}, which JSON has not")
