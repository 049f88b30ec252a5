"""A revision -> what Label Studio shows of it: the regions of a prediction, and the data of a task.

Regions keep their ids when a reviewer submits them, so `reviews.py` knows which are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from annotator.studio.labeling import JOINTS, ROLES
from annotator.studio.masks import to_data_url
from annotator.web.links import TURNTABLE
from db.models import Photo, Revision
from pipeline.types import Mask, Reconstruction

MODEL_VERSION = "hoi-annotate"  # Label Studio shows only predictions of exactly the project's version
JOINT_SIZE = 0.5  # percent of the photo's width


class Links(Protocol):
    """Where browsers find what we serve (annotator.web.links)."""

    def revision(self, pair: str, number: int, name: str) -> str: ...

    def photo(self, sha256: str, name: str) -> str: ...


def prediction(made: Reconstruction, *, first: bool = False) -> dict[str, Any]:
    """What the reviewer starts from: masks that have pixels, 21 joints, touching parts and side. No verdict.

    The stream shows low scores first. `first` puts a task before all others: somebody waits for it.
    """
    confidence = made.diagnostics.get("confidence") or 0.0
    return {
        "model_version": MODEL_VERSION,
        "score": float(confidence) - (1.0 if first else 0.0),
        "result": [*_mask_regions(made), *_joint_regions(made), *_choices(made)],
    }


def task_data(revision: Revision, made: Reconstruction, links: Links, notice: str = "") -> dict[str, Any]:
    """The data of the task that shows a revision; `made` is its reconstruction, `notice` why it comes back."""
    pair, number = revision.pair.public_id, revision.number

    def link(name: str) -> str:
        return links.revision(pair, number, name)

    show = _panels()
    overlay, frames = link("overlay.jpg"), [link(name) for name in TURNTABLE]
    return {
        "pair_id": pair,
        "revision": number,
        "photo": revision.pair.photo.name,
        "photo_sha256": revision.pair.photo.sha256,
        "confidence": revision.confidence,
        "recipe": revision.recipe,
        "width": made.camera.width,
        "height": made.camera.height,
        "side": made.hand.side,
        "touching": list(made.contacts.touching),
        "shown": [ROLES[label] for label, mask in _masks(made).items() if mask.any()],
        "image": link("photo.jpg"),
        "viewer_html": str(show.viewer(link("viewer"))),
        "turntable_html": str(show.turntable(overlay, frames)),
        "figures_html": _notice(notice) + _figures_html(revision, made),
    }


def photo_task_data(photo: Photo, links: Links, max_side: int, notice: str = "") -> dict[str, Any]:
    """The data of the task of a photo without a pair (revision 0), shown at the recipe's `max_side`."""
    width, height = photo.width or 0, photo.height or 0
    scale = min(1.0, max_side / max(width, height, 1))
    reasons = [photo.reason, *(note["reason"] for note in photo.notes)]
    show = _panels()
    return {
        "pair_id": None,
        "revision": 0,
        "photo": photo.name,
        "photo_sha256": photo.sha256,
        "confidence": None,
        "recipe": None,
        "width": max(1, round(width * scale)),
        "height": max(1, round(height * scale)),
        "side": None,
        "touching": [],
        "shown": [],
        "image": links.photo(photo.sha256, "photo.jpg"),
        "viewer_html": str(show.how_to_begin()),
        "turntable_html": "",
        "figures_html": _notice(notice) + str(show.no_pair([on_page(reason) for reason in reasons if reason])),
    }


def on_page(reason: str) -> str:
    """Why something failed, without what is to be typed into a command line: a reviewer has a brush."""
    return "; ".join(part for part in reason.split("; ") if "--" not in part) or reason


def _notice(text: str) -> str:
    return str(_panels().notice(text)) if text else ""


def _masks(made: Reconstruction) -> dict[str, Mask]:
    """Label on the page -> mask."""
    shown = (made.masks.hand, made.masks.object, made.contacts.front, made.contacts.back)
    return dict(zip(ROLES, shown, strict=True))


def _mask_regions(made: Reconstruction) -> Iterator[dict[str, Any]]:
    for label, mask in _masks(made).items():
        if mask.any():
            value = {"imageDataURL": to_data_url(mask), "bitmasklabels": [label]}
            yield _region(f"m_{label}", "mask", "bitmasklabels", value) | _drawn_on(made)


def _joint_regions(made: Reconstruction) -> Iterator[dict[str, Any]]:
    """The evidence the hand was fitted to: a reviewer's joints replace that. It may lie outside of the photo."""
    percent = 100 * made.estimate.keypoints / (made.camera.width, made.camera.height)
    for index, (label, (x, y)) in enumerate(zip(JOINTS, percent, strict=True)):
        if np.isfinite((x, y)).all():
            value = {"x": float(x), "y": float(y), "width": JOINT_SIZE, "keypointlabels": [label]}
            yield _region(f"kp_{index:02d}", "joint", "keypointlabels", value) | _drawn_on(made)


def _choices(made: Reconstruction) -> Iterator[dict[str, Any]]:
    yield _region("side", "side", "choices", {"choices": [made.hand.side]})
    if made.contacts.touching:
        yield _region("touching", "touching", "choices", {"choices": list(made.contacts.touching)})


def _region(name: str, control: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "from_name": control, "to_name": "image", "type": kind, "value": value}


def _drawn_on(made: Reconstruction) -> dict[str, int]:
    return {"original_width": made.camera.width, "original_height": made.camera.height, "image_rotation": 0}


def _panels() -> Any:
    """The macros that make what stands beside the photo; they escape what they are given."""
    from annotator.report.templates import environment

    return environment().get_template("labeling_panels.html.j2").module


def _figures_html(revision: Revision, made: Reconstruction) -> str:
    """Why the tool doubts this pair; after a fix, how well it does what was asked for."""
    from annotator.report.page import figure_rows

    rows = list(figure_rows(made.metrics))
    asked = [_before_after(*item) for item in revision.diagnostics.get("constraints", {}).items()]
    about = f"{made.object.kind} · recipe {revision.recipe} · revision {revision.number} of {revision.pair.photo.name}"
    warnings = made.diagnostics.get("warnings", ())
    return str(_panels().figures(revision.confidence, warnings, asked, rows, about))


def _before_after(name: str, values: dict[str, float | None]) -> tuple[str, str, str, str]:
    """(label, before, after, grade) of one figure of pipeline.optimise.constraints.satisfaction."""
    higher_is_better = name.endswith("_iou") or name.startswith("not_touching_")
    before, after = values.get("before"), values.get("after")
    label = f"asked: {name.removesuffix('_mm').removesuffix('_iou').replace('_', ' ')}"
    grade = "unknown"
    if before is not None and after is not None:
        gain = after - before if higher_is_better else before - after
        grade = "good" if gain > 0 else "fair" if gain == 0 else "poor"
    unit, digits = ("IoU", 3) if name.endswith("_iou") else ("mm", 1)
    shown = ["?" if value is None else f"{value:.{digits}f}" for value in (before, after)]
    return label, shown[0], f"{shown[1]} {unit}", grade
