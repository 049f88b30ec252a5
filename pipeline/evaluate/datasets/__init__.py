"""Public data sets with ground truth, each read where it lies, in its own layout.

    root folder --names()--> names of cases, cheap and in order       (no MANO, no photo is opened)
    root, name  --load()---> Case: photo, K, side, hand, object, pose   (one frame's files are read and checked)

One module per data set; `reader(name)` finds it. Everything comes out in this project's conventions: metres, OpenCV
camera frame, OpenPose joints, pixel (0.5, 0.5) in the middle of the first pixel. A wrong root, a missing file and a
wrong unit are one line that names them (BadDataset); a frame that has no hand or no object is NotHeld, and passed over.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

from pipeline.evaluate.datasets.case import BadDataset, Case, NotHeld

DATASETS = ("arctic", "oakink", "dexycb", "ho3d", "obman", "rendered")

__all__ = ["DATASETS", "BadDataset", "Case", "NotHeld", "Reader", "reader"]


class Reader(Protocol):
    """What a module of this package offers."""

    def names(self, root: Path) -> Iterator[str]:
        """All cases below a root, in a fixed order, as they are found. Raises BadDataset."""

    def load(self, root: Path, name: str) -> Case:
        """One case. Raises BadDataset, or NotHeld when the frame shows no hand with an object."""

    def named(self, entry: Any) -> list[str]:
        """The cases that an entry of a published list means: a photo's path, or what the data set itself lists."""


def reader(dataset: str) -> Reader:
    """The reader of a data set. Raises BadDataset for one that is not known."""
    if dataset not in DATASETS:
        raise BadDataset(f"dataset '{dataset}': not known; use one of {', '.join(DATASETS)}")
    return cast("Reader", importlib.import_module(f"pipeline.evaluate.datasets.{dataset}"))
