"""How well a reconstruction satisfies a reviewer's edits (DESIGN 7), so that before and after can be compared."""

from __future__ import annotations

import numpy as np

from pipeline.evaluate.metrics import iou
from pipeline.geometry.camera import project
from pipeline.geometry.raster import coverage
from pipeline.hand_model import load_hand
from pipeline.types import F64, I64, Edits, Mask, Masks, Reconstruction


def satisfaction(rec: Reconstruction, edits: Edits, masks: Masks) -> dict[str, float]:
    """One figure per edit: `*_iou` for masks (higher is better), `contact_*_gap_mm` for contact masks and
    `touching_*_mm` for parts that must touch (lower is better), `not_touching_*_mm` for parts that must not
    (higher is better). `masks` say what hides what: give the newest revision's, so that two are measured alike.
    """
    model = load_hand(rec.hand.side, rec.estimate.model)
    figures: dict[str, float] = {}
    if edits.hand_mask is not None:
        hand = _silhouette(rec.hand_verts, model.faces, rec)
        figures["hand_mask_iou"] = iou(hand & ~masks.object, edits.hand_mask & ~masks.object)
    if edits.object_mask is not None:
        shape = _silhouette(rec.object_pose.place(rec.object.mesh.vertices), rec.object.mesh.faces, rec)
        figures["object_mask_iou"] = iou(shape & ~masks.hand, edits.object_mask & ~masks.hand)
    for name, mask in (("front", edits.contact_front), ("back", edits.contact_back)):
        if mask is not None:
            figures[f"contact_{name}_gap_mm"] = _gap_mm(rec, mask, model.skin_side == 1)
    for verb, parts in (("touching", edits.touching), ("not_touching", edits.not_touching)):
        for part in parts:
            figures[f"{verb}_{part}_mm"] = float(rec.contacts.distance[model.zone_vertices(part)].min() * 1000)
    return figures


def _silhouette(vertices: F64, faces: I64, rec: Reconstruction) -> Mask:
    mask = coverage(project(vertices, rec.camera.K), faces, rec.camera.height, rec.camera.width)
    return np.asarray(mask >= 0.5)


def _gap_mm(rec: Reconstruction, mask: Mask, palmar: Mask) -> float:
    """Median distance between the object and the palmar skin seen through a contact mask."""
    pixels = np.floor(project(rec.hand_verts, rec.camera.K)).astype(int)
    inside = (pixels >= 0).all(1) & (pixels[:, 0] < mask.shape[1]) & (pixels[:, 1] < mask.shape[0]) & palmar
    inside[inside] = mask[pixels[inside, 1], pixels[inside, 0]]
    return float(np.median(np.abs(rec.contacts.distance[inside])) * 1000) if inside.any() else float("nan")
