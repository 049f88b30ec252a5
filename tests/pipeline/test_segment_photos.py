"""A few real photographs (never committed), with keypoints as a person would give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.inpaint.silhouette import SilhouetteInpainter
from pipeline.photo import read_photo
from pipeline.segment.landmark import LandmarkSegmenter
from pipeline.types import HandDetection, Mask, Masks, Photo
from pipeline.weights import is_cached

PHOTOS = Path(__file__).parents[3] / "shared" / "photos"

# Keypoints in pixels; box of the object (x0, y0, x1, y1) as fractions of the photo, read off by eye.
CASES = {
    "hort_test2.jpg": (
        [
            (226, 313),
            (219, 283),
            (202, 259),
            (184, 248),
            (168, 244),
            (163, 242),
            (141, 219),
            (132, 205),
            (126, 195),
            (158, 252),
            (134, 227),
            (128, 215),
            (123, 203),
            (154, 267),
            (131, 250),
            (130, 245),
            (134, 240),
            (155, 285),
            (137, 275),
            (137, 270),
            (145, 264),
        ],
        (0.29, 0.505, 0.495, 0.745),
    ),
    "grocery_09_Arla-Natural-Yoghurt_042.jpg": (
        [
            (39, 291),
            (51, 240),
            (79, 200),
            (126, 187),
            (163, 181),
            (89, 156),
            (106, 114),
            (120, 92),
            (132, 75),
            (111, 178),
            (146, 153),
            (163, 155),
            (177, 157),
            (125, 204),
            (158, 184),
            (168, 189),
            (180, 192),
            (131, 231),
            (157, 211),
            (167, 208),
            (174, 204),
        ],
        (0.295, 0.115, 0.665, 0.835),
    ),
    "grocery_24_Aubergine_004.jpg": (
        [
            (-69, 349),
            (-23, 268),
            (44, 199),
            (107, 163),
            (163, 139),
            (128, 197),
            (205, 151),
            (251, 125),
            (285, 110),
            (137, 228),
            (220, 177),
            (260, 151),
            (298, 131),
            (135, 266),
            (209, 221),
            (246, 194),
            (281, 169),
            (124, 308),
            (181, 277),
            (207, 257),
            (233, 231),
        ],
        (0.245, 0.22, 0.915, 0.78),
    ),
}

pytestmark = [
    pytest.mark.photos,
    pytest.mark.weights,
    pytest.mark.skipif(not PHOTOS.is_dir(), reason="no photographs in ../shared/photos"),
    pytest.mark.skipif(not is_cached("isnet"), reason="no ISNet weights: hoi-annotate models pull cpu"),
]


def segmented(name: str) -> tuple[Photo, Masks]:
    photo = read_photo((PHOTOS / name).read_bytes(), name)
    keypoints = np.array(CASES[name][0], dtype=np.float64)
    (masks,) = LandmarkSegmenter({"threads": 1}).segment(photo, [HandDetection(keypoints, np.zeros((21, 3)), 1.0, 0.5)])
    assert isinstance(masks, Masks), masks
    return photo, masks


def box(mask: Mask) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    height, width = mask.shape
    return np.array([xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height])


@pytest.mark.parametrize("name", CASES)
def test_object_lies_in_its_box(name: str) -> None:
    photo, masks = segmented(name)
    assert masks.object.shape == photo.size
    assert np.abs(box(masks.object) - CASES[name][1]).max() < 0.05
    assert not (masks.hand & masks.object).any()
    assert masks.notes == ()


def test_completion_keeps_the_photo_and_covers_the_thumb() -> None:
    name = "grocery_09_Arla-Natural-Yoghurt_042.jpg"
    photo, masks = segmented(name)
    done = SilhouetteInpainter({}).complete(photo, masks)
    assert (done.image[masks.object] == photo.image[masks.object]).all()
    hidden = done.amodal_mask & ~masks.object
    assert (hidden & masks.hand).sum() > 0.7 * hidden.sum() > 0
