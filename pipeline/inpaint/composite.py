"""A generative model's answer put into the photo: only in the hole, and only when the model kept to the picture.

window.py -> model, tile by tile -> drift outside the hole? -> blend at the hole's rim -> photo elsewhere, to the bit
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pipeline.inpaint.window import Window, enlarged, tiles
from pipeline.segment.scene import dilate, distance_to
from pipeline.types import U8, Mask

Paint = Callable[[U8, Mask], U8]  # picture (h, w, 3) and hole (h, w) -> the model's whole answer (h, w, 3)
RIM = 16  # pixels around the hole that a model may change: its latents are coarser than pixels


def painted(photo: U8, window: Window, paint: Paint, least: int, side: int) -> tuple[U8, float]:
    """The photo (H, W, 3) with the window's hole painted, and the drift.

    least: pixels of the longer side the model works at. side: of the tiles a larger window is worked in; each sees
    what those before it painted. Drift is how far, in 8-bit levels and on average over the known pixels of the tile
    that is worst, the model's own answer is from what it was given.
    """
    original = window.cut(photo)
    work = enlarged(original, least)
    size = (work.shape[1], work.shape[0])
    hole = cv2.resize(window.asked.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0
    drift = 0.0
    for rows, columns in tiles(hole, side):
        tile, here = work[rows, columns], hole[rows, columns]
        answer = paint(tile, here)
        known = ~dilate(here, RIM)
        if known.any():
            drift = max(drift, float(np.abs(answer[known].astype(float) - tile[known]).mean()))
        tile[here] = answer[here]
    new = np.asarray(cv2.resize(work, original.shape[1::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
    out = photo.copy()
    out[window.rows, window.columns] = _blended(original, new, window)
    return out, drift


def _blended(old: U8, new: U8, window: Window) -> U8:
    """`new` in the hole, `old` outside; in the seam, which shows no limb, one fades into the other."""
    weight = np.clip(distance_to(~window.hole) / (window.seam + 1), 0, 1)
    weight = np.where(window.limbs, 1.0, weight)[..., None]
    mixed = np.rint(old + weight * (new.astype(np.float64) - old)).astype(np.uint8)
    return np.where(window.hole[..., None], mixed, old)
