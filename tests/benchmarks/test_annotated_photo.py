"""The annotated photograph's truth in the pipeline's camera, on shapes made here."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmark_scripts import load
from PIL import Image

from pipeline.errors import NoHeldObject
from pipeline.geometry.camera import from_focal, project
from pipeline.recipe import Recipe
from pipeline.types import Edits, Photo

WIDTH, HEIGHT = 1280, 720


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load("annotated_photo")


def test_the_object_is_seen_where_the_annotation_saw_it(bench: ModuleType) -> None:
    rng = np.random.default_rng(0)
    vertices = np.array([0.3, -0.15, 2.0]) + rng.uniform(-0.1, 0.1, (50, 3))
    seen = WIDTH * (vertices[:, :2] / vertices[:, 2:] + 0.5)  # the annotation's camera: a square from the photo's top
    camera = from_focal(WIDTH, WIDTH, HEIGHT, "prior")
    turned = vertices @ bench.into_camera(vertices, camera).as_matrix().T
    moved = project(turned, camera.K) - seen
    assert np.linalg.norm(moved, axis=1).max() < 12  # both cameras see much the same picture
    assert np.linalg.norm(project(vertices, camera.K) - seen, axis=1).min() > 250
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(vertices, axis=1))


def test_a_camera_like_the_annotations_needs_no_turn(bench: ModuleType) -> None:
    vertices = np.array([0.3, -0.15, 2.0]) + np.random.default_rng(1).uniform(-0.1, 0.1, (50, 3))
    same = from_focal(WIDTH, WIDTH, WIDTH, "prior")
    assert bench.into_camera(vertices, same).magnitude() < 1e-9


def test_the_true_mask_is_given_to_the_right_hands_pair_without_its_hand(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, hand = np.zeros((2, 4, 6), bool)
    truth[:, 2:], hand[:2, 3:] = True, True
    pairs = [
        SimpleNamespace(
            hand=SimpleNamespace(side=side),
            masks=SimpleNamespace(hand=hand),
            completion=SimpleNamespace(amodal_mask=truth),
        )
        for side in ("left", "right")
    ]
    found = [SimpleNamespace(index=i, reconstruction=pair) for i, pair in enumerate([*pairs, None])]
    asked: list[tuple[int, Edits]] = []

    def again(_photo: Any, _recipe: Any, index: int, edits: Edits, cache: Any) -> str:
        asked.append((index, edits))
        return "made anew"

    monkeypatch.setattr(bench, "annotate_photo", lambda *_, **__: found)
    monkeypatch.setattr(bench, "reoptimise", again)
    recipe = Recipe.load("cpu")
    assert bench.answer(None, recipe, truth, given=False) == (2, found[1])
    assert not asked
    assert bench.answer(None, recipe, truth, given=True) == (2, "made anew")
    ((index, edits),) = asked
    assert index == 1
    np.testing.assert_array_equal(edits.object_mask, truth & ~hand)
    assert edits.hand_mask is None


def test_a_photo_without_a_pair_is_one_line(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing_held(photo: Photo, *_: Any, **__: Any) -> None:
        raise NoHeldObject(f"{photo.name}: the hand holds nothing")

    def ends(folder: Path) -> str:
        with pytest.raises(SystemExit) as ended:
            bench.main(["--folder", str(folder)])
        return str(ended.value.code)  # a text is printed to stderr, with exit code 1

    for name in ("image.jpg", "object_mask_from_annotation.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
    (tmp_path / "annotation.json").write_text("{}")
    monkeypatch.setattr(bench, "annotate_photo", nothing_held)
    assert ends(tmp_path) == "error: image.jpg: the hand holds nothing"
    assert "nosuch" in ends(tmp_path / "nosuch")
