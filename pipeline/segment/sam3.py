"""SAM 3 (Meta 2025) through transformers: every hand and every held object of a photo, asked for by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline import hub
from pipeline.pretrained import enough_memory, pretrained, processor
from pipeline.segment.prompts import on_photo, under
from pipeline.segment.sort_out import Seen, sort_out
from pipeline.segment.square import from_square, square
from pipeline.types import HandDetection, Mask, Masks, Photo

MODEL = "sam3"
MEAN = STD = (0.5, 0.5, 0.5)
TOKENS = 32  # its text encoder's length
HAND, OBJECT = "hand", "object held in hand"
THRESHOLD = 0.3  # of the score: transformers' default for instances
LEAST_KEYPOINTS = 5  # of 21 in an instance that is said to be the hand


@dataclass(frozen=True)
class Instances:
    """What answers to a name."""

    masks: np.ndarray  # (N, H, W) bool
    scores: np.ndarray  # (N,) in 0..1


class Sam3Segmenter:
    """Hands and held objects by name; which hand holds which object is told by their contours."""

    name = "sam3"
    version = "2"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    @property
    def weights_digest(self) -> str:
        return hub.digest(MODEL)

    def segment(self, photo: Photo, hands: list[HandDetection]) -> list[Masks | str]:
        """One entry per hand: its masks at photo size, or why it has none. Raises MissingWeights, MissingExtra."""
        if not hands:
            return []
        hub.require("torchvision", adapter=self.name, extra="")  # transformers' Sam3Model is a blank without it
        found, things = self._named(photo, (HAND, OBJECT))
        thing = np.any(things.masks, axis=0) if len(things.masks) else np.zeros(photo.size, dtype=bool)
        sure = float(things.scores.max(initial=0.0))
        return sort_out(hands, [_of_hand(i, hand, found, thing, sure) for i, hand in enumerate(hands)], photo.size)

    def _named(self, photo: Photo, names: tuple[str, ...]) -> list[Instances]:
        """The instances of each name."""
        model = pretrained(self.name, MODEL, "transformers", "Sam3Model", self._settings)
        words = processor(self.name, MODEL, "AutoTokenizer")(
            list(names), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        ).to(model.device)
        threshold = float(self._settings.get("threshold", THRESHOLD))
        pixels = square(photo.image, int(model.config.image_size), MEAN, STD).to(model.device, model.dtype)
        answers = []
        with enough_memory(self.name), torch.inference_mode():
            encoded = model.get_vision_features(pixel_values=pixels)
            for ids, mask in zip(words.input_ids, words.attention_mask, strict=True):
                said = model(vision_embeds=encoded, input_ids=ids[None], attention_mask=mask[None])
                scores = (said.pred_logits.sigmoid() * said.presence_logits.sigmoid())[0].float().cpu()
                kept = scores > threshold
                logits = said.pred_masks[0][kept.to(said.pred_masks.device)]
                masks = from_square(logits, photo.size) > 0 if kept.any() else torch.zeros((0, *photo.size)) > 0
                answers.append(Instances(masks.numpy(), scores[kept].numpy()))
        return answers


def _of_hand(index: int, hand: HandDetection, found: Instances, thing: Mask, sure: float) -> Seen | str:
    """The instance that has most of the hand's keypoints, with all held things."""
    points = on_photo(hand.keypoints, thing.shape)
    hits = [int(under(mask, points).sum()) for mask in found.masks]
    if max(hits, default=0) < min(LEAST_KEYPOINTS, len(points)):
        return f"hand {index + 1}: SAM 3 sees no hand at its keypoints"
    best = int(np.argmax(hits))
    nothing = np.zeros_like(thing)
    return Seen(found.masks[best], thing, nothing, min(sure, float(found.scores[best])))
