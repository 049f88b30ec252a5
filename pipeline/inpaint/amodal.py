"""The object's whole silhouette from its completed picture (METHOD 1.3): SAM again, held to what can be hidden.

completed picture -> SAM: points in every visible part, a loose box -> what hand and arm can hide of it + what is seen
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.errors import HoiError
from pipeline.inpaint.silhouette import complete_silhouette, connected
from pipeline.inpaint.window import Window
from pipeline.segment import sam, sam2
from pipeline.segment.prompts import Prompt, loose_box, spread
from pipeline.segment.scene import components, dilate
from pipeline.types import U8, Mask, Masks

RESEGMENT = {"sam2": sam2, "sam": sam}
POINTS = 3  # in each visible part
PARTS = 4  # the largest
SPECK = 0.01  # of the visible area: smaller parts are not prompted for
LOOSE = 0.2  # of the visible object's longer side, around its box
NEAR = 2.0  # times the seam: how far beyond hand and arm the mask may grow
AGREES = 0.7  # of the visible object must be in SAM's answer, else it is about something else


class UnknownResegmenter(HoiError):
    """The setting `resegment` names no way to find the amodal mask."""


def model_of(settings: Mapping[str, Any]) -> str:
    """The hub's name of the re-segmenting model, '' without one. Raises UnknownResegmenter."""
    chosen = str(settings.get("resegment", "sam2"))
    if chosen == "silhouette":
        return ""
    if chosen not in RESEGMENT:
        raise UnknownResegmenter(f"recipe: resegment = '{chosen}' is none of {', '.join(RESEGMENT)}, silhouette")
    return str(RESEGMENT[chosen].MODEL)


def amodal_mask(
    completed: U8, masks: Masks, window: Window, settings: Mapping[str, Any], adapter: str
) -> tuple[Mask, tuple[str, ...]]:
    """The whole silhouette (H, W), one component, and what is worth knowing of how it came about."""
    model = model_of(settings)
    if not model:
        return complete_silhouette(masks)
    visible, crop = window.cut(masks.object), window.cut(completed)
    ask = RESEGMENT[model].looking_at(np.ascontiguousarray(crop), settings, adapter)
    answer, _ = ask(Prompt(loose_box(visible, LOOSE), _points(visible)))
    if (answer & visible).sum() < AGREES * visible.sum():
        guess, notes = complete_silhouette(masks)
        return guess, (*notes, f"{model} did not find the completed object again: silhouette without it")
    hidden = dilate(window.limbs, NEAR * window.seam) & ~visible
    whole = np.zeros_like(masks.object)
    whole[window.rows, window.columns] = visible | (answer & hidden)
    can_hide = np.zeros_like(masks.object)
    can_hide[window.rows, window.columns] = hidden
    return connected(whole, masks.object, can_hide), ()


def _points(visible: Mask) -> np.ndarray:
    """(N, 2) inside every visible part that is no speck."""
    labels, areas = components(visible)
    large = [i for i in np.argsort(-areas, kind="stable")[:PARTS] if areas[i] >= max(1.0, SPECK * visible.sum())]
    return np.vstack([spread(labels == i, POINTS) for i in large])
