"""Masks of drawn scenes, where every pixel's owner is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from pipeline.segment import landmark
from pipeline.segment.hand_mask import hand_evidence
from pipeline.segment.landmark import LandmarkSegmenter, segment_scene
from pipeline.segment.object_mask import contour_filter, find_forearm
from pipeline.segment.scene import Scene
from pipeline.types import HandDetection, Mask, Masks, Photo

HEIGHT, WIDTH = 480, 640
METRE = 1600.0  # pixels
SKIN, BOX, WALL = (205, 150, 120), (40, 90, 170), (110, 125, 115)

# A right hand from below, its fingers laid across the object, the thumb on the near side.
HAND = np.array(
    [
        *[(330, 390)],  # wrist
        *[(295, 350), (270, 315), (252, 285), (240, 258)],  # thumb
        *[(318, 262), (312, 222), (308, 192), (305, 168)],
        *[(342, 260), (342, 215), (342, 182), (342, 155)],
        *[(365, 268), (370, 226), (373, 196), (375, 172)],
        *[(385, 285), (395, 252), (401, 230), (406, 210)],
    ],
    dtype=np.float64,
)
RADII = (17, 15, 15, 14, 12)  # pixels, thumb .. little


@dataclass(frozen=True)
class Drawn:
    photo: Photo
    detection: HandDetection
    hand: Mask
    object: Mask
    arm: Mask

    @property
    def foreground(self) -> Mask:
        return self.hand | self.object | self.arm


def draw_hand(keypoints: np.ndarray) -> tuple[Mask, Mask]:
    """Hand and forearm as a person would paint them: fingers with round ends, the palm, the arm to the border."""
    hand, arm = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    p = np.round(keypoints).astype(np.int32)
    cv2.fillPoly(hand, [cv2.convexHull(p[[0, 1, 5, 9, 13, 17]])], 1)
    cv2.polylines(hand, [cv2.convexHull(p[[0, 1, 5, 9, 13, 17]])], True, 1, 30)
    for finger, radius in enumerate(RADII):
        cv2.polylines(hand, [p[1 + 4 * finger : 5 + 4 * finger]], False, 1, 2 * radius)
    down = np.array([[p[0, 0] - 38, p[0, 1] + 14], [p[0, 0] + 38, p[0, 1] + 14]])
    cv2.fillPoly(arm, [np.array([*down, (p[0, 0] + 45, HEIGHT), (p[0, 0] - 45, HEIGHT)], np.int32)], 1)
    return hand > 0, (arm > 0) & ~(hand > 0)


def detection(keypoints: np.ndarray) -> HandDetection:
    world = np.zeros((21, 3))
    world[:, :2] = (keypoints - keypoints[0]) / METRE
    return HandDetection(keypoints, world, presence=0.95, right_score=0.9)


def paint(layers: list[tuple[Mask, tuple[int, int, int]]]) -> np.ndarray:
    """Flat colours, soft light from the left, and the grain of a camera."""
    image = np.full((HEIGHT, WIDTH, 3), WALL, np.float64)
    for mask, colour in layers:
        image[mask] = colour
    image *= np.linspace(1.1, 0.85, WIDTH)[None, :, None]
    image += np.random.default_rng(3).normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def draw_scene(box: tuple[int, int, int, int] | None, colour: tuple[int, int, int] = BOX) -> Drawn:
    hand, arm = draw_hand(HAND)
    obj = np.zeros((HEIGHT, WIDTH), bool)
    if box is not None:
        x0, y0, x1, y1 = box
        obj[y0:y1, x0:x1] = True
    obj &= ~hand & ~arm
    image = paint([(obj, colour), (hand, SKIN), (arm, SKIN)])
    return Drawn(Photo("drawn.png", "0" * 64, image), detection(HAND), hand, obj, arm)


BEHIND_FINGERS = (245, 60, 420, 250)


@pytest.fixture(scope="module")
def held() -> Drawn:
    return draw_scene(BEHIND_FINGERS)


def soft(mask: Mask) -> np.ndarray:
    """A foreground map as a network would draw it: blurred at the contour."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2)


def segment(drawn: Drawn, *maps: Mask) -> Masks | str:
    scene = Scene.of(drawn.photo, [drawn.detection])
    return segment_scene(scene, np.stack([soft(m) for m in maps]))[0]


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_separates_hand_object_and_arm(held: Drawn) -> None:
    masks = segment(held, held.foreground)
    assert isinstance(masks, Masks)
    assert iou(masks.hand, held.hand) > 0.9
    assert iou(masks.object, held.object) > 0.93
    assert iou(masks.arm, held.arm) > 0.75


def test_masks_are_disjoint_bool_and_of_photo_size(held: Drawn) -> None:
    masks = segment(held, held.foreground)
    assert isinstance(masks, Masks)
    for mask in (masks.hand, masks.object, masks.arm):
        assert mask.dtype == bool
        assert mask.shape == held.photo.size
    assert not (masks.hand & masks.object).any()
    assert not (masks.hand & masks.arm).any()
    assert not (masks.object & masks.arm).any()
    assert 0 < masks.score <= 1


def test_same_bytes_every_time(held: Drawn) -> None:
    first, second = (segment(held, held.foreground) for _ in range(2))
    assert isinstance(first, Masks)
    assert isinstance(second, Masks)
    assert (first.hand == second.hand).all()
    assert (first.object == second.object).all()
    assert first.score == second.score


def test_what_stands_out_elsewhere_is_not_held(held: Drawn) -> None:
    blob = np.zeros((HEIGHT, WIDTH), bool)
    blob[50:170, 500:620] = True
    image = held.photo.image.copy()
    image[blob] = BOX
    scene = Scene.of(Photo("two.png", "", image), [held.detection])
    masks = segment_scene(scene, soft(held.foreground | blob)[None])[0]
    assert isinstance(masks, Masks)
    assert not (masks.object & blob).any()
    assert iou(masks.object, held.object) > 0.93


def test_contour_filter_drops_what_does_not_touch_the_hand() -> None:
    hand, parts = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    hand[40:60, 40:60] = True
    parts[40:60, 62:80] = True  # 2 px away
    parts[5:15, 5:15] = True
    kept = contour_filter(parts, hand, reach=4)
    assert kept[50, 70]
    assert not kept[10, 10]


def test_an_empty_hand_holds_nothing() -> None:
    empty = draw_scene(None)
    answer = segment(empty, empty.foreground)
    assert isinstance(answer, str)
    assert "hand 1" in answer


def test_fingers_may_divide_the_object() -> None:
    drawn = draw_scene((275, 60, 430, 330))  # behind the whole hand: seen above it and between the fingers
    masks = segment(drawn, drawn.foreground)
    assert isinstance(masks, Masks)
    assert iou(masks.object, drawn.object) > 0.85


def test_object_of_a_map_that_leaves_the_hand_out(held: Drawn) -> None:
    masks = segment(held, held.object)
    assert isinstance(masks, Masks)
    assert iou(masks.hand, held.hand) > 0.85
    assert iou(masks.object, held.object) > 0.9


def test_object_that_does_not_stand_out_is_found_from_the_grip(held: Drawn) -> None:
    """The map shows hand and arm only, as ISNet's does in front of a full shelf."""
    masks = segment(held, held.hand | held.arm)
    assert isinstance(masks, Masks)
    assert iou(masks.object, held.object) > 0.8


def test_grey_picture() -> None:
    """Without colour the root of the hand says what a hand looks like."""
    drawn = draw_scene(BEHIND_FINGERS)
    grey = np.asarray(
        cv2.cvtColor(cv2.cvtColor(drawn.photo.image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), dtype=np.uint8
    )
    scene = Scene.of(Photo("grey.png", "", grey), [drawn.detection])
    masks = segment_scene(scene, soft(drawn.foreground)[None])[0]
    assert isinstance(masks, Masks)
    assert iou(masks.hand, drawn.hand) > 0.85
    assert iou(masks.object, drawn.object) > 0.85


def test_hand_ends_on_a_line_across_the_wrist() -> None:
    """Also where the forearm is wider than a forearm should be: a sleeve, or a camera close to it."""
    drawn = draw_scene(BEHIND_FINGERS)
    wrist_x, wrist_y = HAND[0]
    wide = np.zeros((HEIGHT, WIDTH), bool)
    wide[int(wrist_y) + 14 :, int(wrist_x) - 110 : int(wrist_x) + 110] = True
    image = drawn.photo.image.copy()
    image[wide & ~drawn.hand] = image[drawn.arm].mean(0).astype(np.uint8)
    scene = Scene.of(Photo("wide.png", "", image), [drawn.detection])
    masks = segment_scene(scene, soft(drawn.foreground | wide)[None])[0]
    assert isinstance(masks, Masks)
    below = np.zeros((HEIGHT, WIDTH), bool)
    below[int(wrist_y) + 3 :] = True
    assert not (masks.hand & below).any()
    assert iou(masks.hand, drawn.hand & ~below) > 0.9


def test_forearm_that_the_photo_cuts_off_is_not_looked_for_inside_it() -> None:
    """The photo ends at the wrist: what it shows beside the wrist is the heel of the hand, not a forearm."""
    drawn = draw_scene(BEHIND_FINGERS)
    end = int(HAND[0, 1]) + 6
    keypoints = HAND.copy()
    keypoints[0] = (378, end - 2)
    heel = np.zeros((HEIGHT, WIDTH), bool)
    heel[end - 70 : end, 260:400] = True
    image = drawn.photo.image.copy()
    image[heel & ~drawn.hand] = image[drawn.hand].mean(0).astype(np.uint8)
    scene = Scene.of(Photo("cut.png", "", image[:end]), [detection(keypoints)])
    front = soft(drawn.foreground | heel)[:end]
    forearm = find_forearm(scene, scene.hands[0], hand_evidence(scene, scene.hands[0], front[None]), front)
    assert forearm.direction[1] > 0.9


def test_fingers_behind_the_object_are_no_hand_in_front_of_it() -> None:
    """Keypoints go on behind what is held; a skin-coloured object must not become hand there."""
    hand, arm = draw_hand(HAND)
    box = np.zeros((HEIGHT, WIDTH), bool)
    box[60:235, 290:430] = True
    hand &= ~box
    image = paint([(arm | hand, SKIN), (box, (205, 165, 95))])
    scene = Scene.of(Photo("front.png", "", image), [detection(HAND)])
    masks = segment_scene(scene, soft(hand | arm | box)[None])[0]
    assert isinstance(masks, Masks)
    assert (masks.hand & box).sum() < 0.05 * box.sum()
    assert iou(masks.object, box) > 0.9


def test_prints_on_a_glove_are_glove() -> None:
    drawn = draw_scene(BEHIND_FINGERS)
    image = drawn.photo.image.copy()
    letters = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(letters, "M 13", (305, 330), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 1, 2)
    image[letters > 0] = (250, 250, 250)
    scene = Scene.of(Photo("glove.png", "", image), [drawn.detection])
    masks = segment_scene(scene, soft(drawn.foreground)[None])[0]
    assert isinstance(masks, Masks)
    assert masks.hand[letters > 0].mean() > 0.95


def test_another_hand_is_not_the_object() -> None:
    second = HAND.copy()
    second[:, 0] = 2 * 440 - HAND[:, 0] + 60  # a left hand beside the right one, on the same box
    hands = [draw_hand(k) for k in (HAND, second)]
    box = np.zeros((HEIGHT, WIDTH), bool)
    box[60:250, 245:650] = True
    skin = hands[0][0] | hands[1][0]
    arms = (hands[0][1] | hands[1][1]) & ~skin
    box &= ~skin & ~arms
    photo = Photo("both.png", "", paint([(box, BOX), (skin | arms, SKIN)]))
    scene = Scene.of(photo, [detection(HAND), detection(second)])
    answers = segment_scene(scene, soft(box | skin | arms)[None])
    for answer, (own, _) in zip(answers, hands, strict=True):
        assert isinstance(answer, Masks)
        assert (answer.object & skin).sum() < 0.02 * answer.object.sum()
        assert iou(answer.hand, own) > 0.85
    assert not (answers[0].hand & answers[1].hand).any()  # type: ignore[union-attr]


def test_small_photo_is_answered_at_its_own_size(held: Drawn) -> None:
    small = np.asarray(cv2.resize(held.photo.image, (320, 240), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    found = HandDetection(HAND / 2, held.detection.world, 0.95, 0.9)
    scene = Scene.of(Photo("small.png", "", small), [found])
    assert max(scene.shape) == 640
    assert scene.hands[0].metre == pytest.approx(METRE, rel=0.02)


def test_runs_without_weights_and_says_so(held: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark, "is_cached", lambda name: False)
    segmenter = LandmarkSegmenter({"threads": 1})
    assert segmenter.weights_digest == ""
    (masks,) = segmenter.segment(held.photo, [held.detection])
    assert isinstance(masks, Masks)
    assert any("GrabCut" in note for note in masks.notes)
    assert masks.object.shape == held.photo.size
    assert iou(masks.hand, held.hand) > 0.85
    assert iou(masks.object, held.object) > 0.8


def test_no_hands_no_masks(held: Drawn) -> None:
    assert LandmarkSegmenter({"threads": 1}).segment(held.photo, []) == []
