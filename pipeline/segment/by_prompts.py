"""Masks from a model that takes boxes and points: the cpu recipe's segmenter guesses, the large model draws.

detections -> landmark.py (guess) -> prompts.py -> model -> hand -> prompts.py -> model -> object -> sort_out.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import hub
from pipeline.segment.landmark import LandmarkSegmenter
from pipeline.segment.prompts import Ask, Prompt, hand_prompt, object_prompt
from pipeline.segment.scene import skeleton_of
from pipeline.segment.sort_out import Seen, sort_out
from pipeline.types import U8, HandDetection, Mask, Masks, Photo


class PromptedSegmenter:
    """Hands and what they hold, drawn by a model where the cpu recipe's segmenter points. A subclass says which."""

    name: str
    version: str
    model: str  # in the hub's list

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._guess = LandmarkSegmenter({})

    @property
    def weights_digest(self) -> str:
        return f"{hub.digest(self.model)} {self._guess.weights_digest}"

    def looking_at(self, image: U8) -> Ask:
        """Asks the model about one picture (H, W, 3)."""
        raise NotImplementedError

    def segment(self, photo: Photo, hands: list[HandDetection]) -> list[Masks | str]:
        """One entry per hand: its masks at photo size, or why it has none. Raises MissingWeights, MissingExtra."""
        if not hands:
            return []
        ask = self.looking_at(photo.image)
        guesses = [None if isinstance(g, str) else g for g in self._guess.segment(photo, hands)]
        skeletons = [skeleton_of(hand) for hand in hands]
        return segment_by_prompts(
            hands,
            photo.size,
            ask,
            [hand_prompt(s, photo.size, g) for s, g in zip(skeletons, guesses, strict=True)],
            lambda i, hand: object_prompt(skeletons[i], hand, guesses[i]),
            [np.zeros(photo.size, dtype=bool) if g is None else g.arm for g in guesses],
        )


def segment_by_prompts(
    hands: list[HandDetection],
    size: tuple[int, int],
    ask: Ask,
    of_hands: Sequence[Prompt],
    of_object: Callable[[int, Mask], Prompt | None],
    arms: Sequence[Mask],
) -> list[Masks | str]:
    """Asks for each hand, then for what it holds. `of_object`: hand number and its mask -> prompt, None without one."""
    seen: list[Seen | str] = []
    for i, (prompt, arm) in enumerate(zip(of_hands, arms, strict=True)):
        hand, certain = ask(prompt)
        wanted = of_object(i, hand)
        if wanted is None:
            seen.append(f"hand {i + 1}: nothing is seen between its fingers")
            continue
        held, sure = ask(wanted)
        seen.append(Seen(hand, held, arm, min(certain, sure)))
    return sort_out(hands, seen, size)
