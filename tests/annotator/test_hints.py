"""A person's help with hands: what is understood, what is refused and in which words."""

import json
from pathlib import Path

import numpy as np
import pytest

from annotator import hints
from annotator.errors import BadHints


def test_a_box_with_and_without_a_side() -> None:
    assert hints.parse_box("1,2,3.5,4") == {"box": [1.0, 2.0, 3.5, 4.0]}
    assert hints.parse_box(" 1, 2, 3, 4, left ") == {"box": [1.0, 2.0, 3.0, 4.0], "side": "left"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3", "x0,y0,x1,y1"),
        ("1,2,3,4,5,6", "x0,y0,x1,y1"),
        ("a,b,c,d", "x0,y0,x1,y1"),
        ("3,2,1,4", "x0 < x1"),
        ("1,2,3,nan", "x0,y0,x1,y1"),
        ("1,2,3,inf", "finite"),
        ("1,2,3,4,both", "'left' or 'right', not 'both'"),
    ],
)
def test_a_box_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadHints, match=words) as caught:
        hints.parse_box(text)
    assert str(caught.value).startswith(f"--hand-box {text}: ")


POINTS = [[float(i), float(2 * i)] for i in range(21)]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"{x} {y}" for x, y in POINTS),
        "\n".join(f"{x}, {y}" for x, y in POINTS) + "\n\n",
        json.dumps(POINTS),
        "\ufeff" + json.dumps({"keypoints": POINTS}),
    ],
)
def test_keypoints_from_text_and_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "points").write_text(text, encoding="utf-8")
    assert hints.read_keypoints(tmp_path / "points") == {"keypoints": POINTS}


@pytest.mark.parametrize("text", ["", "1 2\n3 4", "hello", json.dumps({"box": "?"}), json.dumps(POINTS[:20]), "3"])
def test_what_is_not_21_points_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "points").write_text(text)
    with pytest.raises(BadHints, match="points: "):
        hints.read_keypoints(tmp_path / "points")
    with pytest.raises(BadHints, match="cannot be read"):
        hints.read_keypoints(tmp_path / "missing")


def test_a_sidecar_lies_beside_its_photo(tmp_path: Path) -> None:
    photo = tmp_path / "cup.jpg"
    assert hints.read_sidecar(photo) == []
    hands = [{"box": [1, 2, 3, 4], "side": "left"}, {"keypoints": POINTS}]
    (tmp_path / "cup.jpg.hoi.json").write_text(json.dumps({"hands": hands}))
    assert hints.read_sidecar(photo) == [{"box": [1.0, 2.0, 3.0, 4.0], "side": "left"}, {"keypoints": POINTS}]


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"hands": 3}', '{"hands": [3]}', '{"hands": [{}]}', '{"hands": [{"box": null}]}']
)
def test_a_broken_sidecar_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "cup.jpg.hoi.json").write_text(text)
    with pytest.raises(BadHints, match=r"cup\.jpg\.hoi\.json: "):
        hints.read_sidecar(tmp_path / "cup.jpg")


def test_hints_are_scaled_with_the_photo() -> None:
    hands = [{"keypoints": POINTS, "side": "right"}, {"box": [10, 20, 30, 40]}, {"keypoints": POINTS}]
    made = hints.to_hints(hands, 0.5)
    assert (made.boxes[0].x0, made.boxes[0].y1, made.boxes[0].side) == (5, 20, None)
    assert np.allclose(made.keypoints[1], np.array(POINTS) / 2)
    assert made.sides == ("right", None)


def test_a_hand_partly_outside_is_fine_one_wholly_outside_is_not() -> None:
    hints.check_inside([{"box": [-5, -5, 10, 10]}, {"box": [90, 50, 500, 500]}], 100, 80, "cup.jpg")
    for box in ([100, 0, 120, 20], [0, 80, 20, 90], [-20, -20, -1, -1]):
        with pytest.raises(BadHints, match=r"cup\.jpg: a given hand lies outside the photo, which is 100x80"):
            hints.check_inside([{"box": box}], 100, 80, "cup.jpg")
