"""Inpainters that are diffusers pipelines: one small class each says which, and with which arguments it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from pipeline.inpaint.generative import GenerativeInpainter
from pipeline.pretrained import enough_memory, pretrained
from pipeline.types import U8, Mask

PAPER_PROMPT = (
    "Remove the hand from the object and restore the object to its original appearance. Remove all the fingers."
)


class DiffusionInpainter(GenerativeInpainter):
    """Settings of its own: `prompt` (the paper's), `steps`, `guidance`, `strength`."""

    pipeline: str  # diffusers class
    steps: int
    guidance: float
    strength = 1.0  # 1: nothing of the hand shimmers through
    options: ClassVar[Mapping[str, Any]] = {}  # of from_pretrained

    def arguments(self, guidance: float) -> dict[str, Any]:
        """What this pipeline wants to know besides picture, hole, size, prompt, steps and generator."""
        return {"guidance_scale": guidance, "strength": float(self.settings.get("strength", self.strength))}

    def paint(self, image: U8, hole: Mask, generator: torch.Generator) -> U8:
        pipe = pretrained(self.name, self.model, "diffusers", self.pipeline, self.settings, **self.options)
        pipe.set_progress_bar_config(disable=True)
        with enough_memory(self.name), torch.inference_mode():
            answer = pipe(
                prompt=str(self.settings.get("prompt", PAPER_PROMPT)),
                image=Image.fromarray(image),
                mask_image=Image.fromarray(hole.astype(np.uint8) * 255),
                height=image.shape[0],
                width=image.shape[1],
                num_inference_steps=int(self.settings.get("steps", self.steps)),
                generator=generator,
                **self.arguments(float(self.settings.get("guidance", self.guidance))),
            )
        return _fitted(answer.images[0], image)


def _fitted(answer: Image.Image, image: U8) -> U8:
    """The answer at the picture's size: some pipelines choose a size of their own."""
    size = (image.shape[1], image.shape[0])
    same = answer if answer.size == size else answer.resize(size, Image.Resampling.LANCZOS)
    return np.array(same.convert("RGB"), dtype=np.uint8)
