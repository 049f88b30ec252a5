"""MoGe's answer as a camera. Its package comes from its repository only; a stand-in has its interface here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from pipeline import device, hub
from pipeline.adapters import load_adapter
from pipeline.camera.moge import MogeCamera, camera_of
from pipeline.errors import MissingExtra, MissingWeights, PipelineError
from pipeline.geometry.camera import from_focal
from pipeline.types import Photo

PHOTO = Photo("cup.jpg", "0" * 64, np.full((300, 400, 3), 128, np.uint8))
PRIOR = from_focal(500.0, 400, 300, "prior")


class StandIn(torch.nn.Module):
    """What `moge.model.v2.MoGeModel` is to its callers."""

    asked: ClassVar[list[torch.Tensor]] = []

    @classmethod
    def from_pretrained(cls, path: str) -> StandIn:
        assert Path(path).name == "model.pt"
        return cls()

    def infer(self, image: torch.Tensor, resolution_level: int, use_fp16: bool) -> dict[str, torch.Tensor]:
        self.asked.append(image)
        return {"intrinsics": torch.tensor([[1.1, 0, 0.5], [0, 1.1 * 4 / 3, 0.5], [0, 0, 1]])}


@pytest.fixture
def moge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    device.release()
    StandIn.asked.clear()
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.pt").write_bytes(b"weights")
    hub.adopt("moge", tmp_path / "weights")
    for name in ("moge", "moge.model", "moge.model.v2"):
        module = ModuleType(name)
        module.MoGeModel = StandIn  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    yield
    device.release()


def test_normalised_intrinsics_become_pixels(moge: Any) -> None:
    adapter = load_adapter("camera", "moge", {"device": "cpu"})
    found = adapter.camera(PHOTO, PRIOR)
    np.testing.assert_allclose(found.K, [[440, 0, 200], [0, 440, 150], [0, 0, 1]], rtol=1e-6)
    assert (found.width, found.height, found.source) == (400, 300, "moge")
    (image,) = StandIn.asked
    assert image.shape == (3, 300, 400)
    assert float(image.max()) == pytest.approx(128 / 255)
    assert len(adapter.weights_digest) == 64


def test_exif_goes_before_unless_told_otherwise(moge: Any) -> None:
    known = from_focal(600.0, 400, 300, "exif")
    assert MogeCamera({"device": "cpu"}).camera(PHOTO, known) is known
    assert MogeCamera({"device": "cpu", "keep_exif": False}).camera(PHOTO, known).source == "moge"


@pytest.mark.parametrize(
    "K", [np.full((3, 3), np.nan), np.diag([0.01, 0.01, 1.0]), np.diag([-1.0, 1.0, 1.0]), np.eye(2)]
)
def test_what_is_no_camera_is_refused(K: np.ndarray) -> None:
    with pytest.raises(PipelineError, match=r"^cup\.jpg: moge found"):
        camera_of(K, 400, 300, "cup.jpg")


def test_missing_weights_and_package_are_one_line(moge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device.release()
    monkeypatch.setitem(sys.modules, "moge.model.v2", None)
    with pytest.raises(MissingExtra, match=r"moge: needs .*; run: pip install git\+https://github.com/microsoft/MoGe"):
        MogeCamera({"device": "cpu"}).camera(PHOTO, PRIOR)
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "empty"))
    with pytest.raises(MissingWeights, match="models pull"):
        MogeCamera({"device": "cpu"}).camera(PHOTO, PRIOR)


def test_a_missing_package_is_known_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MogeCamera({}).needs() == [
        "moge: needs its own package, which is not installed; "
        "run: pip install git+https://github.com/microsoft/MoGe.git"
    ]


def test_files_that_are_no_model_are_one_line(moge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> StandIn:
        raise KeyError("model_config")

    monkeypatch.setattr(StandIn, "from_pretrained", fail)
    with pytest.raises(
        MissingWeights, match=r"^moge: the files in .* do not load as moge.MoGeModel \('model_config'\)"
    ):
        MogeCamera({"device": "cpu"}).camera(PHOTO, PRIOR)
