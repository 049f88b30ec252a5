"""Between the pipeline's types and what the database keeps of them: rows, views, export records."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from db.blobs import BlobStore
from db.models import Photo as PhotoRow
from db.models import Revision
from pipeline.photo import read_photo
from pipeline.types import PARTS, Photo, Reconstruction

RECONSTRUCTION = "reconstruction"  # the role of the artifact that holds everything
NPZ = "application/x-npz"
METRICS = ("hand_iou", "object_iou", "penetration_mm", "intersection_cm3", "displacement_cm", "contact_fraction")


def columns(made: Reconstruction) -> dict[str, Any]:
    """The columns of a revision that can be queried; everything else is in its artifact."""
    hand, pose, mesh = made.hand, made.object_pose, made.object.mesh
    figures = {
        "camera": {
            "K": made.camera.K,
            "width": made.camera.width,
            "height": made.camera.height,
            "source": made.camera.source,
        },
        "hand": {
            "side": hand.side,
            "model": made.estimate.model,
            "global_orient": hand.global_orient,
            "hand_pose": hand.hand_pose,
            "betas": hand.betas,
            "transl": hand.transl,
        },
        "object": {
            "kind": made.object.kind,
            "rotation": pose.rotation,
            "transl": pose.transl,
            "scale": pose.scale,
            "vertices": len(mesh.vertices),
            "faces": len(mesh.faces),
        },
        "contacts": {
            "touching": made.contacts.touching,
            "front_px": made.contacts.front.sum(),
            "back_px": made.contacts.back.sum(),
            "gap_mm": gaps_mm(made),
        },
        "metrics": made.metrics,
        "diagnostics": made.diagnostics,
        "confidence": made.diagnostics.get("confidence"),
        "review_priority": made.diagnostics.get("review_priority"),
    }
    row: dict[str, Any] = jsonable(figures)
    return row


def gaps_mm(made: Reconstruction) -> dict[str, float]:
    """How far each part's contact zone is from the object, in millimetres; negative inside it."""
    from pipeline.hand_model import load_hand

    model = load_hand(made.hand.side, made.estimate.model)
    return {part: 1000 * float(made.contacts.distance[model.zone_vertices(part)].min()) for part in PARTS}


def jsonable(value: Any) -> Any:
    """Plain JSON values: arrays become lists, what is not finite becomes null (JSONB knows no NaN)."""
    if isinstance(value, dict):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def load_reconstruction(revision: Revision, blobs: BlobStore) -> Reconstruction:
    """Everything a revision is, from its artifact."""
    from pipeline.codec import decode

    (digest,) = (link.artifact.sha256 for link in revision.artifacts if link.role == RECONSTRUCTION)
    return decode(Reconstruction, blobs.get(digest))


def load_photo(row: PhotoRow, made: Reconstruction, blobs: BlobStore) -> Photo:
    """The photo at the size the reconstruction was made in."""
    return read_photo(blobs.get(row.sha256), row.name, max(made.camera.width, made.camera.height))


def provenance(revision: Revision) -> dict[str, Any]:
    """Where a revision comes from: photo, recipe, people."""
    photo = revision.pair.photo
    judged = [review for review in revision.reviews if review.verdict != "fix"]  # a fix that changed nothing is none
    verdict = judged[-1] if judged else None
    return {
        "photo": photo.name,
        "photo_sha256": photo.sha256,
        "licence": photo.licence,
        "source": photo.source,
        "subject": photo.subject,
        "recipe": revision.recipe,
        "recipe_digest": revision.recipe_digest,
        "revision_digest": revision.content_digest,
        "trigger": revision.trigger,
        "status": revision.pair.status,
        "verdict": verdict.verdict if verdict else None,
        "reviewer": verdict.reviewer if verdict else None,
    }


def without_name(reason: str, name: str) -> str:
    """A reason that is shown beside the photo's name need not begin with it."""
    return reason.removeprefix(f"{name}: ")
