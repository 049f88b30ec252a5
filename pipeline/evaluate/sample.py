"""Which cases of a data set are measured: drawn by a seed among those that are held (paper 4.2), or listed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluate.datasets import BadDataset, NotHeld, Reader
from pipeline.evaluate.holding import RULE, is_held

COLUMNS = ("name", "img_path", "imgname", "image", "path")  # of a CSV list, the first that is there


@dataclass(frozen=True)
class Sample:
    """The chosen cases and how they were chosen."""

    names: tuple[str, ...]
    rule: str
    listed: int  # cases the data set has
    looked_at: int  # of them, to find the chosen ones
    not_held: int  # left out by the rule


def draw(
    reader: Reader, root: Path, n: int, seed: int, held_only: bool, looked: Callable[[int, int], None] | None = None
) -> Sample:
    """n cases in a drawn order; a prefix of what a larger n gives. `looked(found, seen)` tells of the progress."""
    everything = list(reader.names(root))
    order = np.random.default_rng(seed).permutation(len(everything))
    if not held_only:
        chosen = tuple(everything[i] for i in order[:n])
        return Sample(chosen, f"drawn with seed {seed}", len(everything), len(chosen), 0)
    names: list[str] = []
    seen = 0
    for i in order:
        if len(names) == n:
            break
        seen += 1
        try:
            if is_held(reader.load(root, everything[i])):
                names.append(everything[i])
        except NotHeld:
            pass
        if looked is not None:
            looked(len(names), seen)
    return Sample(tuple(names), f"drawn with seed {seed}; held: {RULE}", len(everything), seen, seen - len(names))


def listed(reader: Reader, file: Path) -> Sample:
    """The cases of a published list: text with a name or a photo's path a line, a CSV with such a column, or JSON."""
    names = tuple(dict.fromkeys(name for entry in _entries(file) for name in reader.named(entry)))
    if not names:
        raise BadDataset(f"{file}: lists no case")
    return Sample(names, f"listed in {file.name}", len(names), len(names), 0)


def usable(sample: Sample, reader: Reader, root: Path) -> Sample:
    """A sample that nothing was asked of, without the frames that show no hand with an object."""
    names = tuple(name for name in sample.names if _shows_both(reader, root, name))
    return replace(sample, names=names, not_held=len(sample.names) - len(names))


def _shows_both(reader: Reader, root: Path, name: str) -> bool:
    try:
        reader.load(root, name)
    except NotHeld:
        return False
    return True


def _entries(file: Path) -> list[Any]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return list(json.loads(text))
    except (OSError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise BadDataset(f"{file}: not a list that can be read ({error})") from error
    if file.suffix != ".csv":
        return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = list(csv.DictReader(text.splitlines()))
    column = next((name for name in COLUMNS if rows and name in rows[0]), None)
    if column is None:
        raise BadDataset(f"{file}: has none of the columns {', '.join(COLUMNS)}")
    return [row[column] for row in rows]
