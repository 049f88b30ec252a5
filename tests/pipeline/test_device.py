"""Where models run, on what is here; one of each per process, within a budget."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from pipeline import device
from pipeline.device import BadPlacement, Placement


@pytest.fixture(autouse=True)
def nothing_shared() -> Iterator[None]:
    device.release()
    yield
    device.release()
    device.limit(0)


def linear(size: int = 1000) -> torch.nn.Linear:
    return torch.nn.Linear(size, size, bias=False)  # 4 MB at 1000


def test_auto_is_what_this_machine_has() -> None:
    here = Placement.of({"adapter": "sam2", "device": "auto"})
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert here.torch_device == torch.device("cpu")
        assert here.torch_dtype == torch.float32
    assert Placement.of({"dtype": "bfloat16"}).torch_dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dtype": "int8"}, "dtype = 'int8' is none of auto, float32"),
        ({"offload": "yes"}, "offload = 'yes' is none of"),
        ({"device": "gpu"}, "device = 'gpu' is none of"),
        ({"device": "cuda:7"}, "device = 'cuda:7' is not on this machine.*doctor --gpu"),
    ],
)
def test_a_placement_that_is_not_there_is_one_line(settings: dict[str, str], said: str) -> None:
    with pytest.raises(BadPlacement, match=said):
        _ = Placement.of(settings).torch_device


def test_a_module_is_put_in_its_place_ready_to_be_asked() -> None:
    model = Placement(device="cpu", dtype="bfloat16").apply(linear())
    assert model.weight.dtype == torch.bfloat16
    assert not model.training
    assert not model.weight.requires_grad
    assert device.size_gb(model) == pytest.approx(0.002)
    assert device.size_gb(linear(), torch.float16) == pytest.approx(0.002)


@pytest.mark.parametrize(("offload", "called"), [("model", "model"), ("sequential", "sequential"), ("auto", "model")])
def test_a_pipeline_larger_than_the_budget_works_from_main_memory(
    monkeypatch: pytest.MonkeyPatch, offload: str, called: str
) -> None:
    """As on a GPU: the pipeline is told to offload, and to which device."""
    told: list[tuple[str, torch.device]] = []
    pipeline = SimpleNamespace(
        components={"unet": linear()},
        enable_model_cpu_offload=lambda device: told.append(("model", device)),
        enable_sequential_cpu_offload=lambda device: told.append(("sequential", device)),
        to=lambda *where: told.append(("to", where[0])),
    )
    gpu = torch.device("cuda")
    monkeypatch.setattr(Placement, "torch_device", property(lambda self: gpu))
    monkeypatch.setattr(Placement, "torch_dtype", property(lambda self: torch.float16))
    Placement(offload=offload, vram_gb=0.001).apply(pipeline)
    Placement(offload="none", vram_gb=0.001).apply(pipeline)
    Placement(offload="auto", vram_gb=1).apply(pipeline)
    assert told == [(called, gpu), ("to", gpu), ("to", gpu)]


def test_a_module_offloaded_layer_by_layer_answers_the_same() -> None:
    """accelerate's hooks, with the CPU in the GPU's place."""
    accelerate = pytest.importorskip("accelerate")
    model = torch.nn.Sequential(linear(16), torch.nn.ReLU(), linear(16)).eval()
    asked = torch.ones(1, 16)
    expected = model(asked)
    moved = accelerate.cpu_offload(model, torch.device("cpu"))
    assert torch.equal(moved(asked), expected)
    assert device.shared("moved", lambda: moved) is moved
    device.limit(1e-9)
    device.shared("other", linear)  # must not try to park what accelerate moves about
    assert torch.equal(moved(asked), expected)


def test_a_model_is_loaded_once_and_shared() -> None:
    made: list[int] = []

    def load() -> torch.nn.Linear:
        made.append(1)
        return linear()

    assert device.shared("a", load) is device.shared("a", load)
    assert made == [1]
    device.release()
    device.shared("a", load)
    assert made == [1, 1]


def test_models_over_the_budget_are_parked_least_recently_used_first() -> None:
    device.limit(0.011)  # two of 4 MB with headroom
    for key in "ab":
        device.shared(key, linear)
    device.shared("a", linear)
    device.shared("c", linear)
    assert set(device.resident()) == {"a", "c"}
    device.shared("b", linear)
    assert set(device.resident()) == {"c", "b"}
    assert device.shared("b", linear).weight.device == torch.device("cpu")


def test_a_worker_that_must_give_room_is_closed_and_may_come_back() -> None:
    closed: list[str] = []
    worker = SimpleNamespace(close=lambda: closed.append("worker"))
    device.limit(10)
    assert device.shared("worker", lambda: worker, needs_gb=8) is worker
    device.shared("big", linear, needs_gb=5)
    assert closed == ["worker"]
    assert set(device.resident()) == {"big"}
    assert device.shared("worker", lambda: worker, needs_gb=8) is worker
    assert set(device.resident()) == {"worker"}
    device.release()
    assert closed == ["worker", "worker"]


def test_a_worker_that_is_asked_first_does_not_hide_that_the_gpu_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "memory_gb", lambda where: 0.006)  # without a budget: what the device has
    closed: list[str] = []
    device.shared("worker", lambda: SimpleNamespace(close=lambda: closed.append("worker")), needs_gb=0.001)
    device.shared("a", linear)
    device.shared("b", linear)
    assert set(device.resident()) == {"b"}
    assert closed == ["worker"]


def test_a_module_is_on_its_device_whole_however_a_recipe_offloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAM 2 takes weights of layers that it does not call: layer by layer it cannot be asked about points."""
    elsewhere = torch.device("meta")  # in the GPU's place
    monkeypatch.setattr(Placement, "torch_device", property(lambda self: elsewhere))
    model = Placement(dtype="float32", offload="sequential").apply(linear(8))
    assert model.weight.device == elsewhere
    assert not hasattr(model, "_hf_hook")
