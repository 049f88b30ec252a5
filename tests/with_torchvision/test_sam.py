"""SAM's own package through the adapter: a small network of its registry's classes, on the demo photo."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import held_can
import numpy as np
import pytest
import torch

from pipeline import device, hub
from pipeline.adapters import load_adapter
from pipeline.errors import MissingWeights
from pipeline.inpaint.amodal import amodal_mask
from pipeline.inpaint.window import window_around
from pipeline.segment import sam
from pipeline.segment.prompts import Prompt, hand_prompt
from pipeline.segment.scene import skeleton_of
from pipeline.types import Masks

PHOTO, HAND, TRUTH = held_can.photo(), held_can.detection(), held_can.masks()
TINY = {"architecture": "tiny", "device": "cpu"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the state of a SAM whose image encoder has two layers; the rest is as published."""
    package = pytest.importorskip(
        "segment_anything", reason="needs torchvision: run .ci/torchvision-tests", exc_type=ImportError
    )
    from segment_anything.build_sam import _build_sam

    package.sam_model_registry["tiny"] = partial(_build_sam, 32, 2, 2, [1])
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam")
    (folder / "checkpoints").mkdir()
    torch.save(package.sam_model_registry["tiny"]().state_dict(), folder / "checkpoints" / "sam_tiny.pth")
    return folder


def test_masks_of_the_photos_size_the_same_every_time(checkpoint: Path) -> None:
    hub.adopt("sam", checkpoint)
    adapter = load_adapter("segment", "sam", TINY)
    (first,) = adapter.segment(PHOTO, [HAND])
    device.release()
    (again,) = adapter.segment(PHOTO, [HAND])
    assert isinstance(first, Masks)
    assert isinstance(again, Masks)
    for one, two in ((first.hand, again.hand), (first.object, again.object), (first.arm, again.arm)):
        assert one.shape == PHOTO.size
        assert one.dtype == bool
        assert np.array_equal(one, two)
    assert not (first.hand & first.object).any()
    assert hub.digest("sam") in adapter.weights_digest


def test_boxes_and_points_are_asked_in_pixels_of_the_photo(checkpoint: Path) -> None:
    hub.adopt("sam", checkpoint)
    ask = sam.looking_at(PHOTO.image, TINY, "sam")
    boxed, score = ask(hand_prompt(skeleton_of(HAND), PHOTO.size, TRUTH))
    pointed, _ = ask(Prompt(inside=HAND.keypoints[:2], outside=HAND.keypoints[4:5]))
    assert boxed.shape == pointed.shape == PHOTO.size
    assert 0 <= score <= 1
    assert not np.array_equal(boxed, pointed)


def test_the_amodal_mask_may_come_from_sam_as_in_the_paper(checkpoint: Path) -> None:
    hub.adopt("sam", checkpoint)
    window = window_around(TRUTH)
    mask, _ = amodal_mask(PHOTO.image, TRUTH, window, {**TINY, "resegment": "sam"}, "sd-inpaint")
    assert mask.shape == PHOTO.size
    assert (mask & TRUTH.object).sum() > 0.99 * TRUTH.object.sum()


def test_without_weights_and_with_others_one_line_says_so(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"^sam: no weights of .*; run: hoi-annotate models pull sam$"):
        load_adapter("segment", "sam", TINY).segment(PHOTO, [HAND])
    (tmp_path / "two").mkdir()
    for name in ("a.pth", "b.pth"):
        (tmp_path / "two" / name).write_bytes(b"no checkpoint")
    hub.adopt("sam", tmp_path / "two")
    with pytest.raises(
        MissingWeights, match=r"do not load as segment_anything tiny \(one \*\.pth is needed, there are 2"
    ):
        load_adapter("segment", "sam", TINY).segment(PHOTO, [HAND])
    (tmp_path / "two" / "b.pth").unlink()
    hub.adopt("sam", tmp_path / "two")
    with pytest.raises(MissingWeights, match=r"do not load as segment_anything tiny \(") as told:
        load_adapter("segment", "sam", TINY).segment(PHOTO, [HAND])
    assert "\n" not in str(told.value)
