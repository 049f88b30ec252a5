"""The last stage: how good is this pair, and how much does it need a reviewer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import BadMesh
from pipeline.evaluate.metrics import intersection_volume_cm3, iou
from pipeline.evaluate.physics import simulation_displacement_cm
from pipeline.geometry.camera import crop, project
from pipeline.geometry.raster import coverage, depth_map
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model import HandModel
from pipeline.types import F64, I64, PARTS, Camera, Contacts, HandEstimate, Mask, Masks

TOUCH = 0.005  # metres: skin closer to the object than this touches it
ASSESS_SIDE = 512  # pixels: masks are compared at this size or the photo's own, whichever is smaller


@dataclass(frozen=True)
class Assessment:
    """Metrics (METHOD 3), contacts, and the confidence they add up to."""

    metrics: dict[str, float]
    contacts: Contacts
    confidence: float  # 0..1
    warnings: tuple[str, ...]


def assess(
    camera: Camera,
    masks: Masks,
    amodal: Mask,
    estimate: HandEstimate,
    model: HandModel,
    hand_verts: F64,
    object_verts: F64,
    object_faces: I64,
    front: Mask,
    back: Mask,
    presence: float,
    settings: dict[str, Any],
) -> Assessment:
    """Measure one placed pair. All vertices are metres in the camera frame; masks are photo-sized."""
    warnings = []
    distance = SignedDistance(object_verts, object_faces).query(hand_verts)[0]
    zone = model.zone > 0
    metrics = image_metrics(camera, masks, amodal, model, hand_verts, object_verts, object_faces)
    metrics["penetration_mm"] = float(max(0.0, -distance.min()) * 1000)
    metrics["contact_fraction"] = float((np.abs(distance[zone]) < TOUCH).mean())
    try:
        metrics["intersection_cm3"] = intersection_volume_cm3(hand_verts, model.faces, object_verts, object_faces)
        metrics["displacement_cm"] = simulation_displacement_cm(
            hand_verts, model.faces, object_verts, object_faces, steps=settings["simulation_steps"]
        )
    except BadMesh as error:
        metrics.setdefault("intersection_cm3", float("nan"))
        metrics["displacement_cm"] = float("nan")
        warnings.append(str(error))
    touching = tuple(p for p in PARTS if distance[model.zone_vertices(p)].min() < TOUCH)
    if not touching:
        warnings.append("no part of the hand touches the object")
    metrics["keypoint_px"] = estimate.residual_px
    contacts = Contacts(front=front, back=back, distance=distance, touching=touching)
    return Assessment(metrics, contacts, _confidence(metrics, presence, masks.score, estimate.score), tuple(warnings))


def image_metrics(
    camera: Camera, masks: Masks, amodal: Mask, model: HandModel, hand: F64, obj: F64, obj_faces: I64
) -> dict[str, float]:
    """hand_iou and object_visible_iou compare what a depth test leaves visible; object_iou the whole silhouette."""
    side = max(camera.width, camera.height)
    scale = min(1.0, ASSESS_SIDE / side)
    width, height = round(camera.width * scale), round(camera.height * scale)
    K = crop(camera, 0, 0, scale, width, height).K
    rows = np.minimum(((np.arange(height) + 0.5) / scale).astype(int), camera.height - 1)
    columns = np.minimum(((np.arange(width) + 0.5) / scale).astype(int), camera.width - 1)
    pick = np.ix_(rows, columns)
    hand_z, object_z = (depth_map(v, f, K, height, width) for v, f in ((hand, model.faces), (obj, obj_faces)))
    whole = coverage(project(obj, K), obj_faces, height, width) >= 0.5
    # The model ends in a wrist stump; what of it lies on the forearm is not judged.
    return {
        "hand_iou": iou(np.isfinite(hand_z) & (hand_z <= object_z) & ~masks.arm[pick], masks.hand[pick]),
        "object_iou": iou(whole, amodal[pick]),
        "object_visible_iou": iou(np.isfinite(object_z) & (object_z < hand_z), masks.object[pick]),
    }


def _confidence(metrics: dict[str, float], presence: float, mask_score: float, fit_score: float) -> float:
    """Geometric mean of what could be wrong, each in 0..1; the weakest link shows."""
    displacement = metrics["displacement_cm"]
    links = [
        presence,
        mask_score,
        fit_score,
        metrics["hand_iou"],
        metrics["object_iou"],
        min(1.0, 0.3 + metrics["contact_fraction"] / 0.2),
        float(np.exp(-metrics["penetration_mm"] / 20)),
        0.5 if np.isnan(displacement) else float(np.exp(-displacement / 10)),
    ]
    return float(np.exp(np.mean(np.log(np.clip(links, 1e-3, 1.0)))))
