"""The large segmenters on a real photo, with tiny models of the same classes: what they answer, and what they say."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import held_can
import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image

from pipeline import device, hub
from pipeline.adapters import SHIPPED, load_adapter
from pipeline.errors import MissingExtra, MissingWeights
from pipeline.segment import by_prompts, sam2
from pipeline.segment.given import BadMask, GivenMasks
from pipeline.segment.prompts import Prompt, hand_prompt
from pipeline.segment.sam2 import Sam2Segmenter
from pipeline.segment.scene import skeleton_of
from pipeline.types import HandDetection, Masks

PHOTO, HAND, TRUTH = held_can.photo(), held_can.detection(), held_can.masks()
BOX = hand_prompt(skeleton_of(HAND), PHOTO.size, None)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    for name in ("sam2", "grounding-dino"):
        tiny_models.build(name, folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without models; the guess of the cpu recipe's segmenter is the truth, which saves its seconds."""
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(by_prompts, "LandmarkSegmenter", held_can.Guessed)
    device.release()
    return tmp_path / "cache"


def adopt(built: Path, *names: str) -> None:
    for name in names:
        hub.adopt(name, built / name)


def whole(answer: Masks | str) -> bytes:
    assert isinstance(answer, Masks)
    for mask in (answer.hand, answer.object, answer.arm):
        assert mask.shape == PHOTO.size
        assert mask.dtype == bool
    assert not (answer.hand & answer.object).any()
    assert not (answer.arm & (answer.hand | answer.object)).any()
    assert 0 <= answer.score <= 1
    return b"".join(mask.tobytes() for mask in (answer.hand, answer.object, answer.arm))


@pytest.mark.parametrize(("name", "models"), [("sam2", ("sam2",)), ("grounded-sam2", ("sam2", "grounding-dino"))])
def test_masks_of_the_photos_size_the_same_every_time(built: Path, name: str, models: tuple[str, ...]) -> None:
    adopt(built, *models)
    adapter = load_adapter("segment", name, {"device": "cpu", "threshold": 0.0})
    (first,) = adapter.segment(PHOTO, [HAND])
    device.release()
    (again,) = adapter.segment(PHOTO, [HAND])
    assert whole(first) == whole(again)
    assert adapter.segment(PHOTO, []) == []
    assert all(hub.digest(model) in adapter.weights_digest for model in models)


def test_sam2_answers_to_each_prompt_on_the_picture_that_was_encoded_once(built: Path) -> None:
    adopt(built, "sam2")
    ask = sam2.looking_at(PHOTO.image, {}, "sam2")
    boxed, score = ask(BOX)
    pointed, _ = ask(Prompt(inside=BOX.inside[:2], outside=BOX.inside[4:5]))
    again, same = ask(BOX)
    assert boxed.shape == PHOTO.size
    assert 0 <= score <= 1
    assert np.array_equal(boxed, again)
    assert score == pytest.approx(same)
    assert not np.array_equal(boxed, pointed)


def test_sam2_takes_the_settings_of_placement(built: Path) -> None:
    adopt(built, "sam2")
    plain, _ = sam2.looking_at(PHOTO.image, {}, "sam2")(BOX)
    offloaded, _ = sam2.looking_at(PHOTO.image, {"offload": "sequential", "vram_gb": 1.0}, "sam2")(BOX)
    half, _ = sam2.looking_at(PHOTO.image, {"dtype": "bfloat16"}, "sam2")(BOX)
    assert np.array_equal(plain, offloaded)
    assert half.shape == plain.shape


def test_sam2_is_back_when_another_model_took_its_room_before_a_question(built: Path) -> None:
    adopt(built, "sam2")
    ask = sam2.looking_at(PHOTO.image, {}, "sam2")
    try:
        device.limit(1e-9)
        device.shared("other", lambda: torch.nn.Linear(8, 8))
        assert [*device.resident()] == ["other"]
        ask(BOX)
        assert [key.split()[1] for key in device.resident()] == ["sam2"]
    finally:
        device.limit(0)


@pytest.mark.parametrize("name", ["sam2", "grounded-sam2"])
def test_without_weights_one_line_says_how_to_get_them(name: str) -> None:
    with pytest.raises(
        MissingWeights, match=r"sam2: no weights of facebook/sam2.*hoi-annotate models pull sam2"
    ) as told:
        load_adapter("segment", name, {}).segment(PHOTO, [HAND])
    assert "\n" not in str(told.value)


def test_a_broken_snapshot_is_one_line(built: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(built / "sam2", broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    hub.adopt("sam2", broken)
    with pytest.raises(MissingWeights, match=r"sam2: the files in .*broken do not load as .*Sam2Model") as told:
        Sam2Segmenter({}).segment(PHOTO, [HAND])
    assert "\n" not in str(told.value)
    (broken / "config.json").unlink()
    hub.adopt("sam2", broken)
    with pytest.raises(MissingWeights, match="do not load as"):
        Sam2Segmenter({}).segment(PHOTO, [HAND])


@pytest.mark.parametrize("name", ["sam", "sam3"])
def test_without_torchvision_one_line_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "segment_anything", raising=False)
    with pytest.raises(MissingExtra, match=rf"^{name}: needs torchvision.*pip install torchvision$"):
        load_adapter("segment", name, {}).segment(PHOTO, [HAND])


def test_without_transformers_one_line_says_what_to_install(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(built, "sam2")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"^sam2: needs transformers.*pip install 'hoi-annotate\[large\]'$"):
        Sam2Segmenter({}).segment(PHOTO, [HAND])


def test_every_large_segmenter_is_registered() -> None:
    assert {"sam", "sam2", "sam3", "grounded-sam2", "masks"} <= set(SHIPPED["segment"])


# Given masks.


def write(folder: Path, **masks: np.ndarray) -> GivenMasks:
    for name, mask in masks.items():
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"photo_can.{name}.png")
    return GivenMasks({"folder": str(folder)})


def test_given_masks_come_out_as_they_are(tmp_path: Path) -> None:
    adapter = write(tmp_path, hand=TRUTH.hand, object=TRUTH.object, arm=TRUTH.arm)
    (answer,) = adapter.segment(PHOTO, [HAND])
    assert isinstance(answer, Masks)
    assert np.array_equal(answer.hand, TRUTH.hand)
    assert np.array_equal(answer.object, TRUTH.object)
    assert np.array_equal(answer.arm, TRUTH.arm)
    assert answer.notes == ("masks as given",)


def test_a_mask_of_the_original_photo_lies_on_the_smaller_one_and_one_is_as_white_as_255(tmp_path: Path) -> None:
    large = np.kron(TRUTH.object, np.ones((3, 3), dtype=bool))
    adapter = write(tmp_path, hand=TRUTH.hand, object=large)
    Image.fromarray(TRUTH.hand.astype(np.uint8)).save(tmp_path / "photo_can.hand.png")
    (answer,) = adapter.segment(PHOTO, [HAND])
    assert isinstance(answer, Masks)
    assert np.array_equal(answer.object, TRUTH.object)
    assert np.array_equal(answer.hand, TRUTH.hand)
    assert not answer.arm.any()


def test_the_masks_of_several_hands_find_theirs_by_the_keypoints(tmp_path: Path) -> None:
    moved = np.roll(TRUTH.hand, (-100, -60), (0, 1))
    adapter = write(tmp_path, hand1=moved, object1=TRUTH.object, hand2=TRUTH.hand, object2=TRUTH.object)
    nowhere = HandDetection(HAND.keypoints * 0.1, HAND.world, 0.9, 0.9)
    answers = adapter.segment(PHOTO, [HAND, nowhere])
    assert isinstance(answers[0], Masks)
    assert np.array_equal(answers[0].hand, TRUTH.hand)
    assert answers[1] == f"hand 2: no hand mask in {tmp_path} holds its keypoints"


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda f: (f / "photo_can.object.png").unlink(), r"photo_can.jpg: no photo_can.object.png in "),
        (lambda f: (f / "photo_can.hand.png").unlink(), r"photo_can.jpg: no photo_can.hand.png in "),
        (lambda f: (f / "photo_can.hand.png").write_bytes(b"no picture"), r"hand.png: not a PNG"),
        (lambda f: Image.new("L", (384, 200), 255).save(f / "photo_can.hand.png"), r"hand.png: 384x200 .* 384x384"),
        (
            lambda f: Image.new("L", (384, 384), 0).save(f / "photo_can.object.png"),
            r"is empty; paint the object",
        ),
    ],
)
def test_a_mask_that_will_not_do_is_one_line(tmp_path: Path, spoil: Any, line: str) -> None:
    adapter = write(tmp_path, hand=TRUTH.hand, object=TRUTH.object)
    spoil(tmp_path)
    with pytest.raises(BadMask, match=line) as told:
        adapter.segment(PHOTO, [HAND])
    assert "\n" not in str(told.value)


def test_a_mask_that_is_painted_anew_is_another_input(tmp_path: Path) -> None:
    adapter = write(tmp_path, hand=TRUTH.hand, object=TRUTH.object)
    before = adapter.weights_digest
    write(tmp_path, hand=TRUTH.hand | TRUTH.arm)
    assert adapter.weights_digest != before
