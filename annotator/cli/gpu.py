"""doctor --gpu: what a GPU here would run, and what is missing for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.recipe import Recipe

RECIPES = ("easyhoi-paper", "large")
INSTALL = "pip install 'hoi-annotate[large,gpu]' on a machine with an NVIDIA driver"


@dataclass(frozen=True)
class Gpu:
    """A device that torch can use."""

    name: str  # as a recipe's `device` names it
    model: str
    memory_gb: float | None  # None: it shares the machine's
    dtype: str  # what dtype = "auto" is there


def findings() -> Iterator[tuple[str, str, str]]:
    """State ('ok' | 'note'), what was looked at, what was seen."""
    import torch

    from pipeline.errors import HoiError
    from pipeline.geometry import raster_cuda
    from pipeline.recipe import Recipe

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    yield "ok" if torch.version.cuda else "note", "torch", f"{torch.__version__}, built for {build}"
    found = gpus()
    for gpu in found:
        memory = "the machine's memory" if gpu.memory_gb is None else f"{gpu.memory_gb:.0f} GB"
        yield "ok", gpu.name, f"{gpu.model}, {memory}, models in {gpu.dtype}"
    if not found:
        yield "note", "GPU", f"none that this torch can use: large models need one; {INSTALL}"
    yield (
        ("ok", "rasteriser", 'pytorch3d\'s CUDA rasteriser draws the masks when [optimise] device = "cuda"')
        if raster_cuda.available()
        else (
            "note",
            "rasteriser",
            "pytorch3d's CUDA half does not import beside this torch (it wants 2.12: the extra 'gpu'); "
            "ours draws the masks, on any device",
        )
    )
    for name in RECIPES:
        try:
            yield from recipe_findings(Recipe.load(name), found)
        except HoiError as error:  # an adapter of it is not installed
            yield "note", f"recipe {name}", str(error)


def gpus() -> list[Gpu]:
    """Every device of this machine besides its processors."""
    import torch

    from pipeline.device import GB, Placement

    found = []
    for index in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(index)
        dtype = str(Placement(device=f"cuda:{index}").torch_dtype).removeprefix("torch.")
        found.append(Gpu(f"cuda:{index}", seen.name, seen.total_memory / GB, dtype))
    if torch.backends.mps.is_available():
        found.append(Gpu("mps", "Apple GPU", None, str(Placement(device="mps").torch_dtype).removeprefix("torch.")))
    return found


def recipe_findings(recipe: Recipe, found: list[Gpu]) -> Iterator[tuple[str, str, str]]:
    """Does the recipe fit the largest GPU, and what is still to be fetched for it?"""
    from pipeline import requirements

    name = f"recipe {recipe.name}"
    models = requirements.published(recipe)
    largest = max(models, key=lambda model: model.vram_gb)
    memory = max((gpu.memory_gb or float("inf") for gpu in found), default=0.0)
    wants = f"wants {recipe.vram_gb:.0f} GB (its largest model is {largest.name}, {largest.vram_gb:g} GB)"
    if not found:
        yield "note", name, f"{wants}; there is no GPU"
    elif memory >= recipe.vram_gb:
        yield "ok", name, f"{wants}; fits"
    else:
        yield (
            "note",
            name,
            f"{wants}; the GPU has {memory:.0f} GB: set vram_gb = {int(memory)} in its [placement], models larger than "
            "that work from main memory where they can",
        )
    missing = requirements.missing(recipe)
    if not missing:
        yield "ok", name, "everything it needs is here"
    for line in missing:
        yield "note", name, line
