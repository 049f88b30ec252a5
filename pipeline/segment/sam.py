"""SAM (Kirillov et al. 2023), the paper's, through its authors' own package, pointed at things by boxes and points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import hub
from pipeline.device import Placement
from pipeline.pretrained import enough_memory, loaded, only_file
from pipeline.segment.by_prompts import PromptedSegmenter
from pipeline.segment.prompts import Ask, Prompt
from pipeline.types import U8, Mask

MODEL = "sam"
ARCHITECTURE = "vit_h"  # of sam_model_registry; the checkpoint's


class SamSegmenter(PromptedSegmenter):
    name = "sam"
    version = "2"
    model = MODEL

    def looking_at(self, image: U8) -> Ask:
        return looking_at(image, self._settings, self.name)


def looking_at(image: U8, settings: Mapping[str, Any], adapter: str) -> Ask:
    """Asks SAM about one picture (H, W, 3). The setting `architecture` names the checkpoint's: vit_h, vit_l, vit_b."""
    package = hub.require("segment_anything", adapter=adapter, extra="large")
    architecture = str(settings.get("architecture", ARCHITECTURE))
    placement = Placement.of({**settings, "dtype": "float32"})  # the package's own arithmetic

    def load(folder: Path) -> Any:
        checkpoint = str(only_file(folder, "*.pth"))
        return placement.apply(package.sam_model_registry[architecture](checkpoint=checkpoint))

    model = loaded(adapter, MODEL, f"segment_anything {architecture}", placement, load)
    predictor = package.SamPredictor(model)
    with enough_memory(adapter):
        predictor.set_image(image)

    def ask(prompt: Prompt) -> tuple[Mask, float]:
        points = np.vstack([prompt.inside, prompt.outside])
        labels = np.array([1] * len(prompt.inside) + [0] * len(prompt.outside))
        with enough_memory(adapter), torch.inference_mode():
            masks, scores, _ = predictor.predict(
                point_coords=points if len(points) else None,
                point_labels=labels if len(points) else None,
                box=prompt.box,
                multimask_output=prompt.box is None,
            )
        best = int(np.argmax(scores))
        return np.asarray(masks[best], dtype=bool), float(np.clip(scores[best], 0, 1))

    return ask
