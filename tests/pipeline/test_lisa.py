"""LISA as a segmenter: a real worker whose masks are those of a drawn scene, with everything it gets wrong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from foreign_model import asked, with_model

from pipeline.segment import lisa
from pipeline.types import F64, HandDetection, Mask, Masks, Photo

SIZE = (400, 600)
FINGERS = np.array([(-60, -20), (-75, -50), (-85, -80), (-90, -100)]), (25, -95), (5, -105), (-15, -100), (-35, -85)


def hand_at(x: float, y: float) -> F64:
    """(21, 2) an upright open hand of ~170 pixels, wrist at (x, y)."""
    points = [(0.0, 0.0), *[(0.55 * a, 0.75 * b) for a, b in FINGERS[0]]]
    for base_x, base_y in FINGERS[1:]:
        points += [(base_x, base_y - 22 * i) for i in range(4)]
    return np.add(points, [x, y])


def detection(keypoints: F64) -> HandDetection:
    return HandDetection(keypoints, np.zeros((21, 3)), 0.9, 0.9)


def skin(keypoints: F64, arm: float) -> Mask:
    """Bones with flesh, and so many pixels of forearm below the wrist."""
    canvas = np.zeros(SIZE, np.uint8)
    for finger in range(5):
        chain = [0, *range(1 + 4 * finger, 5 + 4 * finger)]
        cv2.polylines(canvas, [np.rint(keypoints[chain]).astype(np.int32)], False, 255, 20)
    x, y = keypoints[0]
    cv2.line(canvas, (int(x), int(y)), (int(x), int(y + arm)), 255, 40)
    return canvas > 0


@pytest.fixture
def scene() -> tuple[list[HandDetection], Mask, Mask]:
    """Two hands; what LISA takes for the held thing is a box at the first one, and a far-away blob."""
    hands = [hand_at(180, 300), hand_at(450, 300)]
    thing = np.zeros(SIZE, bool)
    thing[110:215, 215:300] = True
    thing[10:40, 10:60] = True
    return [detection(k) for k in hands], skin(hands[0], 100) | skin(hands[1], 100), thing


def test_its_two_masks_become_one_set_for_each_hand(
    scene: tuple[list[HandDetection], Mask, Mask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands, flesh, thing = scene
    answer = {"masks": np.stack([flesh, thing]).astype(np.uint8)}
    adapter = with_model(lisa.LisaSegmenter, answer, tmp_path / "model", monkeypatch)
    photo = Photo("two.jpg", "0" * 64, np.full((*SIZE, 3), 100, np.uint8))
    first, second = adapter.segment(photo, hands)
    assert isinstance(first, Masks)
    assert first.object[150, 280]
    assert not first.object[:60, :80].any()  # the blob touches no hand
    assert not (first.object & flesh).any()
    assert not first.hand[:, 350:].any()  # the other hand is another's
    assert not first.hand[380:].any()
    assert first.arm[385, 180]  # past the wrist
    assert isinstance(second, str)
    assert "touches" in second
    np.testing.assert_array_equal(asked(tmp_path / "model")["image"], photo.image)
    said = (tmp_path / "model" / "asked.json").read_text()
    assert "Please segment all hands in this image." in said
    assert "What is being held by the hand?" in said


def test_without_a_hand_every_hand_has_a_reason(
    scene: tuple[list[HandDetection], Mask, Mask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"masks": np.zeros((2, *SIZE), np.uint8)}
    adapter = with_model(lisa.LisaSegmenter, answer, tmp_path / "model", monkeypatch)
    photo = Photo("two.jpg", "0" * 64, np.zeros((*SIZE, 3), np.uint8))
    assert adapter.segment(photo, scene[0]) == ["LISA sees no hand"] * 2
    assert adapter.segment(photo, []) == []
