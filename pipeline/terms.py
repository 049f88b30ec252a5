"""Under which terms a recipe's models are, and whether what comes out may be used commercially."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import requirements
from pipeline.hand_model.hand import MANO
from pipeline.hand_model.mano_file import LICENCE as MANO_LICENCE
from pipeline.recipe import Recipe


@dataclass(frozen=True)
class Term:
    """One thing a recipe uses and its licence."""

    name: str
    licence: str
    commercial: bool | None  # None: under conditions, or not known; its page tells
    page: str = ""


def terms(recipe: Recipe) -> list[Term]:
    """Everything the recipe uses that somebody else made; an adapter of a third party tells its own `licence`."""
    found = [Term(w.name, w.licence, True, w.package.spec) for w in requirements.packaged(recipe)]
    found += [Term(m.name, m.licence, m.commercial, m.page) for m in requirements.published(recipe)]
    for adapter in requirements.adapters(recipe):
        foreign = not type(adapter).__module__.startswith("pipeline.")
        if foreign or hasattr(adapter, "licence"):
            said = getattr(adapter, "licence", "not stated by its makers")
            found.append(Term(adapter.name, said, getattr(adapter, "commercial", None), type(adapter).__module__))
    mano = requirements.hand_model(recipe) == MANO
    found.append(Term("mano", MANO_LICENCE, False) if mano else Term("open-hand", "MIT", True))
    return found


def verdict(recipe: Recipe, found: list[Term]) -> str:
    """One line: may the recipe's results be used commercially, and if not, because of what."""
    against = [term.name for term in found if term.commercial is False]
    unsure = [term.name for term in found if term.commercial is None]
    if against:
        return f"recipe '{recipe.name}': not for commercial use, because of {', '.join(against)}"
    if unsure:
        return f"recipe '{recipe.name}': commercial use under conditions; read the licences of {', '.join(unsure)}"
    return f"recipe '{recipe.name}': commercial use is allowed"
