"""ViTPose: the real class of transformers, tiny and untrained, and heatmaps of our own making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import device, hub
from pipeline.adapters import load_adapter
from pipeline.errors import MissingWeights, NoHandFound, PipelineError
from pipeline.hand.vitpose import LEFT, RIGHT, VitposeDetector, crop_matrix, peaks
from pipeline.types import HandBox, HandHints, Photo

PHOTO = Photo("two.jpg", "0" * 64, np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a tiny model with so many keypoints and adopts it."""
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    def write(keypoints: int, experts: int = 1) -> None:
        device.release()
        torch.manual_seed(0)
        backbone = VitPoseBackboneConfig(
            image_size=(64, 48),
            patch_size=(16, 16),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_experts=experts,
            part_features=8,
            out_indices=[1],
        )
        config = VitPoseConfig(backbone_config=backbone, num_labels=keypoints)
        folder = tmp_path / f"vitpose-{keypoints}-{experts}"
        VitPoseForPoseEstimation(config).save_pretrained(folder)
        hub.adopt("vitpose", folder)

    yield write
    device.release()


def gaussian(x: float, y: float, height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width] + 0.5
    return np.asarray(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.0**2)))


def test_peaks_lie_between_pixels() -> None:
    places = np.array([[12.3, 30.8], [40.0, 20.5], [5.1, 60.9]])
    found, heights = peaks(np.stack([gaussian(x, y, 64, 48) for x, y in places]))
    np.testing.assert_allclose(found, places, atol=0.05)
    assert (heights > 0.95).all()


def test_a_crop_is_widened_about_its_box_and_keeps_the_aspect() -> None:
    matrix = crop_matrix(np.array([100.0, 50.0, 300.0, 100.0]), 48, 64)
    np.testing.assert_allclose(matrix @ [200, 75, 1], [24, 32])
    np.testing.assert_allclose(matrix @ [100, 75, 1], [24 - 24 / 1.25, 32])
    assert matrix[0, 0] == matrix[1, 1]


def test_whole_bodies_give_both_hands_on_their_places(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model runs; its heatmaps are then replaced by those of two hands."""
    weights(133)
    left = np.random.default_rng(1).uniform([40, 60], [140, 160], (21, 2))
    right = np.random.default_rng(2).uniform([240, 100], [340, 220], (21, 2))
    detector = load_adapter("detect", "vitpose", {"device": "cpu"})
    model = detector._model()
    to_crop = crop_matrix(np.array([0.0, 0.0, 400, 300]), 48, 64)
    forward = type(model).forward

    def answer(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = forward(self, *args, **kwargs)
        assert out.heatmaps.shape == (1, 133, 16, 12)
        places = np.concatenate([left, right]) @ to_crop[:, :2].T + to_crop[:, 2]
        maps = np.zeros((1, 133, 64, 48), np.float32)
        maps[0, LEFT.start :] = [gaussian(x, y, 64, 48) for x, y in places]
        out.heatmaps = torch.as_tensor(maps)
        return out

    monkeypatch.setattr(type(model), "forward", answer)
    found = detector.detect(PHOTO, HandHints())
    assert [hand.right_score > 0.5 for hand in found] == [True, False]  # the larger first
    np.testing.assert_allclose(found[0].keypoints, right, atol=0.8)
    np.testing.assert_allclose(found[1].keypoints, left, atol=0.8)
    boxed = detector.detect(PHOTO, HandHints(boxes=(HandBox(30, 50, 150, 170, "left"),)))
    assert [(hand.side, hand.source) for hand in boxed] == [("left", "box")]
    with pytest.raises(NoHandFound, match="no hand in the box"):
        detector.detect(PHOTO, HandHints(boxes=(HandBox(0, 250, 20, 300),)))
    assert RIGHT.stop == 133


@pytest.mark.parametrize(("keypoints", "experts"), [(133, 6), (21, 1)])
def test_tiny_models_run_the_whole_way_and_always_answer_the_same(weights: Any, keypoints: int, experts: int) -> None:
    weights(keypoints, experts)
    detector = VitposeDetector({"device": "cpu", "confident": -1.0, "least": 21})
    hints = HandHints(boxes=(HandBox(20, 20, 380, 280, "right"),)) if keypoints == 21 else HandHints()
    first, second = detector.detect(PHOTO, hints), detector.detect(PHOTO, hints)
    assert len(first) == (1 if keypoints == 21 else 2)
    for one, other in zip(first, second, strict=True):
        assert np.isfinite(one.keypoints).all()
        assert one.keypoints.shape == (21, 2)
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
    assert len(detector.weights_digest) == 64


def test_weights_that_know_no_hands_and_missing_ones_are_one_line(
    weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights(17)
    with pytest.raises(PipelineError, match=r"know 17 keypoints; it takes 133 \(whole body\) or 21 \(hand\)"):
        VitposeDetector({}).detect(PHOTO, HandHints())
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "empty"))
    with pytest.raises(MissingWeights, match="hoi-annotate models adopt vitpose"):
        VitposeDetector({}).detect(PHOTO, HandHints())


def test_files_that_are_no_model_are_one_line(weights: Any, tmp_path: Path) -> None:
    weights(133)
    (tmp_path / "vitpose-133-1" / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(MissingWeights, match=r"^vitpose: the files in .* do not load as .*VitPoseForPoseEstimation"):
        VitposeDetector({}).detect(PHOTO, HandHints())


def test_keypoints_a_person_gave_need_no_model() -> None:
    keypoints = np.random.default_rng(0).uniform(0, 200, (21, 2))
    found = VitposeDetector({}).detect(PHOTO, HandHints(keypoints=(keypoints,), sides=("left",)))
    np.testing.assert_array_equal(found[0].keypoints, keypoints)
    assert (found[0].side, found[0].source) == ("left", "keypoints")
