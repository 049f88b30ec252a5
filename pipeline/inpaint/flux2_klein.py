"""FLUX.2 klein (Black Forest Labs 2026): edits by instruction in four steps, here within the hole only."""

from __future__ import annotations

from pipeline.inpaint.diffusion import DiffusionInpainter


class Flux2KleinInpainter(DiffusionInpainter):
    """Distilled: no guidance. The picture itself, hand and all, is its reference."""

    name = "flux2-klein"
    version = "1"
    model = "flux2-klein"
    pipeline = "Flux2KleinInpaintPipeline"
    steps = 4
    guidance = 1.0
