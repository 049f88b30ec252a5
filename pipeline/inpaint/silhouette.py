"""Completion without a generative model: the silhouette from convexity and symmetry, the colours from the object.

    visible object -> hull over its parts  --\\
                   -> mirror image of itself --+-> only where hand or arm can hide it -> amodal mask -> fill
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.errors import EmptyMask
from pipeline.inpaint.fill import fill_from
from pipeline.inpaint.symmetry import find_mirrors, reflected
from pipeline.types import Completion, Mask, Masks, Photo

SPECK = 0.01  # of the largest part's area: smaller parts are not the object's
SEAM = 0.012  # of the object's extent: hand masks are this far from exact
MOST_MIRRORS = 15
MOST_ADDED = 1.5  # times the visible area: more would be a guess, not a completion


class SilhouetteInpainter:
    """Amodal mask by hull and mirror symmetry within what hides the object; fill with the object's own colours."""

    name = "silhouette"
    version = "1"

    def complete(self, photo: Photo, masks: Masks) -> Completion:
        """Amodal mask and picture at photo size; visible object pixels are the photo's. Raises EmptyMask."""
        if not masks.object.any():
            raise EmptyMask(f"{photo.name}: the object mask is empty, there is nothing to complete")
        amodal, notes = complete_silhouette(masks)
        visible = masks.object
        image = photo.image.copy()
        hole = amodal & ~visible
        if hole.any():
            image[hole] = fill_from(photo.image, visible, amodal)[hole]
        return Completion(amodal, image, notes)


def complete_silhouette(masks: Masks) -> tuple[Mask, tuple[str, ...]]:
    """The object's whole silhouette (H, W), one component, and what was assumed to get it."""
    visible = _main_parts(masks.object)
    extent = _extent(visible)
    seam = max(1, round(SEAM * extent))
    hidden = _grown(masks.hand | masks.arm, seam) & ~visible
    amodal = _connected(visible | (_hull(visible) & hidden), visible)
    mirrors = find_mirrors(visible, hidden)
    if not mirrors:
        return amodal, ()
    grown = _connected(amodal | (reflected(amodal, mirrors[:MOST_MIRRORS]) & hidden), visible)
    grown = _connected(grown | (_hull(grown) & hidden), visible)
    if not 1.02 * amodal.sum() < grown.sum() < (1 + MOST_ADDED) * visible.sum():
        return amodal, ()
    return grown, (f"silhouette completed by mirror symmetry (visible IoU {mirrors[0].iou:.2f})",)


def _main_parts(mask: Mask) -> Mask:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    areas = np.bincount(labels.ravel(), minlength=count)
    areas[0] = 0
    return np.asarray(np.isin(labels, np.flatnonzero(areas >= max(1.0, SPECK * areas.max()))) & mask)


def _connected(amodal: Mask, visible: Mask) -> Mask:
    """The component that holds most of the visible object, its holes closed, its spurs cut."""
    filled = (amodal | _holes(amodal)).astype(np.uint8)
    smooth = cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    whole = smooth | visible
    count, labels = cv2.connectedComponents(whole.astype(np.uint8), connectivity=8)
    share = np.bincount(labels[visible], minlength=count)
    share[0] = 0
    return np.asarray(labels == int(share.argmax()))


def _holes(mask: Mask) -> Mask:
    """(H, W): what the mask encloses."""
    outside = np.pad((~mask).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return np.asarray(outside[1:-1, 1:-1] == 1)


def _hull(mask: Mask) -> Mask:
    out = np.zeros(mask.shape, np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.fillConvexPoly(out, cv2.convexHull(np.concatenate(contours)), 1)
    return out > 0


def _extent(mask: Mask) -> float:
    """The longer side of the bounding box, pixels."""
    ys, xs = np.nonzero(mask)
    return float(max(np.ptp(ys), np.ptp(xs)) + 1)


def _grown(mask: Mask, radius: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)
