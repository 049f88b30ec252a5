"""Where models live: the device, its number format, and how several of them share a GPU's memory.

    settings of a stage -> Placement -> apply(model) -> shared(key, load): one per process, for all stages and adapters

A recipe's [placement] section holds for all its adapters; a stage's own settings go before it:

    device   auto | cpu | cuda | cuda:1 | mps        auto: CUDA, else Apple's MPS, else the CPU
    dtype    auto | float32 | bfloat16 | float16     auto: bfloat16 where CUDA has it, float32 on CPU, else float16
    offload  auto | none | model | sequential        auto: model, when a model alone is larger than the budget
    vram_gb  GB all models may take together; 0: what the device has

`shared` keeps to that budget: models that are used least move to main memory, and come back when they are asked for.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch

from pipeline.errors import HoiError

T = TypeVar("T")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HEADROOM = 1.25  # of a model's own size: what it computes with comes on top
OFFLOADS = ("auto", "none", "model", "sequential")
GB = 1e9


class BadPlacement(HoiError):
    """A recipe asks for a device, a number format or a way of offloading that is not there."""


@dataclass(frozen=True)
class Placement:
    """Where an adapter's models run."""

    device: str = "auto"
    dtype: str = "auto"
    offload: str = "auto"
    vram_gb: float = 0.0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Placement:
        """From a stage's settings; other keys are not looked at. Raises BadPlacement."""
        placement = cls(**{name: settings[name] for name in cls.__dataclass_fields__ if name in settings})
        for name, value, known in (
            ("dtype", placement.dtype, ("auto", *DTYPES)),
            ("offload", placement.offload, OFFLOADS),
        ):
            if value not in known:
                raise BadPlacement(f"recipe: {name} = '{value}' is none of {', '.join(known)}")
        return placement

    @property
    def torch_device(self) -> torch.device:
        """Raises BadPlacement when this machine has no such device."""
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise BadPlacement(f"recipe: device = '{self.device}' is none of auto, cpu, cuda, cuda:1, mps") from error
        there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(_has_mps())}.get(device.type, 0)
        if (device.index or 0) >= there:
            raise BadPlacement(
                f"recipe: device = '{self.device}' is not on this machine; see: hoi-annotate doctor --gpu"
            )
        return device

    @property
    def torch_dtype(self) -> torch.dtype:
        if self.dtype != "auto":
            return DTYPES[self.dtype]
        kind = self.torch_device.type
        if kind == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float16 if kind == "mps" else torch.float32

    def apply(self, model: T) -> T:
        """A torch module (set to evaluation) or a diffusers pipeline, where it is to run, ready to be called.

        A pipeline that is offloaded keeps its parts in main memory and brings each to the GPU for as long as it works.
        A module alone is on its device whole, `shared` moves it away: some use weights of a layer without calling it,
        which no layer-by-layer offload survives. On the CPU nothing is offloaded. A pipeline keeps the number formats
        that it was loaded in: some of its parts may want another than the rest.
        """
        device = self.torch_device
        anything: Any = model
        if isinstance(model, torch.nn.Module):
            model.eval().requires_grad_(False)
            return cast(T, model.to(device, self.torch_dtype))
        how = self._offload_of(model)
        if device.type == "cpu" or how == "none":
            return cast(T, anything.to(device))
        (anything.enable_sequential_cpu_offload if how == "sequential" else anything.enable_model_cpu_offload)(
            device=device
        )
        return model

    def _offload_of(self, model: Any) -> str:
        if self.offload != "auto":
            return self.offload
        budget = self.vram_gb or memory_gb(self.torch_device)
        return "model" if HEADROOM * size_gb(model, self.torch_dtype) > budget else "none"


def memory_gb(device: torch.device) -> float:
    """The device's own memory in GB; without end where it is the machine's."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory) / GB
    return float("inf")


def size_gb(model: Any, dtype: torch.dtype | None = None) -> float:
    """Memory of the parameters and buffers of a module, or of all modules of a pipeline; as they are, or in `dtype`."""
    tensors = [t for module in _modules(model) for t in (*module.parameters(), *module.buffers())]
    wide = None if dtype is None else dtype.itemsize
    return float(sum(t.numel() * (wide if wide and t.is_floating_point() else t.element_size()) for t in tensors) / GB)


def _modules(model: Any) -> list[torch.nn.Module]:
    if isinstance(model, torch.nn.Module):
        return [model]
    parts = model.components.values() if hasattr(model, "components") else vars(model).values()
    return [part for part in parts if isinstance(part, torch.nn.Module)]


def _has_mps() -> bool:
    return bool(torch.backends.mps.is_available())


# One of each model per process.


@dataclass
class _Kept:
    model: Any
    device: torch.device | None  # where it runs; None: it sees to that itself (offloaded, or no torch model)
    gb: float
    parked: bool = False


_kept: OrderedDict[str, _Kept] = OrderedDict()  # least recently asked for first
_budget_gb = 0.0


def limit(vram_gb: float) -> None:
    """How many GB the shared models may take together on a GPU; 0: what the device has."""
    global _budget_gb
    _budget_gb = vram_gb


def shared(key: str, load: Callable[[], T], needs_gb: float = 0.0) -> T:
    """The model under `key`, made by `load` when this process has none yet; it is on its device.

    key: says everything that makes the model (hub name and digest, device, dtype, offload). needs_gb: what it will
    take, so that room is made before it is loaded; afterwards its parameters tell. What is no torch model takes part
    when it has `close()`, which frees its memory until it is used again: a worker process.
    """
    held = _kept.get(key)
    if held is None:
        _make_room(needs_gb)
        model = load()
        held = _kept[key] = _Kept(model, _home(model), max(needs_gb, HEADROOM * size_gb(model)))
    _kept.move_to_end(key)
    _make_room(held.gb, but=key)
    if held.parked and held.device is not None:
        held.model.to(held.device)
    held.parked = False
    return cast(T, held.model)


def release() -> None:
    """Drops all shared models."""
    for held in _kept.values():
        if hasattr(held.model, "close"):
            held.model.close()
    _kept.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def resident() -> dict[str, float]:
    """GB of each shared model that is on its device now, least recently used first."""
    return {key: held.gb for key, held in _kept.items() if not held.parked}


def _make_room(gb: float, but: str = "") -> None:
    """Parks models, least recently used first, until `gb` more fit into the budget."""
    devices = {held.device for held in _kept.values() if held.device is not None}
    budget = _budget_gb or min(map(memory_gb, devices), default=float("inf"))
    for key, held in _kept.items():
        others = sum(size for name, size in resident().items() if name != but)
        if others + gb <= budget:
            return
        if key == but or held.parked or not held.gb:
            continue
        if held.device is not None:
            held.model.to("cpu")
            if held.device.type == "cuda":
                torch.cuda.empty_cache()
        elif hasattr(held.model, "close"):
            held.model.close()
        else:
            continue
        held.parked = True


def _home(model: Any) -> torch.device | None:
    """The device a model was put on as a whole; None for one that accelerate moves about, or no torch model."""
    modules = _modules(model) if hasattr(model, "__dict__") else []
    if not hasattr(model, "to") or any(hasattr(m, "_hf_hook") for top in modules for m in top.modules()):
        return None
    return next((p.device for module in modules for p in module.parameters()), None)
