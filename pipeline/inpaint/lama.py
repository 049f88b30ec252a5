"""LaMa (Suvorov et al. 2022): Fourier convolutions that carry texture into holes; also quick on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.device import Placement
from pipeline.inpaint.generative import GenerativeInpainter
from pipeline.pretrained import enough_memory, loaded, only_file
from pipeline.types import U8, Mask


class LamaInpainter(GenerativeInpainter):
    """The usual TorchScript export, big-lama.pt: picture in 0..1 and hole -> picture. No prompt, no chance."""

    name = "lama"
    version = "1"
    model = "lama"

    def paint(self, image: U8, hole: Mask, generator: torch.Generator) -> U8:
        placement = Placement.of({**self.settings, "dtype": "float32"})  # its Fourier transforms know no other

        def load(folder: Path) -> Any:
            return torch.jit.load(only_file(folder, "*.pt"), map_location=placement.torch_device).eval()

        fill = loaded(self.name, self.model, "a TorchScript LaMa", placement, load)
        picture = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        where = torch.from_numpy(hole)[None, None].float()
        with enough_memory(self.name), torch.inference_mode():
            answer = fill(picture.to(placement.torch_device), where.to(placement.torch_device))
        levels = answer[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte()
        return np.asarray(levels.cpu().numpy())
