"""export, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, WorkspaceOption, examples
from annotator.cli.workspace import pair_statuses
from exports.text import counted

FORMATS = "list"  # as --format: what there is


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "hoi-annotate export --format obman -o dataset/",
            "hoi-annotate export --format obman -o dataset/ --camera exact --mirror-left",
            "hoi-annotate export --format coco -o dataset/ --split train=0.9,test=0.1 --licence CC0-1.0",
            "hoi-annotate export --format list",
        )
    )(export)
    app.command(epilog=examples("hoi-annotate verify dataset/"))(verify)


def export(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Made whole, or not at all.", show_default=False)
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="The dataset's format; 'list' shows all.")] = "obman",
    verdict: Annotated[
        list[str] | None, typer.Option("--verdict", help="Pairs in this status; repeatable; default: accepted.")
    ] = None,
    licence: Annotated[
        list[str] | None, typer.Option("--licence", help="Only photos under this licence; repeatable.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Shares, as train=0.8,val=0.1,test=0.1.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the split; default: 0.")] = None,
    duplicates: Annotated[
        str | None, typer.Option("--duplicates", help="drop or keep photos of a picture that is there; default: drop.")
    ] = None,
    mirror_left: Annotated[
        bool, typer.Option("--mirror-left", help="Mirror left hands, for readers that know only right ones.")
    ] = False,
    hand_model: Annotated[
        str | None, typer.Option("--hand-model", help="Refit hands to this model; default: as they were made.")
    ] = None,
    camera: Annotated[str | None, typer.Option("--camera", help="obman: refit or exact.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="An option of the format; repeatable.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes that write; default: as set.")] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Write accepted pairs as a dataset. Interrupted, the same command goes on where it was."""
    if format == FORMATS:
        _list_formats(json)
        return
    if out is None:
        raise typer.BadParameter("give the folder to write: -o DIR")
    from annotator.service import publish_dataset
    from annotator.workspace import Workspace

    flags = {"split": split, "seed": seed, "duplicates": duplicates, "hand_model": hand_model, "camera": camera}
    settings = _pairs(option or []) | {name: value for name, value in flags.items() if value is not None}
    if mirror_left:
        settings["mirror_left"] = True
    opened = Workspace.find(workspace)
    with output.Bar("export", quiet=True) as bar:
        summary = publish_dataset(
            opened,
            format,
            out,
            statuses=pair_statuses(verdict) or ["accepted"],
            licences=licence or (),
            jobs=jobs,
            settings=settings,
            progress=bar,
        )
    skipped = [{"pair": pair, "reason": reason} for pair, reason in summary.skipped]
    if json:
        fields = {"format": format, "path": str(summary.path), "digest": summary.digest}
        output.data_json({"records": summary.count, "skipped": skipped} | fields)
    else:
        output.data(f"{counted(summary.count, 'record')} in {summary.path}, digest {summary.digest}")
        for pair, reason in summary.skipped:
            output.say(f"skipped {pair}: {reason}")
    if not summary.count:
        raise typer.Exit(1)


def _pairs(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE flags; the format itself says which names it takes."""
    options: dict[str, Any] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise typer.BadParameter(f"'{item}': write NAME=VALUE")
        options[name] = value
    return options


def _list_formats(json: bool) -> None:
    from exports.base import format_names, get_format

    formats = [get_format(name) for name in format_names()]
    if json:
        rows = [
            {
                "name": format.name,
                "about": format.about,
                "splits": list(format.splits),
                "options": {
                    name: {"default": option.default, "choices": list(option.choices), "help": option.help}
                    for name, option in format.options.items()
                },
            }
            for format in formats
        ]
        output.data_json(rows)
        return
    for format in formats:
        output.data(f"{format.name:<10} {format.about}")
        for name, option in format.options.items():
            output.data(f"{'':<10}   --option {name}={option.default}: {option.help}")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset that export wrote.")],
    json: JsonOption = False,
) -> None:
    """Check a dataset: every file, every key, no leak between splits."""
    from exports.verify import verify as find_problems

    problems = find_problems(folder)
    if json:
        output.data_json({"path": str(folder), "problems": problems})
    else:
        for line in problems:
            output.data(line)
        output.say(counted(len(problems), "problem") if problems else f"{folder}: everything is as it should be")
    if problems:
        raise typer.Exit(1)
