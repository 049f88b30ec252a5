"""One tiny model of each family on the GPU, through the adapters' own placement: as on the CPU, also offloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import device as placing
from pipeline import hub
from pipeline.adapters import load_adapter
from pipeline.device import Placement
from pipeline.types import Masks, Photo

tiny_models = pytest.importorskip("tiny_models", reason="needs the extra 'large'")
INPAINTERS = ("sd-inpaint", "flux-fill", "flux2-klein")


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    placing.release()
    yield
    placing.release()
    placing.limit(0)


def completed(name: str, tmp_path: Path, **settings: object) -> np.ndarray:
    """The picture an inpainter makes of a ball behind a bar."""
    if not hub.is_present(name):
        hub.adopt(name, tiny_models.build(name, tmp_path))
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    ball, bar = (x - 48) ** 2 + (y - 48) ** 2 < 30**2, np.abs(x - 48) < 6
    image = np.where(ball[..., None], [200, 80, 60], rng.integers(90, 110, (96, 96, 3))).astype(np.uint8)
    image[bar] = (220, 180, 150)
    masks = Masks(hand=bar, object=ball & ~bar, arm=np.zeros_like(ball))
    adapter = load_adapter("inpaint", name, {"adapter": name, "steps": 2, **settings})
    return np.asarray(adapter.complete(Photo("ball.png", "00", image), masks).image)


@pytest.mark.parametrize("name", INPAINTERS)
def test_an_inpainter_answers_on_the_gpu_also_offloaded(name: str, device: torch.device, tmp_path: Path) -> None:
    where = {"device": str(device), "dtype": "float32"}
    plain = completed(name, tmp_path, **where, offload="none")
    assert np.array_equal(plain, completed(name, tmp_path, **where, offload="none"))
    placing.release()
    offloaded = completed(name, tmp_path, **where, offload="model")
    assert np.abs(plain.astype(int) - offloaded).max() <= 2
    on_cpu = completed(name, tmp_path, device="cpu", dtype="float32")
    assert np.abs(plain.astype(int) - on_cpu).mean() < 2


@pytest.mark.parametrize("offload", ["none", "sequential"])
def test_sam2_answers_as_on_the_cpu(device: torch.device, tmp_path: Path, offload: str) -> None:
    from transformers import Sam2Model

    folder = tiny_models.build("sam2", tmp_path)
    asked = {
        "pixel_values": torch.linspace(-1, 1, 3 * 128 * 128).reshape(1, 3, 128, 128),
        "input_boxes": torch.tensor([[[20.0, 20.0, 90.0, 100.0]]]),
    }
    answers = []
    for placement in (Placement(device=str(device), dtype="float32", offload=offload), Placement(device="cpu")):
        model = placement.apply(Sam2Model.from_pretrained(folder))
        there = {name: tensor.to(placement.torch_device) for name, tensor in asked.items()}
        with torch.inference_mode():
            answers.append(model(**there, multimask_output=False).pred_masks.float().cpu())
    assert (answers[0] - answers[1]).abs().max() < 1e-2


def test_a_parked_model_gives_its_memory_back(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("CUDA tells how much of its memory is taken")
    before = torch.cuda.memory_allocated()
    placing.limit(0.12)
    on_gpu = Placement(device=str(device), dtype="float32")

    def load() -> torch.nn.Module:
        return on_gpu.apply(torch.nn.Linear(4096, 4096))  # 67 MB

    first = placing.shared("first", load)
    placing.shared("second", load)
    assert next(first.parameters()).device.type == "cpu"
    assert torch.cuda.memory_allocated() - before < 1.5 * 67e6
    again = placing.shared("first", load)
    assert again is first
    assert next(again.parameters()).device.type == "cuda"
