"""Qwen-Image-Edit (Qwen team 2025): edits by instruction, here within the hole only."""

from __future__ import annotations

from typing import Any

from pipeline.inpaint.diffusion import DiffusionInpainter


class QwenEditInpainter(DiffusionInpainter):
    """Its guidance is the true one, against a negative prompt. It works at one megapixel whatever it is given."""

    name = "qwen-edit"
    version = "1"
    model = "qwen-edit"
    pipeline = "QwenImageEditInpaintPipeline"
    steps = 40
    guidance = 4.0

    def arguments(self, guidance: float) -> dict[str, Any]:
        strength = float(self.settings.get("strength", self.strength))
        return {"true_cfg_scale": guidance, "negative_prompt": " ", "strength": strength}
