"""What all generative inpainters share: a class says which model, and how it is asked to paint one tile.

photo, masks -> window.py -> composite.py (tiles, drift) -> amodal.py -> Completion
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pipeline import hub
from pipeline.errors import EmptyMask, PipelineError
from pipeline.inpaint.amodal import amodal_mask, model_of
from pipeline.inpaint.composite import painted
from pipeline.inpaint.silhouette import SilhouetteInpainter
from pipeline.inpaint.window import window_around
from pipeline.types import U8, Completion, Mask, Masks, Photo

SIDE = 1024  # pixels a model works at, at least, and of the tiles
DRIFT_NOTE = 8.0  # 8-bit levels: what encoding and decoding alone may cost
DRIFT_LIMIT = 25.0  # beyond it the model painted another picture


class Drifted(PipelineError):
    """A model painted another picture, not only the hole."""


class GenerativeInpainter:
    """Paints what hand and arm hide, keeps every pixel of the rest, and looks for the object in the new picture.

    Settings, besides those of pipeline.device: `size` and `tile` (pixels, 1024), `seed`, `resegment` (sam2 | sam |
    silhouette), `drift_limit` (8-bit levels), `on_drift` (silhouette: complete without the model | refuse).
    """

    name: str
    version: str
    model: str  # its name in the hub

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        resegmenter = model_of(settings)
        self.models = (resegmenter,) if resegmenter else ()  # that it needs besides its own

    @property
    def weights_digest(self) -> str:
        return " ".join(hub.digest(model) for model in (self.model, *self.models))

    def paint(self, image: U8, hole: Mask, generator: torch.Generator) -> U8:
        """The model's whole answer to a tile (h, w, 3), sides multiples of 16, with a hole (h, w)."""
        raise NotImplementedError

    def complete(self, photo: Photo, masks: Masks) -> Completion:
        """Amodal mask and picture at photo size; visible object pixels are the photo's.

        Raises EmptyMask, Drifted, MissingWeights, MissingExtra, OutOfMemory.
        """
        if not masks.object.any():
            raise EmptyMask(f"{photo.name}: the object mask is empty, there is nothing to complete")
        window = window_around(masks)
        generator = torch.Generator().manual_seed(int(self.settings.get("seed", 0)))  # on the CPU: the same on a GPU
        image, drift = painted(
            photo.image,
            window,
            lambda tile, hole: self.paint(tile, hole, generator),
            int(self.settings.get("size", SIDE)),
            int(self.settings.get("tile", SIDE)),
        )
        said = f"{self.name} changed the picture outside the hand by {drift:.0f} of 255 levels"
        if drift > float(self.settings.get("drift_limit", DRIFT_LIMIT)):
            if self.settings.get("on_drift", "silhouette") == "refuse":
                raise Drifted(f"{photo.name}: {said}, so its answer is not used; try another seed")
            plain = SilhouetteInpainter({}).complete(photo, masks)
            return Completion(plain.amodal_mask, plain.image, (*plain.notes, f"{said}: completed without it"))
        amodal, notes = amodal_mask(image, masks, window, self.settings, self.name)
        return Completion(amodal, image, (*notes, said) if drift > DRIFT_NOTE else notes)
