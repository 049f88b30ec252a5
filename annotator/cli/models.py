"""models list, pull, licences."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, examples


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Model weights: what a recipe needs, and under which terms.", no_args_is_help=True)
    group.command("list", epilog=examples("hoi-annotate models list --json"))(list_weights)
    group.command(epilog=examples("hoi-annotate models pull"))(pull)
    group.command(epilog=examples("hoi-annotate models licences"))(licences)
    app.add_typer(group, name="models")


def list_weights(json: JsonOption = False) -> None:
    """All weights, and whether they are here."""
    from pipeline import weights

    found: list[dict[str, Any]] = [
        {
            "name": weight.name,
            "description": weight.description,
            "package": weight.package.spec,
            "licence": weight.licence,
            "size": weight.size,
            "sha256": weight.sha256,
            "needed": not weight.optional,
            "present": weights.is_cached(weight.name),
        }
        for weight in weights.WEIGHTS.values()
    ]
    if json:
        output.data_json(found)
        return
    columns = ("name", "present", "MB", "package", "description")
    rows = [
        [w["name"], "yes" if w["present"] else "no", round(w["size"] / 1e6, 1), w["package"], w["description"]]
        for w in found
    ]
    output.table(columns, rows)
    output.say(f"kept in {weights.cache_dir()}")


def pull(recipe: Annotated[str, typer.Argument(help="Whose weights.")] = "cpu") -> None:
    """Fetch a recipe's weights from the packages they come in; what is here already stays."""
    from pipeline import weights

    for path in weights.pull(recipe, output.say):
        output.data(str(path))


def licences(json: JsonOption = False) -> None:
    """Under which terms the weights and their packages are."""
    from pipeline import weights

    terms = [
        {"name": w.name, "licence": w.licence, "package": w.package.spec, "package_licence": w.package.licence}
        for w in weights.WEIGHTS.values()
    ]
    if json:
        output.data_json(terms)
        return
    output.table(("name", "licence", "package", "package's licence"), [list(entry.values()) for entry in terms])
