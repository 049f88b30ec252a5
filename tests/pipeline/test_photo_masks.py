"""The hand-drawn masks of real photographs, and how well the `cpu` recipe's masks agree with them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmark_scripts import load

from pipeline.recipe import Recipe
from pipeline.types import Masks
from pipeline.weights import RECIPES, is_cached

# Reached: hand 0.908, object 0.882. The recipe is deterministic; between machines the networks' last bits differ.
# Rounding the foreground maps to 8 bits, which is more, moved one photo's IoU by 0.016: that is allowed here.
HAND_FLOOR, OBJECT_FLOOR = 0.908 - 0.016, 0.882 - 0.016


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load("mask_iou")


def test_ten_photos_with_two_masks_each(bench: ModuleType) -> None:
    drawn = bench.annotated_photos()
    assert len(drawn) == 10
    assert len({truth.sha256 for truth in drawn}) == 10
    for truth in drawn:
        assert truth.hand.dtype == truth.object.dtype == bool
        assert truth.hand.shape == truth.object.shape
        assert not (truth.hand & truth.object).any()
        assert min(truth.hand.mean(), truth.object.mean()) > 0.01


def test_a_mask_of_another_size_is_refused(bench: ModuleType, tmp_path: Path) -> None:
    text = next(iter(sorted(bench.TRUTH.glob("*.json")))).read_text()
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text.replace('"width": ', '"width": 1'))
    with pytest.raises(ValueError, match=r"wrong\.json"):
        bench.read_annotation(wrong)


def test_iou(bench: ModuleType) -> None:
    a, b = np.zeros((2, 10, 10), bool)
    a[:, :6], b[:, 4:] = True, True
    assert bench.iou(a, b) == pytest.approx(0.2)
    assert bench.iou(a, a) == 1.0
    assert bench.iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0.0


def test_the_pair_with_the_best_hand_is_compared(bench: ModuleType) -> None:
    left, right, none = np.zeros((3, 10, 10), bool)
    left[:, :5], right[:, 5:] = True, True
    truth = bench.Annotated("x.jpg", "", right, left)
    row = bench.score(truth, [Masks(left, right, none), Masks(right, left, none)], 2, 1.0)
    assert (row.hand_iou, row.object_iou) == (1.0, 1.0)
    nothing = bench.score(truth, [], 0, 0.0)
    assert (nothing.hand_iou, nothing.object_iou) == (0.0, 0.0)


@pytest.mark.photos
def test_masks_belong_to_their_photos(bench: ModuleType) -> None:
    if not bench.PHOTOS.is_dir():
        pytest.skip("no photographs in ../shared/photos")
    for truth in bench.annotated_photos():
        assert hashlib.sha256((bench.PHOTOS / truth.photo).read_bytes()).hexdigest() == truth.sha256


@pytest.mark.photos
@pytest.mark.weights
@pytest.mark.slow
def test_medians_hold(bench: ModuleType) -> None:
    if not bench.PHOTOS.is_dir():
        pytest.skip("no photographs in ../shared/photos")
    if not all(is_cached(name) for name in RECIPES["cpu"]):
        pytest.skip("no weights: hoi-annotate models pull cpu")
    middle = bench.medians(list(bench.scores(bench.PHOTOS, Recipe.load("cpu"))))
    assert middle["hand_iou"] > HAND_FLOOR
    assert middle["object_iou"] > OBJECT_FLOOR
