"""What every segmenter answers: for each detected hand its visible masks, or the reason why there are none."""

from __future__ import annotations

from typing import Protocol

from pipeline.types import HandDetection, Masks, Photo


class Segmenter(Protocol):
    """Separates each hand, what it holds and its forearm from the rest of the photo (METHOD 1.1)."""

    name: str
    version: str

    @property
    def weights_digest(self) -> str:
        """sha256 of the weights in use, or '' without weights."""
        ...

    def segment(self, photo: Photo, hands: list[HandDetection]) -> list[Masks | str]:
        """One entry per hand, in order: its masks at photo size, or one line saying why it has none."""
        ...
