"""A photo as SAM 2 and SAM 3 take it: squeezed into a square, normalised. Their own processors need torchvision."""

from __future__ import annotations

import torch

from pipeline.types import F64, U8


def square(image: U8, side: int, mean: tuple[float, float, float], std: tuple[float, float, float]) -> torch.Tensor:
    """(1, 3, side, side) float32 from an RGB picture (H, W, 3); both axes are scaled on their own."""
    planes = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(planes, (side, side), mode="bilinear", antialias=True)
    scaled = small.round().clamp(0, 255) / 255
    centre, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    return (scaled - centre) / spread


def into_square(points: F64, image: U8, side: int) -> F64:
    """Pixels of the picture (..., 2) -> pixels of the square."""
    return points * (side / image.shape[1], side / image.shape[0])


def from_square(logits: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """(N, h, w) logits of the square -> (N, H, W) of the picture, float32 on the CPU."""
    planes = logits.float().cpu()[None]
    return torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=False)[0]
