"""Stable Diffusion XL inpainting (Podell et al. 2023), native at 1024 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pipeline.inpaint.diffusion import DiffusionInpainter


class SdxlInpainter(DiffusionInpainter):
    """At full strength SDXL's inpainting loses the picture's colours: its authors advise just below."""

    name = "sdxl-inpaint"
    version = "1"
    model = "sdxl-inpaint"
    pipeline = "StableDiffusionXLInpaintPipeline"
    steps = 40
    guidance = 8.0
    strength = 0.99
    options: ClassVar[Mapping[str, Any]] = {"variant": "fp16"}  # the files that are pulled
