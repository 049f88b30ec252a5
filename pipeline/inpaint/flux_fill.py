"""FLUX.1 Fill (Black Forest Labs 2024): a flow-matching transformer trained to fill holes."""

from __future__ import annotations

from pipeline.inpaint.diffusion import DiffusionInpainter


class FluxFillInpainter(DiffusionInpainter):
    """Wants a strong guidance; its transformer is told it."""

    name = "flux-fill"
    version = "1"
    model = "flux-fill"
    pipeline = "FluxFillPipeline"
    steps = 50
    guidance = 30.0
