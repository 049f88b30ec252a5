"""Fills a hole in an object with the object's own colours: pull-push (Gortler et al. 1996) and a little diffusion.

Colours are averaged down a pyramid over known pixels only, and pushed back up where they are unknown. Unlike
marching inpainting it draws no streaks, and nothing from outside the object can leak in.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import U8, Mask

MARGIN = 8  # pixels around the amodal mask
SEAM = 0.012  # of the object's extent: near its contour the object's pixels are mixed with the hand's
RELAXATIONS = 60  # diffusion steps that remove the pyramid's blocks


def fill_from(image: U8, visible: Mask, amodal: Mask) -> U8:
    """`image` (H, W, 3) with `amodal` without `visible` filled from the visible object; elsewhere unchanged."""
    ys, xs = np.nonzero(amodal)
    window = (
        slice(max(0, int(ys.min()) - MARGIN), int(ys.max()) + MARGIN + 1),
        slice(max(0, int(xs.min()) - MARGIN), int(xs.max()) + MARGIN + 1),
    )
    known = _trusted(visible[window])
    colours = _pull_push(image[window].astype(np.float32), known.astype(np.float32))
    hole = amodal[window] & ~visible[window]
    free = (amodal[window] & ~known)[..., None]
    for _ in range(RELAXATIONS):
        colours = np.where(free, cv2.blur(colours, (3, 3)), colours)
    out = image.copy()
    out[window][hole] = np.clip(np.round(colours[hole]), 0, 255).astype(np.uint8)
    return out


def _trusted(visible: Mask) -> Mask:
    """The visible object without its seam; all of it when it is too thin for that."""
    ys, xs = np.nonzero(visible)
    r = max(1, round(SEAM * (max(np.ptp(ys), np.ptp(xs)) + 1)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    inner = cv2.erode(visible.astype(np.uint8), kernel) > 0
    return np.asarray(inner if inner.sum() > 0.2 * visible.sum() else visible)


def _pull_push(colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32 with every pixel of zero weight (H, W) replaced by what its surroundings say."""
    if min(weight.shape) < 2 or weight.min() > 0:
        return colours
    height, width = weight.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    sums = cv2.pyrDown(colours * weight[..., None], dstsize=half)
    mass = cv2.pyrDown(weight, dstsize=half)
    coarse = _pull_push(sums / np.maximum(mass, 1e-6)[..., None], np.minimum(1.0, 4 * mass) * (mass > 1e-4))
    guess = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.where(weight[..., None] > 0, colours, guess), dtype=np.float32)
