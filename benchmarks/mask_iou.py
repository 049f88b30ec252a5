"""IoU of the `cpu` recipe's hand and object masks with masks drawn by hand, per photo.

    python benchmarks/mask_iou.py [--photos DIR] [--json]

The truth is in benchmarks/photo_masks (its README states the rules it was drawn by); the photographs are not ours to
ship and are looked up by sha256. A photo in which no hand is found, or whose hand has no masks, counts 0.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.adapters import load_adapter
from pipeline.photo import read_photo
from pipeline.recipe import Recipe
from pipeline.types import HandHints, Mask, Masks, Photo

HERE = Path(__file__).resolve().parent
TRUTH = HERE / "photo_masks"
PHOTOS = HERE.parents[1] / "shared" / "photos"
DATA_URL = "data:image/png;base64,"


@dataclass(frozen=True)
class Annotated:
    """One annotated photo: the masks of one hand and what it holds, (H, W) bool in the upright photo."""

    photo: str  # file name
    sha256: str  # of the file
    hand: Mask
    object: Mask


@dataclass(frozen=True)
class Score:
    """How the pair that fits one annotation best compares with it."""

    photo: str
    hands: int  # found in the photo
    hand_iou: float
    object_iou: float
    seconds: float  # of the segmenter


def read_annotation(path: Path) -> Annotated:
    """A Label Studio task with one annotation of two BitmaskLabels regions. Raises ValueError when it is not one."""
    task = json.loads(path.read_text())
    data, shape = task["data"], (task["data"]["height"], task["data"]["width"])
    masks = {}
    for region in task["annotations"][0]["result"]:
        url = region["value"]["imageDataURL"]
        if not url.startswith(DATA_URL):
            raise ValueError(f"{path.name}: a region is not a PNG data URL")
        image = Image.open(io.BytesIO(base64.b64decode(url.removeprefix(DATA_URL))))
        mask = np.asarray(image.convert("RGBA"))[..., 3] > 0
        if mask.shape != shape:
            raise ValueError(f"{path.name}: a mask of {mask.shape} for a photo of {shape}")
        masks[region["value"]["bitmasklabels"][0]] = mask
    return Annotated(data["photo"], data["sha256"], masks["hand"], masks["object"])


def annotated_photos() -> list[Annotated]:
    """All annotated photos, by file name."""
    return [read_annotation(path) for path in sorted(TRUTH.glob("*.json"))]


def photo_files(directory: Path) -> dict[str, Path]:
    """sha256 -> file, for the files of a folder."""
    files = (path for path in sorted(directory.iterdir()) if path.is_file())
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in files}


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union; 0 for two empty masks."""
    return float(np.count_nonzero(a & b) / max(1, np.count_nonzero(a | b)))


def _adapter(recipe: Recipe, stage: str) -> Any:
    settings = recipe.for_adapter(stage)
    return load_adapter(stage, settings["adapter"], settings)


def segment(photo: Photo, recipe: Recipe) -> tuple[list[Masks], int, float]:
    """The pairs of a photo, how many hands were found, and the seconds the segmenter took."""
    hands = _adapter(recipe, "detect").detect(photo, HandHints())
    began = time.perf_counter()
    answers = _adapter(recipe, "segment").segment(photo, hands) if hands else []
    pairs = [answer for answer in answers if isinstance(answer, Masks)]
    return pairs, len(hands), time.perf_counter() - began


def score(truth: Annotated, pairs: list[Masks], hands: int, seconds: float) -> Score:
    """Of several pairs, the one whose hand fits best is compared."""
    best = max(pairs, key=lambda pair: iou(pair.hand, truth.hand), default=None)
    if best is None:
        return Score(truth.photo, hands, 0.0, 0.0, seconds)
    return Score(truth.photo, hands, iou(best.hand, truth.hand), iou(best.object, truth.object), seconds)


def scores(directory: Path, recipe: Recipe) -> Iterator[Score]:
    """One score per annotated photo. Raises FileNotFoundError for a photo that is not in the folder."""
    files = photo_files(directory)
    for truth in annotated_photos():
        if truth.sha256 not in files:
            raise FileNotFoundError(f"{directory} has no file with the sha256 of {truth.photo}")
        photo = read_photo(files[truth.sha256].read_bytes(), truth.photo, max(truth.hand.shape))
        yield score(truth, *segment(photo, recipe))


def medians(table: list[Score]) -> dict[str, float]:
    """Medians over the photos."""
    return {k: statistics.median(getattr(row, k) for row in table) for k in ("hand_iou", "object_iou", "seconds")}


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of the photographs")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    options = parser.parse_args()
    table = []
    for row in scores(options.photos, Recipe.load("cpu")):
        table.append(row)
        line = f"{row.photo:40} {row.hands} hands  hand {row.hand_iou:.3f}  object {row.object_iou:.3f}"
        print(f"{line}  {row.seconds:5.1f} s", file=sys.stderr if options.json else sys.stdout, flush=True)
    middle = medians(table)
    if options.json:
        print(json.dumps({"photos": [asdict(row) for row in table], "median": middle}, indent=2))
    else:
        values = f"hand {middle['hand_iou']:.3f}  object {middle['object_iou']:.3f}  {middle['seconds']:5.1f} s"
        print(f"{'median':40}          {values}")


if __name__ == "__main__":
    main()
