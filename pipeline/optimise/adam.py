"""Adam for a few dozen numbers, where the bookkeeping of `torch.optim` costs more than the arithmetic."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import torch

from pipeline.types import F64

Numbers = TypeVar("Numbers", F64, torch.Tensor)


class Adam(Generic[Numbers]):
    """Steps as `torch.optim.Adam` takes them; the rate falls along a cosine to the share `last` after `steps`.

    rate: one, or one per number.
    """

    def __init__(self, rate: float | Numbers, steps: int, last: float) -> None:
        self.rate: float | Numbers = rate
        self.steps, self.last, self.taken = max(1, steps), last, 0
        self.mean: float | Numbers = 0.0
        self.square: float | Numbers = 0.0

    def __call__(self, slope: Numbers) -> Numbers:
        """What to subtract, given the gradient there."""
        share = self.last + (1 - self.last) * (1 + math.cos(math.pi * self.taken / self.steps)) / 2
        self.taken += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope**2
        mean, square = self.mean / (1 - 0.9**self.taken), self.square / (1 - 0.999**self.taken)
        step: Numbers = self.rate * share * mean / (square**0.5 + 1e-8)
        return step
