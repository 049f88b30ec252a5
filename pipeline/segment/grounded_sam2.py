"""Grounding DINO (Liu et al. 2023) finds hands and held objects by name, SAM 2 draws what is in the boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipeline import hub
from pipeline.pretrained import enough_memory, pretrained, processor
from pipeline.segment import sam2
from pipeline.segment.by_prompts import segment_by_prompts
from pipeline.segment.prompts import Prompt, hand_prompt, object_prompt
from pipeline.segment.scene import skeleton_of
from pipeline.types import F64, HandDetection, Mask, Masks, Photo

MODEL = "grounding-dino"
HAND, OBJECT = "a hand.", "object held in a hand."
THRESHOLD = 0.25  # of the score: the authors'
SAME = 0.5  # IoU of boxes that show the same thing
WHOLE = 0.9  # of the photo: a box so large is no object


class GroundedSam2Segmenter:
    """Grounding DINO's boxes, drawn by SAM 2. A hand that DINO misses keeps the box of its keypoints."""

    name = "grounded-sam2"
    version = "2"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    @property
    def weights_digest(self) -> str:
        return f"{hub.digest(MODEL)} {hub.digest(sam2.MODEL)}"

    def segment(self, photo: Photo, hands: list[HandDetection]) -> list[Masks | str]:
        """One entry per hand: its masks at photo size, or why it has none. Raises MissingWeights, MissingExtra."""
        if not hands:
            return []
        ask = sam2.looking_at(photo.image, self._settings, self.name)
        skeletons = [skeleton_of(hand) for hand in hands]
        found, things = self._boxes(photo, HAND), self._boxes(photo, OBJECT)
        of_hands = [_on_box(hand_prompt(s, photo.size, None), found) for s in skeletons]

        nothing = np.zeros(photo.size, dtype=bool)

        def of_object(index: int, hand: Mask) -> Prompt | None:
            box = _held_box(of_hands[index], things, photo.size)
            asked = object_prompt(skeletons[index], hand, None)
            if box is None:
                return None
            return Prompt(box, outside=np.zeros((0, 2)) if asked is None else asked.outside)

        return segment_by_prompts(hands, photo.size, ask, of_hands, of_object, [nothing] * len(hands))

    def _boxes(self, photo: Photo, text: str) -> F64:
        """(N, 4) x0, y0, x1, y1 pixels of what answers to `text`, best first."""
        model = pretrained(self.name, MODEL, "transformers", "GroundingDinoForObjectDetection", self._settings)
        prepare = processor(self.name, MODEL, "GroundingDinoProcessor")
        inputs = prepare(images=photo.image, text=text, return_tensors="pt").to(model.device, model.dtype)
        with enough_memory(self.name), torch.inference_mode():
            said = model(**inputs)
        scores = said.logits[0].float().sigmoid().max(-1).values.cpu().numpy()
        boxes = said.pred_boxes[0].double().cpu().numpy() * np.tile(photo.size[::-1], 2)
        kept = np.argsort(-scores, kind="stable")[: int((scores > self._settings.get("threshold", THRESHOLD)).sum())]
        return np.hstack([boxes[kept, :2] - boxes[kept, 2:] / 2, boxes[kept, :2] + boxes[kept, 2:] / 2])


def _on_box(prompt: Prompt, found: F64) -> Prompt:
    """The prompt on the best box that shows the same hand."""
    assert prompt.box is not None
    same = [box for box in found if _iou(box, prompt.box) > SAME]
    return replace(prompt, box=same[0]) if same else prompt


def _held_box(hand: Prompt, things: F64, size: tuple[int, int]) -> F64 | None:
    """The best box that meets the hand's and is neither the hand nor all of the photo."""
    assert hand.box is not None
    for box in things:
        if 0 < _iou(box, hand.box) < SAME and _area(box) < WHOLE * size[0] * size[1]:
            return np.asarray(box)
    return None


def _iou(a: F64, b: F64) -> float:
    both = _area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))
    return both / max(1e-9, _area(a) + _area(b) - both)


def _area(box: F64) -> float:
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))
