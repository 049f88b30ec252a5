"""What a recipe needs before it can run: weights, libraries, environments; known without loading a model.

An adapter may say more than the lists do: `models` names further models of the hub that its settings ask for, and
`needs() -> list[str]` gives one line for each thing that is missing and the command that gets it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import hub, weights
from pipeline.adapters import load_adapter
from pipeline.errors import MissingWeights
from pipeline.hand_model.hand import OPEN_HAND, hand_path
from pipeline.hand_model.mano_file import SIDES
from pipeline.recipe import ADAPTER_STAGES, Recipe

PAID = ("tripo3d",)  # adapters whose `cost` is told before a batch

_ready: set[str] = set()  # digests of recipes


class NotReady(MissingWeights):
    """A recipe cannot run here; the message has one line for each thing that is missing, and how to get it."""


def check(recipe: Recipe, chosen: Sequence[Any]) -> None:
    """Raises NotReady, before any work, when something is missing that the recipe's adapters `chosen` need.

    A recipe that was found ready is not looked at again in this process.
    """
    if recipe.digest in _ready:
        return
    lines = missing(recipe, chosen)
    if lines:
        raise NotReady("\n  ".join([f"recipe '{recipe.name}' cannot run here yet:", *lines]))
    _ready.add(recipe.digest)


def missing(recipe: Recipe, chosen: Sequence[Any] | None = None) -> list[str]:
    """One line for each thing that is not here and the command that gets it; [] when the recipe can run."""
    lines: list[str] = []
    for adapter in adapters(recipe) if chosen is None else chosen:
        for weight in _packaged(adapter):
            if not weight.optional and not weights.is_cached(weight.name):
                lines.append(f"{weight.name}: no weights in {weights.cache_dir()}; run: hoi-annotate models pull cpu")
        for model in _published(adapter):
            lines += [
                hub.lacking(library, adapter.name, model.extra if library != "torchvision" else "")
                for library in model.libraries
                if importlib.util.find_spec(library) is None
            ]
            if not hub.is_present(model.name):
                lines.append(hub.missing(model.name))
        lines += getattr(adapter, "needs", list)()
    for side in SIDES:
        try:
            hand_path(side, hand_model(recipe))
        except MissingWeights as error:
            lines.append(str(error))
    return list(dict.fromkeys(lines))


def adapters(recipe: Recipe) -> list[Any]:
    """The recipe's adapters in the order of the stages. Raises UnknownAdapter."""
    chosen = [(stage, recipe.for_adapter(stage)) for stage in ADAPTER_STAGES]
    return [load_adapter(stage, settings["adapter"], settings) for stage, settings in chosen]


def costs(recipe: Recipe, objects: int) -> list[str]:
    """What the recipe's paid services ask for so many objects, one line each. Raises PipelineError."""
    used = [(stage, recipe.for_adapter(stage)) for stage in ADAPTER_STAGES]
    paid = [(stage, settings) for stage, settings in used if settings["adapter"] in PAID]
    return [load_adapter(stage, settings["adapter"], settings).cost(objects) for stage, settings in paid]


def processes(recipe: Recipe, most: int) -> int:
    """How many worker processes, each with models of its own, its device has memory for; `most` at most. 0 stays 0.

    Raises BadPlacement.
    """
    if most < 2 or not recipe.vram_gb:
        return most
    from pipeline.device import Placement, memory_gb  # needs torch

    fitting = memory_gb(Placement.of(recipe.settings["placement"]).torch_device) / recipe.vram_gb
    return int(min(most, max(1.0, fitting)))


def hand_model(recipe: Recipe) -> str:
    """The hand that the recipe fits and optimises."""
    return str(recipe.stage("hand").get("hand_model", OPEN_HAND))


def packaged(recipe: Recipe) -> list[weights.Weight]:
    """The weights of the recipe that come inside packages."""
    return list({w.name: w for adapter in adapters(recipe) for w in _packaged(adapter)}.values())


def published(recipe: Recipe) -> list[hub.HubModel]:
    """The models of the recipe that come from the hub or from their makers."""
    return list({m.name: m for adapter in adapters(recipe) for m in _published(adapter)}.values())


def _packaged(adapter: Any) -> Iterator[weights.Weight]:
    return (weight for weight in weights.WEIGHTS.values() if adapter.name in weight.adapters)


def _published(adapter: Any) -> list[hub.HubModel]:
    used = [model for model in hub.MODELS.values() if adapter.name in model.adapters]
    return [*used, *(hub.MODELS[name] for name in getattr(adapter, "models", ()))]
