"""HaMeR and WiLoR as fitters: a real worker process, whose model is the fixture of test_weak_perspective."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_model import asked, with_model
from scipy.spatial.transform import Rotation
from test_weak_perspective import NOTHING, detection_of, photo_of, photographed, predicted

from pipeline import device
from pipeline.adapters import load_adapter
from pipeline.errors import PipelineError
from pipeline.geometry.camera import project
from pipeline.hand.hamer import HamerFitter
from pipeline.hand.weak_perspective import CropHand
from pipeline.hand.wilor import WilorFitter
from pipeline.hand_model import load_hand
from pipeline.worker_protocol import WorkerFailed


def answer_of(hands: list[CropHand]) -> dict[str, Any]:
    def matrices(vectors: np.ndarray) -> np.ndarray:
        return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()

    return {
        "global_orient": np.stack([matrices(h.global_orient)[0] for h in hands]),
        "hand_pose": np.stack([matrices(h.hand_pose) for h in hands]),
        "betas": np.stack([h.betas for h in hands]),
        "pred_cam": np.stack([h.pred_cam for h in hands]),
        "box_center": np.stack([h.centre for h in hands]),
        "box_size": np.array([h.size for h in hands]),
        "verts": np.stack([h.verts for h in hands]),
        "joints": np.stack([h.joints for h in hands]),
    }


@pytest.mark.parametrize("fitter", [HamerFitter, WilorFitter])
def test_both_sides_are_asked_for_and_the_one_on_the_keypoints_wins(
    fitter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pose, camera = photographed("left", "corner", 1)
    wrong = predicted(photographed("right", "corner", 2)[0], camera)
    adapter = with_model(fitter, answer_of([wrong, predicted(pose, camera)]), tmp_path, monkeypatch)
    detection = detection_of(pose, camera, right_score=0.8)  # the detector is wrong about the side
    found = adapter.fit(photo_of(camera), detection, NOTHING, camera)
    assert found.pose.side == "left"
    given, verts = (load_hand("left").posed(p)[0] for p in (pose, found.pose))
    assert np.median(np.linalg.norm(verts - given, axis=1)) < 0.001
    assert np.linalg.norm(project(verts, camera.K) - project(given, camera.K), axis=1).mean() < 1.0
    shown = asked(tmp_path)
    np.testing.assert_array_equal(shown["right"], [1, 0])
    np.testing.assert_allclose(shown["boxes"][1], [*detection.keypoints.min(0), *detection.keypoints.max(0)])
    assert shown["image"].shape == (camera.height, camera.width, 3)


def test_a_persons_side_is_not_questioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pose, camera = photographed("right", "middle", 1)
    adapter = with_model(HamerFitter, answer_of([predicted(pose, camera)]), tmp_path, monkeypatch)
    assert adapter.fit(photo_of(camera), detection_of(pose, camera, "right"), NOTHING, camera).pose.side == "right"
    np.testing.assert_array_equal(asked(tmp_path)["right"], [1])


def test_a_hand_elsewhere_is_not_the_detected_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pose, camera = photographed("right", "middle", 1)
    elsewhere = predicted(photographed("right", "corner", 1)[0], camera)
    adapter = with_model(HamerFitter, answer_of([elsewhere]), tmp_path, monkeypatch)
    with pytest.raises(PipelineError, match=r"cup\.jpg: hamer sees no hand where the keypoints are"):
        adapter.fit(photo_of(camera), detection_of(pose, camera, "right"), NOTHING, camera)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"betas": np.full((1, 10), np.nan)}, "not finite in 'betas'"),
        ({"verts": np.zeros((1, 700, 3))}, "'verts' as 1 x 700 x 3, not 1 x 778 x 3"),
        ({"pred_cam": np.zeros((2, 3))}, "'pred_cam' as 2 x 3"),
    ],
)
def test_what_is_no_hand_is_refused(
    change: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pose, camera = photographed("right", "middle", 1)
    answer = answer_of([predicted(pose, camera)]) | change
    adapter = with_model(WilorFitter, answer, tmp_path, monkeypatch)
    with pytest.raises(WorkerFailed, match=reason):
        adapter.fit(photo_of(camera), detection_of(pose, camera, "right"), NOTHING, camera)


def test_saved_outputs_need_no_environment(tmp_path: Path) -> None:
    adapter = load_adapter("hand", "hamer", {"outputs": str(tmp_path)})
    assert adapter.needs() == []
    assert len(adapter.weights_digest) == 64
    pose, camera = photographed("right", "middle", 1)
    with pytest.raises(PipelineError, match="no saved hand in"):
        adapter.fit(photo_of(camera), detection_of(pose, camera), NOTHING, camera)


def test_one_process_for_all_its_adapters_which_makes_room_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.limit(7)
    adapter = with_model(HamerFitter, {"x": np.ones(2)}, tmp_path, monkeypatch)
    other = HamerFitter(adapter._settings)

    def pid(fitter: HamerFitter) -> int:
        return int(fitter.foreign.ask(fitter._settings, "hands", {}).values["pid"])

    try:
        first = pid(adapter)
        assert pid(other) == first
        assert sum(device.resident().values()) == 6  # as the hub's list says of HaMeR
        device.shared("large", lambda: torch.nn.Linear(8, 8), needs_gb=5)
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        assert pid(adapter) != first
    finally:
        device.release()
        device.limit(0)
