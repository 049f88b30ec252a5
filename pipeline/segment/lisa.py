"""LISA (Lai et al. 2024), the paper's segmenter, in its own environment: two questions, two masks."""

from __future__ import annotations

import numpy as np

from pipeline.foreign import Foreign, ForeignAdapter
from pipeline.segment.sort_out import Seen, sort_out
from pipeline.types import HandDetection, Masks, Photo

HANDS = "Please segment all hands in this image."
HELD = "What is being held by the hand? Please provide its segmentation mask."
SCORE = 0.8  # it gives none


class LisaSegmenter(ForeignAdapter):
    """All hands and all that is held; whose they are is told by bones and contours (sort_out.py).

    Settings: those of `Foreign`, and `prompts`, the two questions.
    """

    name = "lisa"
    version = "2"
    foreign = Foreign(
        name="lisa",
        script="lisa_worker.py",
        setup="git clone https://github.com/dvlab-research/LISA && cd LISA && python3.9 -m venv .venv && "
        ".venv/bin/pip install -r requirements.txt",
        conventions={"masks": "picture size, 0 and 1"},
        options=("vision_tower",),
    )

    def segment(self, photo: Photo, hands: list[HandDetection]) -> list[Masks | str]:
        """One entry per hand: its masks at photo size, or why it has none. Raises WorkerFailed."""
        if not hands:
            return []
        prompts = list(self._settings.get("prompts", (HANDS, HELD)))
        answer = self.foreign.ask(self._settings, "masks", {"image": photo.image}, {"prompts": prompts})
        skin, held = answer.required("masks", 2, *photo.size) > 0
        if not skin.any():
            return ["LISA sees no hand"] * len(hands)
        nothing = np.zeros(photo.size, dtype=bool)
        return sort_out(hands, [Seen(skin, held & ~skin, nothing, SCORE) for _ in hands], photo.size)
