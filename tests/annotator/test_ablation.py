"""The ablation's rows are changes of the recipe, each of its own, and the command prints them all."""

from __future__ import annotations

from annotator.evaluating import ABLATION
from pipeline.recipe import Recipe


def test_every_row_but_the_first_changes_the_optimisation_in_its_own_way() -> None:
    recipe = Recipe.load("cpu")
    changed = {name: recipe.changed(settings) for name, settings in ABLATION.items()}
    assert changed.pop("the recipe").settings == recipe.settings
    assert all(recipe.digest != other.digest for other in changed.values())
    assert len({other.digest for other in changed.values()}) == len(changed)
    assert all(
        {name for name, section in other.settings.items() if section != recipe.settings[name]} == {"optimise"}
        for other in changed.values()
    )
