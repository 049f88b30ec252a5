"""From what a model saw to masks, and from keypoints to prompts, on a photo whose masks are known."""

from __future__ import annotations

from dataclasses import replace

import held_can
import numpy as np
import pytest

from pipeline.segment.by_prompts import segment_by_prompts
from pipeline.segment.contour import touching
from pipeline.segment.prompts import Prompt, hand_prompt, loose_box, object_prompt, spread, under
from pipeline.segment.scene import skeleton_of
from pipeline.segment.sort_out import Seen, sort_out
from pipeline.types import Mask, Masks

TRUTH = held_can.masks()
HAND = held_can.detection()
SIZE = (held_can.SIDE, held_can.SIDE)
BLANK = np.zeros(SIZE, dtype=bool)


def blob(x: int, y: int, r: int) -> Mask:
    down, right = np.ogrid[: SIZE[0], : SIZE[1]]
    return np.asarray((right - x) ** 2 + (down - y) ** 2 < r * r)


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_component_is_kept_whole_when_its_contour_is_in_reach_of_the_hand() -> None:
    hand = blob(100, 100, 30)
    near, far = blob(160, 100, 27), blob(165, 200, 20)  # 4 and about 70 pixels from the hand
    assert np.array_equal(touching(near | far, hand, 6), near)
    assert not touching(near | far, hand, 2).any()
    assert np.array_equal(touching(near | far, hand, 90), near | far)
    assert not touching(near, BLANK, 400).any()


def test_a_mask_of_hand_and_sleeve_is_cut_at_the_wrist_and_the_rest_is_arm() -> None:
    (answer,) = sort_out([HAND], [Seen(TRUTH.hand | TRUTH.arm, TRUTH.object, BLANK, 0.9)], SIZE)
    assert isinstance(answer, Masks)
    assert iou(answer.hand, TRUTH.hand) > 0.9
    assert iou(answer.arm, TRUTH.arm) > 0.85
    assert iou(answer.object, TRUTH.object) > 0.98
    assert answer.score == 0.9


def test_what_the_hand_does_not_touch_is_not_its_object_in_the_masks_that_come_out() -> None:
    shelf = blob(340, 40, 25)
    (answer,) = sort_out([HAND], [Seen(TRUTH.hand, TRUTH.object | shelf, TRUTH.arm, 1.0)], SIZE)
    assert isinstance(answer, Masks)
    assert not (answer.object & shelf).any()
    assert iou(answer.object, TRUTH.object) > 0.98


def test_the_three_masks_never_overlap() -> None:
    everything = np.ones(SIZE, dtype=bool)
    for hand in (everything, TRUTH.hand):
        (answer,) = sort_out([HAND], [Seen(hand, everything, everything, 1.0)], SIZE)
        assert isinstance(answer, Masks)
        assert not (answer.hand & answer.object).any()
        assert not (answer.arm & (answer.hand | answer.object)).any()


def test_a_pixel_belongs_to_the_hand_whose_bones_are_nearest() -> None:
    other = replace(HAND, keypoints=HAND.keypoints + np.array([90.0, -60.0]))
    both = TRUTH.hand | np.roll(TRUTH.hand, (-60, 90), (0, 1))
    seen: list[Seen | str] = [Seen(both, TRUTH.object, BLANK, 1.0), Seen(both, TRUTH.object, BLANK, 1.0)]
    one, two = sort_out([HAND, other], seen, SIZE)
    assert isinstance(one, Masks)
    assert isinstance(two, Masks)
    assert not (one.hand & two.hand).any()
    assert not ((one.hand | two.hand) & (one.object | two.object)).any()


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Seen(BLANK, TRUTH.object, BLANK, 1.0), "hand 1: nothing at its keypoints looks like a hand"),
        (Seen(TRUTH.hand, blob(340, 40, 25), BLANK, 1.0), "hand 1: nothing that was found touches it"),
        (Seen(TRUTH.hand, BLANK, BLANK, 1.0), "hand 1: nothing that was found touches it"),
        ("hand 1: said before", "hand 1: said before"),
    ],
)
def test_a_hand_without_masks_has_one_line(seen: Seen | str, reason: str) -> None:
    assert sort_out([HAND], [seen], SIZE) == [reason]


def test_points_are_spread_over_the_mask_the_same_every_time() -> None:
    points = spread(TRUTH.object, 5)
    assert points.shape == (5, 2)
    assert under(TRUTH.object, points).all()
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(5) * 1e3
    assert gaps.min() > 15
    assert np.array_equal(points, spread(TRUTH.object, 5))
    assert spread(BLANK, 5).shape == (0, 2)
    assert spread(blob(50, 50, 1), 5).tolist() == [[50.5, 50.5]]


def test_a_hand_is_prompted_with_its_box_and_the_keypoints_that_the_object_does_not_hide() -> None:
    prompt = hand_prompt(skeleton_of(HAND), SIZE, TRUTH)
    assert prompt.box is not None
    x0, y0, x1, y1 = prompt.box
    assert (HAND.keypoints >= [x0, y0]).all()
    assert (HAND.keypoints <= [x1, y1]).all()
    assert not under(TRUTH.object, prompt.inside).any()
    assert len(prompt.inside) > 15
    assert len(hand_prompt(skeleton_of(HAND), SIZE, None).inside) == 21


def test_an_object_is_prompted_where_it_was_guessed_and_not_on_the_hand() -> None:
    prompt = object_prompt(skeleton_of(HAND), TRUTH.hand, TRUTH)
    assert prompt is not None
    assert under(TRUTH.object & ~TRUTH.hand, prompt.inside).all()
    assert under(TRUTH.hand, prompt.outside).all()
    assert np.array_equal(prompt.box, loose_box(TRUTH.object, 0.1))


def test_without_a_guess_the_object_is_looked_for_between_the_finger_tips() -> None:
    prompt = object_prompt(skeleton_of(HAND), TRUTH.hand, None)
    assert prompt is not None
    assert prompt.box is None
    assert under(TRUTH.object, prompt.inside).mean() > 0.5
    assert object_prompt(skeleton_of(HAND), np.ones(SIZE, dtype=bool), None) is None


def test_the_model_is_asked_for_the_hand_and_then_for_the_object() -> None:
    asked: list[Prompt] = []

    def ask(prompt: Prompt) -> tuple[Mask, float]:
        asked.append(prompt)
        return (TRUTH.hand | TRUTH.arm, 0.9) if len(asked) == 1 else (TRUTH.object | blob(340, 40, 25), 0.8)

    skeleton = skeleton_of(HAND)
    (answer,) = segment_by_prompts(
        [HAND],
        SIZE,
        ask,
        [hand_prompt(skeleton, SIZE, None)],
        lambda i, hand: object_prompt(skeleton, hand, None),
        [BLANK],
    )
    assert isinstance(answer, Masks)
    assert len(asked) == 2
    assert iou(answer.object, TRUTH.object) > 0.98
    assert answer.score == 0.8
