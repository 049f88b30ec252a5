"""Completion without a generative model: the silhouette from convexity and symmetry, the colours from the object.

    visible object -> hull over its parts (a closing, when it is seen to be concave) --\\
                   -> mirror image of itself, where the hand bites into the outline ---+-> hidden part -> fill

Only what hand or arm can hide is ever added. Where the object is in front of the hand, its visible edge is its own:
a hand in front takes bites out of the outline, so without a bite nothing is completed by symmetry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
LEAST_BITE = 0.015  # of the extent: mean depth of the hull's filling beside what symmetry adds; less is an own edge
CONCAVE = 0.25  # of the hull, where it can be seen: such an object is no hull, scissors and clamps are not
CLOSING = 1.0  # times the thickness of a concave object: gaps so wide are bridged where the hand may cover them
WHOLE = 0.95  # of the visible parts must hang together after the closing, else the hull joins them
PINHOLE = 0.02  # of the area: smaller holes are the mask's, not the object's


class SilhouetteInpainter:
    """Amodal mask by hull and mirror symmetry within what hides the object; fill with the object's own colours."""

    name = "silhouette"
    version = "2"
    weights_digest = ""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """No settings."""

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
    hull = _hull(visible)
    if (hull & ~visible & ~hidden).sum() > CONCAVE * (hull & ~hidden).sum():
        bridged = _connected(visible | (_closed(visible) & hidden), visible, hidden)
        if (bridged & visible).sum() > WHOLE * visible.sum():
            return bridged, ()
    amodal = _connected(visible | (hull & hidden), visible, hidden)
    mirrors = find_mirrors(visible, hidden)
    if not mirrors:
        return amodal, ()
    grown = _connected(amodal | (reflected(amodal, mirrors[:MOST_MIRRORS]) & hidden), visible, hidden)
    grown = _connected(grown | (_hull(grown) & hidden), visible, hidden)
    if not 1.02 * amodal.sum() < grown.sum() < (1 + MOST_ADDED) * visible.sum():
        return amodal, ()
    if _bite(hull, visible, hidden & _grown(grown & ~amodal, 4)) < LEAST_BITE * extent:
        return amodal, ()
    return grown, (f"silhouette completed by mirror symmetry (visible IoU {mirrors[0].iou:.2f})",)


def _bite(hull: Mask, visible: Mask, hidden: Mask) -> float:
    """Pixels: how deep the hull's filling is, on average along the border of visible object and hidden part."""
    border = (cv2.dilate(visible.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & hidden
    return float((hull & hidden).sum() / max(1, border.sum()))


def _closed(visible: Mask) -> Mask:
    """Morphological closing by the object's own thickness."""
    inside = cv2.distanceTransform(np.pad(visible, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    thickness = 2 * float(inside[visible].mean()) * 2  # a strip's mean distance to its edges is a quarter of its width
    radius = max(1, round(CLOSING * thickness))
    padded = np.pad(visible.astype(np.uint8), radius + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(
        cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[radius + 1 : -radius - 1, radius + 1 : -radius - 1] > 0
    )


def _main_parts(mask: Mask) -> Mask:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    areas = np.bincount(labels.ravel(), minlength=count)
    areas[0] = 0
    return np.asarray(np.isin(labels, np.flatnonzero(areas >= max(1.0, SPECK * areas.max()))) & mask)


def _connected(amodal: Mask, visible: Mask, hidden: Mask) -> Mask:
    """The component that holds most of the visible object, its hidden holes closed, its spurs cut."""
    filled = (amodal | _holes(amodal, hidden)).astype(np.uint8)
    smooth = cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    whole = smooth | visible
    count, labels = cv2.connectedComponents(whole.astype(np.uint8), connectivity=8)
    share = np.bincount(labels[visible], minlength=count)
    share[0] = 0
    return np.asarray(labels == int(share.argmax()))


def _holes(mask: Mask, hidden: Mask) -> Mask:
    """(H, W): what the mask encloses and the hand may cover, and pinholes. A handle's opening is neither."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~np.pad(mask, 1)).astype(np.uint8), connectivity=4)
    labels = labels[1:-1, 1:-1]
    area = stats[:, cv2.CC_STAT_AREA]
    open_air = np.bincount(labels[~hidden], minlength=count)
    closed = (open_air < 0.5 * area) | (area < PINHOLE * mask.sum())
    closed[:2] = False  # the mask itself, and the outside, which begins in the first corner
    return np.asarray(closed[labels])


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
