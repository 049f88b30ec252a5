"""Label Studio's ML backend protocol: boxes and points in the labeling page become masks.

It sends no header of ours, so the secret is in the address. What it sends along (also its creator's token) is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException

from annotator.studio.labeling import ROLES
from annotator.studio.masks import to_data_url
from annotator.web.links import Links
from annotator.workspace import Workspace
from db.repositories import Photos
from pipeline.photo import read_photo
from pipeline.types import U8, Mask

VERSION = "grabcut"
NOT_OURS = "not a task of this workspace"
DIGEST = re.compile("[0-9a-f]{64}")
LARGEST = 4096  # pixels of a task's picture
MOST_PROMPTS = 64  # regions of one question
FARTHEST = 1000.0  # percent: what is drawn far outside of the photo is nonsense


def router(workspace: Workspace, links: Links) -> APIRouter:
    def checked(token: str) -> None:
        if not links.check_ml(token):
            raise HTTPException(404)

    routes = APIRouter(prefix="/ml/{token}", include_in_schema=False, dependencies=[Depends(checked)])

    @routes.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "hoi-annotate"}

    @routes.post("/setup")
    def setup() -> dict[str, str]:
        return {"model_version": VERSION}

    @routes.post("/predict")
    def predict(said: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        """One answer for every task.

        Without a context nobody waits for masks: Label Studio wants predictions to keep, as for a whole project. It
        gets a list of none for every task; an empty one it would keep, and show beside ours.
        """
        tasks, context = _list(said.get("tasks")), _dict(said.get("params")).get("context")
        results: list[Any] = [[] for _ in tasks]
        if context is not None:
            prompts = _prompts(_dict(context).get("result"))
            results = [_answer(workspace, _dict(task), prompts) for task in tasks]
        return {"results": results, "model_version": VERSION}

    return routes


@dataclass
class _Prompts:
    """What a reviewer drew for one label, in percent of the picture."""

    boxes: list[tuple[float, ...]] = field(default_factory=list)  # x, y, width, height
    inside: list[tuple[float, ...]] = field(default_factory=list)  # x, y
    outside: list[tuple[float, ...]] = field(default_factory=list)


def _prompts(regions: Any) -> dict[str, _Prompts]:
    """By label. What cannot be used is left out: Label Studio could say nothing about it to the reviewer."""
    prompts: dict[str, _Prompts] = {}
    for region in map(_dict, _list(regions)[:MOST_PROMPTS]):
        kind, value = region.get("type"), _dict(region.get("value"))
        labels = [label for label in _list(value.get(str(kind))) if isinstance(label, str) and label in ROLES]
        if not labels:
            continue
        of_label = prompts.setdefault(labels[0], _Prompts())
        if kind == "rectanglelabels" and (box := _numbers(value, "x", "y", "width", "height")):
            of_label.boxes.append(box)
        if kind == "keypointlabels" and (point := _numbers(value, "x", "y")):
            is_inside = region.get("is_positive") is not False and value.get("is_positive") is not False
            (of_label.inside if is_inside else of_label.outside).append(point)
    return prompts


def _answer(workspace: Workspace, task: dict[str, Any], prompts: dict[str, _Prompts]) -> dict[str, Any]:
    """One mask for every label that was prompted for."""
    found = list(_masks(_picture(workspace, _dict(task.get("data"))), prompts)) if prompts else []
    return {"result": [_region(*item) for item in found], "score": 0.5, "model_version": VERSION}


def _picture(workspace: Workspace, data: dict[str, Any]) -> U8:
    """The photo as the page shows it."""
    sha256, sides = data.get("photo_sha256"), _numbers(data, "width", "height", at_most=LARGEST)
    if not isinstance(sha256, str) or not DIGEST.fullmatch(sha256) or min(sides, default=0) < 1:
        raise HTTPException(400, NOT_OURS)
    with workspace.database.read() as session:
        photo = Photos(session).by_sha256(sha256)
    if photo is None:
        raise HTTPException(400, NOT_OURS)
    return read_photo(workspace.blobs.get(photo.sha256), photo.name, round(max(sides))).image


def _masks(image: U8, prompts: dict[str, _Prompts]) -> Iterator[tuple[str, Mask]]:
    from pipeline.segment.prompted import cut_at_points, cut_in_box

    for label, given in prompts.items():
        mask = cut_at_points(image, [_at(p, image) for p in given.inside], [_at(p, image) for p in given.outside])
        for x, y, width, height in given.boxes:
            mask |= cut_in_box(image, (*_at((x, y), image), *_at((x + width, y + height), image)))
        if mask.any():
            yield label, mask


def _at(percent: tuple[float, ...], image: U8) -> tuple[float, float]:
    """Pixels."""
    return percent[0] * image.shape[1] / 100, percent[1] * image.shape[0] / 100


def _region(label: str, mask: Mask) -> dict[str, Any]:
    return {
        "from_name": "mask",
        "to_name": "image",
        "type": "bitmasklabels",
        "original_width": mask.shape[1],
        "original_height": mask.shape[0],
        "image_rotation": 0,
        "value": {"imageDataURL": to_data_url(mask), "bitmasklabels": [label]},
    }


def _numbers(value: dict[str, Any], *names: str, at_most: float = FARTHEST) -> tuple[float, ...]:
    """Empty when one is missing, no number, or too large (as infinity and NaN are)."""
    found = [value.get(name) for name in names]
    usable = [n for n in found if isinstance(n, int | float) and abs(n) <= at_most]
    return tuple(map(float, usable)) if len(usable) == len(names) else ()


def _dict(thing: Any) -> dict[str, Any]:
    return thing if isinstance(thing, dict) else {}


def _list(thing: Any) -> list[Any]:
    return thing if isinstance(thing, list) else []
