"""What the camera sees of a pair, as BOP's calc_gt_masks and calc_gt_info reckon it, from rendered depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exports.base import UnsuitableRecord
from exports.bop.model import MM
from exports.depth import depth_in_view
from pipeline.geometry.camera import project
from pipeline.types import F64, I64, Camera, Mask

DEPTH_SCALES = (0.1, 1.0)  # mm per step of a depth image: up to 6.5 m, or up to 65 m
FULL = 65535  # the last step
NONE = [-1, -1, -1, -1]  # the box of nothing
BEYOND = 1.0  # pictures on each side of the picture in which an object is still counted, as the toolkit does

Solid = tuple[F64, I64]  # (V, 3) metres in the OpenCV camera, (F, 3)


@dataclass(frozen=True)
class View:
    """One image of one object and the hand that holds it."""

    depth: NDArray[np.uint16]  # (H, W) of the nearest surface; 0: none
    depth_scale: float  # mm per step
    mask: Mask  # (H, W) silhouette of the object
    visible: Mask  # (H, W) what the hand leaves of it
    info: dict[str, Any]  # entry of scene_gt_info.json


def view(obj: Solid, hand: Solid | None, camera: Camera) -> View:
    """Render a pair. Raises UnsuitableRecord when it is behind the camera, too far, or not in the picture."""
    both = obj[0] if hand is None else np.concatenate([obj[0], hand[0]])
    if not np.isfinite(both).all() or both[:, 2].min() <= 1e-3:
        raise UnsuitableRecord("part of the pair lies behind the camera or is not finite")
    farthest = float(both[:, 2].max()) * MM
    scale = next((scale for scale in DEPTH_SCALES if farthest < FULL * scale), None)
    if scale is None:
        raise UnsuitableRecord(f"the pair is {farthest / MM:.0f} m away; depth images end at 65 m")
    size = camera.height, camera.width
    whole, corner = _beyond(obj, camera)
    inside = tuple(slice(start, start + length) for start, length in zip(corner, size, strict=True))
    own = whole[inside]
    nearest = own if hand is None else np.minimum(own, depth_in_view(*hand, camera.K, *size))
    seen = np.isfinite(nearest)
    depth = np.zeros(size, dtype=np.uint16)
    depth[seen] = np.clip(np.rint(nearest[seen] * MM / scale), 1, FULL)
    mask = np.isfinite(own)
    if not mask.any():
        raise UnsuitableRecord("the object is outside the picture")
    visible = mask & (own <= nearest)
    silhouette = np.isfinite(whole)
    entry = {
        "px_count_all": int(silhouette.sum()),
        "px_count_valid": int(mask.sum()),  # all of them have a depth: it is rendered
        "bbox_obj": _box(silhouette, corner),
    }
    return View(depth, scale, mask, visible, entry | visible_info(visible, entry))


def visible_info(visible: Mask, entry: dict[str, Any]) -> dict[str, Any]:
    """The keys of scene_gt_info.json that depend on what hides the object."""
    count = int(visible.sum())
    return {
        "px_count_visib": count,
        "visib_fract": round(count / entry["px_count_all"], 8),
        "bbox_visib": _box(visible, (0, 0)),
        "bbox_obj": entry["bbox_obj"] if count else NONE,  # as the toolkit: no box at all for a hidden object
    }


def _beyond(obj: Solid, camera: Camera) -> tuple[F64, tuple[int, int]]:
    """Depth of the object on a canvas that also holds what leaves the picture, and where (y, x) the picture starts."""
    height, width = camera.height, camera.width
    pixels = project(obj[0], camera.K)
    low, high = pixels.min(0), pixels.max(0)
    left = math.ceil(min(max(-low[0], 0), BEYOND * width))
    top = math.ceil(min(max(-low[1], 0), BEYOND * height))
    right = math.ceil(min(max(high[0] - width, 0), BEYOND * width))
    bottom = math.ceil(min(max(high[1] - height, 0), BEYOND * height))
    K = camera.K.copy()
    K[:2, 2] += left, top
    return depth_in_view(*obj, K, top + height + bottom, left + width + right), (top, left)


def _box(mask: Mask, corner: tuple[int, int]) -> list[int]:
    """x, y, width and height as the toolkit's calc_2d_bbox has them: last pixel minus first one."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(ys):
        return NONE
    return [int(xs[0]) - corner[1], int(ys[0]) - corner[0], int(xs[-1] - xs[0]), int(ys[-1] - ys[0])]
