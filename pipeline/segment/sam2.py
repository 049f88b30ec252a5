"""SAM 2 (Ravi et al. 2024) through transformers, pointed at things by boxes and points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipeline.device import Placement
from pipeline.pretrained import enough_memory, pretrained
from pipeline.segment.by_prompts import PromptedSegmenter
from pipeline.segment.prompts import Ask, Prompt
from pipeline.segment.square import from_square, into_square, square
from pipeline.types import U8, Mask

MODEL = "sam2"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Sam2Segmenter(PromptedSegmenter):
    name = "sam2"
    version = "2"
    model = MODEL

    def looking_at(self, image: U8) -> Ask:
        return looking_at(image, self._settings, self.name)


def looking_at(image: U8, settings: Mapping[str, Any], adapter: str) -> Ask:
    """Asks SAM 2 about one picture (H, W, 3), which is encoded with the first question."""

    def in_place() -> Any:  # for every question: another model may have needed its room meanwhile
        return pretrained(adapter, MODEL, "transformers", "Sam2Model", settings)

    model, device = in_place(), Placement.of(settings).torch_device
    side = int(model.config.prompt_encoder_config.image_size)
    encoded: dict[str, Any] = {"pixel_values": square(image, side, MEAN, STD).to(device, model.dtype)}

    def ask(prompt: Prompt) -> tuple[Mask, float]:
        asked = {**encoded, **_inputs(prompt, image, side, device)}
        with enough_memory(adapter), torch.inference_mode():
            answer = in_place()(**asked, multimask_output=prompt.box is None)
        encoded.clear()
        encoded["image_embeddings"] = answer.image_embeddings
        scores = answer.iou_scores[0, 0].float().cpu()
        best = int(scores.argmax())
        mask = from_square(answer.pred_masks[0, 0, best : best + 1], image.shape[:2])[0] > 0
        return mask.numpy(), float(np.clip(scores[best], 0, 1))

    return ask


def _inputs(prompt: Prompt, image: U8, side: int, device: torch.device) -> dict[str, torch.Tensor]:
    points = into_square(np.vstack([prompt.inside, prompt.outside]), image, side)
    labels = [1] * len(prompt.inside) + [0] * len(prompt.outside)
    inputs = {}
    if labels:
        inputs["input_points"] = torch.tensor(points[None, None], dtype=torch.float32, device=device)
        inputs["input_labels"] = torch.tensor([[labels]], device=device)
    if prompt.box is not None:
        box = into_square(prompt.box.reshape(2, 2), image, side).reshape(1, 1, 4)
        inputs["input_boxes"] = torch.tensor(box, dtype=torch.float32, device=device)
    return inputs
