"""Masks that a person or another program made: PNGs named after the photo.

FOLDER/cup.hand.png  cup.object.png  [cup.arm.png]              a photo cup.jpg of one hand
FOLDER/cup.hand1.png cup.object1.png ... cup.hand2.png ...      of several; numbers only tell them apart
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.errors import PipelineError
from pipeline.segment.prompts import on_photo, under
from pipeline.types import HandDetection, Mask, Masks, Photo

LEVEL = 0.5  # of the brightest value: above it is inside, so that 0 and 1 will do as well as 0 and 255


class BadMask(PipelineError):
    """A given mask is missing, unreadable, of another size or empty."""


class GivenMasks:
    """Masks from the PNGs in the setting `folder`, which is the folder of the photos or any other."""

    name = "masks"
    version = "1"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._folder = Path(str(settings.get("folder", "."))).expanduser()

    @property
    def weights_digest(self) -> str:
        """Of the PNGs in the folder, as far as their names, sizes and dates tell: a new mask is a new result."""
        files = sorted(self._folder.glob("*.png"))
        told = [(p.name, s.st_size, s.st_mtime_ns) for p in files for s in [p.stat()]]
        return hashlib.sha256(repr(told).encode()).hexdigest() if told else ""

    def segment(self, photo: Photo, hands: list[HandDetection]) -> list[Masks | str]:
        """One entry per hand: the masks that hold most of its keypoints, or why it has none."""
        stem = Path(photo.name).stem
        numbers = sorted(
            match[1]
            for p in self._folder.glob("*.png")
            if (match := re.fullmatch(re.escape(stem) + r"\.hand(\d*)\.png", p.name))
        )
        if not numbers:
            raise BadMask(f"{photo.name}: no {stem}.hand.png in {self._folder.resolve()}")
        given = [self._read(photo, stem, number) for number in numbers]
        return [_of_hand(i, hand, given, self._folder) for i, hand in enumerate(hands)]

    def _read(self, photo: Photo, stem: str, number: str) -> Masks:
        hand, obj = (self._mask(photo, f"{stem}.{what}{number}.png") for what in ("hand", "object"))
        arm: Mask = np.zeros(photo.size, dtype=bool)
        if (self._folder / f"{stem}.arm{number}.png").is_file():
            arm = self._mask(photo, f"{stem}.arm{number}.png")
        return Masks(hand, obj & ~hand, arm & ~hand & ~obj, notes=("masks as given",))

    def _mask(self, photo: Photo, name: str) -> Mask:
        path = self._folder / name
        try:
            with Image.open(path) as image:
                grey = np.asarray(image.convert("L"))
        except FileNotFoundError as error:
            raise BadMask(f"{photo.name}: no {name} in {self._folder.resolve()}") from error
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise BadMask(f"{path}: not a PNG that can be read; save it again") from error
        height, width = photo.size
        if abs(grey.shape[0] * width - grey.shape[1] * height) > max(*grey.shape, width, height):
            raise BadMask(
                f"{path}: {grey.shape[1]}x{grey.shape[0]} pixels do not lie on the photo, which is {width}x{height} "
                "upright at working size; draw the mask on the photo itself"
            )
        if not grey.any():
            raise BadMask(f"{path}: the mask is empty; paint the {name.split('.')[-2].rstrip('0123456789')} white")
        level = LEVEL * float(grey.max())
        return np.asarray(cv2.resize(grey.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > level)


def _of_hand(index: int, hand: HandDetection, given: list[Masks], folder: Path) -> Masks | str:
    hits = [int(under(m.hand, on_photo(hand.keypoints, m.hand.shape)).sum()) for m in given]
    best = int(np.argmax(hits))
    if not hits[best]:
        return f"hand {index + 1}: no hand mask in {folder} holds its keypoints"
    return given[best]
