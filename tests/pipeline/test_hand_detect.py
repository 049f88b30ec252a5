"""The detector: its geometry without weights, its answers with weights on real photographs."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline import weights
from pipeline.errors import NoHandFound
from pipeline.hand.consensus import Candidate, distance, overlap
from pipeline.hand.mediapipe import MediapipeDetector
from pipeline.hand.proposals import Box, border_boxes, likely_boxes, regions_of, views
from pipeline.hand.regions import Pyramid, Region
from pipeline.types import HandBox, HandHints, Photo

PHOTOS = Path(__file__).parents[2].parent / "shared" / "photos"
NO_HINTS = HandHints()


@pytest.fixture
def detector():
    if not (weights.is_cached("hand_detector") and weights.is_cached("hand_landmarks")):
        pytest.skip("no hand weights: run hoi-annotate models pull cpu")
    return MediapipeDetector({})


def load_photo(start: str) -> Photo:
    from PIL import Image, ImageOps

    found = sorted(PHOTOS.glob(f"{start}*.jpg"))
    if not found:
        pytest.skip(f"no photograph {start}* in {PHOTOS}")
    image = ImageOps.exif_transpose(Image.open(found[0])).convert("RGB")
    image.thumbnail((1280, 1280))
    return Photo(found[0].name, "", np.asarray(image))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 1.1, -2.5])
def test_regions_cut_what_they_point_at(angle, mirrored):
    image = np.zeros((300, 400, 3), np.uint8)
    image[118:123, 248:253] = 255  # centred on the position (250.5, 120.5)
    region = Region(230.0, 140.0, 160.0, angle, mirrored)
    crop = Pyramid(image).cut(region, 160)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    spot = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    assert np.allclose(region.to_photo(spot, 160), (250.5, 120.5), atol=0.5)


def test_large_regions_are_cut_without_aliasing():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = Pyramid(stripes).cut(Region(512, 512, 1024), 128)
    assert abs(crop[8:-8, 8:-8].astype(int) - 127).max() < 10


def test_regions_beyond_the_photo_are_black():
    crop = Pyramid(np.full((100, 100, 3), 200, np.uint8)).cut(Region(50, 50, 200), 100)
    assert crop[50, 50, 0] == 200
    assert crop[5, 5, 0] == 0


def test_views_cover_the_photo_and_zoom_out():
    regions = views(600, 800)
    assert {round(r.angle, 2) for r in regions} == {0.0, 1.57, 3.14, 4.71}
    assert max(r.size for r in regions) == 1600
    assert any(r.mirrored for r in regions)


def test_box_regions_look_from_every_side():
    regions = list(regions_of(Box(10, 20, 50, 100), (1.2, 1.6), 12))
    assert len(regions) == 2 * 12 * 2
    assert all((r.cx, r.cy) == (30, 60) for r in regions)
    assert {round(r.size) for r in regions} == {96, 128}


def test_search_starts_at_skin():
    image = np.full((300, 400, 3), (40, 60, 200), np.uint8)
    image[100:220, 150:260] = (205, 150, 125)
    first = likely_boxes(image)[0]
    assert overlap(np.array([[150, 100], [260, 220]]), np.array([[first.x0, first.y0], [first.x1, first.y1]])) > 0.9


def test_the_last_search_looks_half_beyond_every_side():
    boxes = border_boxes(300, 400)
    assert {box.centre for box in boxes} == {(0, 150), (400, 150), (200, 300), (200, 0)}
    assert all(box.side == pytest.approx(320) for box in boxes)


def test_agreement_lowers_the_score_of_answers_that_differ():
    hand = np.random.default_rng(0).uniform(0, 100, (21, 2))
    same, torn = (Candidate(hand, np.zeros((21, 3)), 0.9, spread, 0.5) for spread in (0.01, 0.15))
    assert same.score > 0.8 > 0.3 > torn.score
    assert distance(hand, hand) == 0
    assert distance(hand, hand + np.array([10, 0])) == pytest.approx(10 / np.ptp(hand, axis=0).max())


@pytest.mark.weights
@pytest.mark.photos
@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "right", "wrist", "middle_tip"),
    [  # where wrist and middle fingertip are, as fractions of width and height, by eye
        ("easyhoi_coffee-1", True, (0.11, 0.73), (0.76, 0.48)),
        ("hort_test6", True, (0.22, 0.68), (0.47, 0.60)),
        ("grocery_24", False, (-0.15, 0.95), (0.88, 0.22)),
        ("easyhoi_game-controller", False, (0.28, 1.1), (0.33, 0.23)),
    ],
)
def test_finds_hands_that_hold_things(detector, start, right, wrist, middle_tip):
    photo = load_photo(start)
    hands = detector.detect(photo, NO_HINTS)
    assert len(hands) == 1
    hand = hands[0]
    size = np.array(photo.size[::-1])
    assert (hand.right_score > 0.5) == right
    assert hand.presence > 0.4
    assert hand.side is None
    extent = np.ptp(hand.keypoints, axis=0).max()
    assert np.linalg.norm(hand.keypoints[0] - wrist * size) < 0.25 * extent
    assert np.linalg.norm(hand.keypoints[12] - middle_tip * size) < 0.25 * extent
    assert 0.06 < np.linalg.norm(hand.world[9] - hand.world[0]) < 0.13  # metres


@pytest.mark.weights
@pytest.mark.photos
@pytest.mark.slow
@pytest.mark.parametrize("start", ["hamer_test2", "hands23"])
def test_finds_both_hands(detector, start):
    hands = detector.detect(load_photo(start), NO_HINTS)
    assert len(hands) == 2
    areas = [np.ptp(hand.keypoints, axis=0).prod() for hand in hands]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.weights
@pytest.mark.photos
@pytest.mark.slow
def test_finds_a_hand_that_the_border_cuts_in_two(detector):
    """Nothing is found around skin or in the frame: the wrist is far outside, the fingers behind what they hold."""
    hands = detector.detect(load_photo("grocery_26"), NO_HINTS)
    assert len(hands) == 1
    assert hands[0].right_score < 0.5
    assert hands[0].keypoints[0, 0] < -20
    assert np.linalg.norm(hands[0].keypoints[4] - (215, 298)) < 30  # the thumb's tip, by eye
    assert np.linalg.norm(hands[0].keypoints[8] - (210, 78)) < 40  # the index finger's


@pytest.mark.weights
@pytest.mark.photos
def test_a_box_is_looked_at_alone(detector):
    photo = load_photo("grocery_26")
    index = json.loads((PHOTOS / "INDEX.json").read_text())
    assert any(entry["file"] == photo.name for entry in index["photos"])
    hand = detector.detect(photo, HandHints(boxes=(HandBox(0, 60, 240, 340, "left"),)))[0]
    assert (hand.source, hand.side) == ("box", "left")
    assert np.linalg.norm(hand.keypoints[4] - (215, 298)) < 30  # the thumb's tip, by eye
    assert np.linalg.norm(hand.keypoints[8] - (210, 78)) < 40  # the index finger's


@pytest.mark.weights
@pytest.mark.photos
def test_keypoints_of_a_person_are_used_as_they_are(detector):
    photo = load_photo("hort_test6")
    keypoints = np.random.default_rng(0).uniform(100, 200, (21, 2))
    hints = HandHints(keypoints=(keypoints,), sides=("right",))
    hand = detector.detect(photo, hints)[0]
    assert np.array_equal(hand.keypoints, keypoints)
    assert (hand.source, hand.side, hand.presence) == ("keypoints", "right", 1.0)
    assert not hand.world.any()  # the network sees no such hand


@pytest.mark.weights
@pytest.mark.slow
def test_a_wall_has_no_hands(detector):
    photo = Photo("wall.jpg", "", np.full((240, 320, 3), 127, np.uint8))
    assert detector.detect(photo, NO_HINTS) == []
    with pytest.raises(NoHandFound, match=r"wall\.jpg: no hand recognised in the given box"):
        detector.detect(photo, HandHints(boxes=(HandBox(50, 50, 200, 200),)))


@pytest.mark.weights
@pytest.mark.photos
@pytest.mark.slow
def test_same_photo_same_hands(detector):
    photo = load_photo("hort_test6")
    first, second = (detector.detect(photo, NO_HINTS)[0] for _ in range(2))
    assert np.array_equal(first.keypoints, second.keypoints)
    assert np.array_equal(first.world, second.world)
