"""Which hand model a record is in, and how it is put into another one."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np

from exports.base import ExportError, Record, UnsuitableRecord
from pipeline.errors import PipelineError
from pipeline.hand_model.hand import HANDS, Hand, hand_path, read_hand
from pipeline.types import Reconstruction, Side

MODEL_TOLERANCE = 1e-4  # metres between a record's vertices and what its parameters give
WORST_MEDIAN_MM = 5.0  # a refit that leaves more than this between the two skins has not found the hand


def hand_of(record: Record, side: Side | None = None) -> Hand:
    """The model that the record's hand is in, of its side or the given one.

    Raises UnsuitableRecord with what to do when that model is not here.
    """
    made = record.reconstruction
    return _load(side or made.hand.side, made.estimate.model, f"made with hand model '{made.estimate.model}': ")


def checked_hand(record: Record) -> Hand:
    """`hand_of`, if its parameters give the record's hand. Raises UnsuitableRecord."""
    model = hand_of(record)
    check_hand(record, model)
    return model


def check_hand(record: Record, model: Hand) -> None:
    """Raises UnsuitableRecord when the record's vertices and joints are not those of its parameters."""
    made = record.reconstruction
    verts, joints = model.posed(made.hand)
    gap = max(np.abs(verts - made.hand_verts).max(), np.abs(joints - made.hand_joints).max())
    if not gap <= MODEL_TOLERANCE:
        raise UnsuitableRecord(f"the hand's parameters give vertices {gap * 1e3:.2f} mm from those recorded")


def hand_here(side: Side, name: Any) -> Hand | None:
    """The hand model that an export names, if this machine has it."""
    try:
        return read_hand(side, str(name))
    except PipelineError:
        return None


def require(name: str) -> None:
    """Raises ExportError, with the command that adds it, for a hand model that hands cannot be put into here.

    A model of the right hand is enough: left hands are then left out one by one, or mirrored.
    """
    try:
        hand_path("right", name)
    except PipelineError as error:
        raise ExportError(str(error)) from error


def files_digest() -> str:
    """sha256 (hex) over the files of all hand models that are here: exports made with other ones differ."""
    digest = hashlib.sha256()
    for name in HANDS:
        for side in get_args(Side):
            with contextlib.suppress(PipelineError):
                digest.update(f"{name} {side} ".encode() + hand_path(side, name).read_bytes())
    return digest.hexdigest()


def in_hand_model(record: Record, name: str) -> Record:
    """The record with its hand in the named model; as it is when it is in that model already.

    Verts, joints, parameters (the estimate's too) and contact distances are the new model's. What was measured or
    said of the pair (metrics, touching parts) stays what it was. Raises UnsuitableRecord.
    """
    made = record.reconstruction
    if made.estimate.model == name:
        return record
    side = made.hand.side
    hint = "" if side == "right" else "; --mirror-left makes right hands of left ones"
    _load(side, name, hint=hint)
    from pipeline.hand_model import load_hand  # these two need torch
    from pipeline.hand_model.refit import refit

    model = load_hand(side, name)
    try:
        pose, residuals = refit(made.hand_verts, made.hand_joints, side, model)
    except PipelineError as error:
        raise UnsuitableRecord(f"refitting its hand to '{name}': {error}") from error
    if residuals["median_mm"] > WORST_MEDIAN_MM:
        raise UnsuitableRecord(f"refitting its hand to '{name}' leaves the skin {residuals['median_mm']:.1f} mm off")
    verts, joints = model.posed(pose)
    refitted = replace(
        made,
        hand=pose,
        hand_verts=verts,
        hand_joints=joints,
        estimate=replace(made.estimate, model=name, pose=pose),
        contacts=replace(made.contacts, distance=_distance(made, verts)),
    )
    note: dict[str, Any] = {"from": made.estimate.model, "to": name, **residuals}
    return replace(record, reconstruction=refitted, provenance={**record.provenance, "refit": note})


def _load(side: Side, name: str, before: str = "", hint: str = "") -> Hand:
    try:
        return read_hand(side, name)
    except PipelineError as error:
        raise UnsuitableRecord(f"{before}{error}{hint}") from error


def _distance(made: Reconstruction, verts: np.ndarray) -> np.ndarray:
    """(778,) metres, as `Contacts.distance`."""
    from pipeline.geometry.sdf import SignedDistance

    mesh = made.object.mesh
    try:
        return cast(np.ndarray, SignedDistance(made.object_pose.place(mesh.vertices), mesh.faces).query(verts)[0])
    except PipelineError as error:
        raise UnsuitableRecord(f"its object: {error}") from error
