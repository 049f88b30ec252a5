"""models list, pull, add-mano, licences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, examples


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Model weights: what a recipe needs, and under which terms.", no_args_is_help=True)
    group.command("list", epilog=examples("hoi-annotate models list --json"))(list_weights)
    group.command(epilog=examples("hoi-annotate models pull"))(pull)
    group.command(
        "add-mano",
        epilog=examples(
            "hoi-annotate models add-mano mano_v1_2/models",
            "hoi-annotate models add-mano mano_v1_2.zip",
            "hoi-annotate models add-mano MANO_RIGHT.pkl",
        ),
    )(add_mano)
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
    found += _mano_hands()
    if json:
        output.data_json(found)
        return
    columns = ("name", "present", "MB", "package", "description")
    rows = [
        [w["name"], "yes" if w["present"] else "no", _megabytes(w["size"]), w["package"], w["description"]]
        for w in found
    ]
    output.table(columns, rows)
    output.say(f"kept in {weights.cache_dir()}")


def pull(recipe: Annotated[str, typer.Argument(help="Whose weights.")] = "cpu") -> None:
    """Fetch a recipe's weights from the packages they come in; what is here already stays."""
    from pipeline import weights

    for path in weights.pull(recipe, output.say):
        output.data(str(path))


def add_mano(
    path: Annotated[Path, typer.Argument(help="MANO_RIGHT.pkl or MANO_LEFT.pkl, or a folder or zip with them.")],
) -> None:
    """Add your own MANO hands, for `export --hand-model mano`. Its makers give them to those who register.

    The file is read without running anything in it, and converted into the folder of the weights. It stays under
    MANO's licence, and so do the vertices and parameters that are written with it.
    """
    from pipeline.hand_model import mano_file

    for hand in mano_file.add_mano(path):
        output.say(f"{hand.source}: the {hand.side} hand{' (shape directions put right)' if hand.shape_fixed else ''}")
        output.data(str(hand.path))
    output.say(mano_file.LICENCE)


def licences(json: JsonOption = False) -> None:
    """Under which terms the weights and their packages are."""
    from pipeline import weights

    terms = [
        {"name": w.name, "licence": w.licence, "package": w.package.spec, "package_licence": w.package.licence}
        for w in weights.WEIGHTS.values()
    ]
    terms += [
        {"name": w["name"], "licence": w["licence"], "package": w["package"], "package_licence": w["licence"]}
        for w in _mano_hands()
        if w["present"]
    ]
    if json:
        output.data_json(terms)
        return
    output.table(("name", "licence", "package", "package's licence"), [list(entry.values()) for entry in terms])


def _megabytes(size: int | None) -> float | None:
    return None if size is None else round(size / 1e6, 1)


def _mano_hands() -> list[dict[str, Any]]:
    """The user's own MANO as `models list` shows weights: one entry per side, whether it is here or not."""
    from pipeline.hand_model import mano_file

    here = {hand.side: hand for hand in mano_file.installed()}
    return [
        {
            "name": f"mano_{side}",
            "description": f"MANO's {side} hand, your own file",
            "package": here[side].source if side in here else mano_file.COMMAND,
            "licence": mano_file.LICENCE,
            "size": here[side].size if side in here else None,
            "sha256": here[side].source_sha256 if side in here else None,
            "needed": False,
            "present": side in here,
        }
        for side in mano_file.SIDES
    ]
