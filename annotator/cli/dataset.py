"""export, verify."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, WorkspaceOption, examples
from annotator.cli.workspace import pair_statuses


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "hoi-annotate export --format obman -o dataset/",
            "hoi-annotate export --format obman -o dataset/ --split train=0.9,test=0.1 --licence CC0-1.0",
        )
    )(export)
    app.command(epilog=examples("hoi-annotate verify dataset/"))(verify)


def export(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Made whole, or not at all.")],
    format: Annotated[str, typer.Option("--format", "-f", help="The dataset's format.")] = "obman",
    verdict: Annotated[
        list[str] | None, typer.Option("--verdict", help="Pairs in this status; repeatable; default: accepted.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Shares, as train=0.8,val=0.1,test=0.1.")] = None,
    licence: Annotated[
        list[str] | None, typer.Option("--licence", help="Only photos under this licence; repeatable.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="An option of the format; repeatable.")
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Write accepted pairs as a dataset."""
    from annotator.service import publish_dataset
    from annotator.workspace import Workspace

    options = _options(format, option or [])
    if split is not None:
        options["split"] = split
    statuses = pair_statuses(verdict) or ["accepted"]
    opened = Workspace.find(workspace)
    with output.Bar("export", quiet=True) as bar:
        summary = publish_dataset(
            opened, format, out, statuses=statuses, licences=licence or (), options=options, progress=bar
        )
    skipped = [{"pair": pair, "reason": reason} for pair, reason in summary.skipped]
    if json:
        fields = {"format": format, "path": str(summary.path), "digest": summary.digest}
        output.data_json({"records": summary.count, "skipped": skipped} | fields)
    else:
        output.data(f"{summary.count} records in {summary.path}, digest {summary.digest}")
        for pair, reason in summary.skipped:
            output.say(f"skipped {pair}: {reason}")
    if not summary.count:
        raise typer.Exit(1)


def _options(format: str, given: list[str]) -> dict[str, Any]:
    """NAME=VALUE flags, checked against what the format takes."""
    from exports.base import get_format

    takes = inspect.signature(get_format(format).write).parameters
    known = {name: p for name, p in takes.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    options: dict[str, Any] = {}
    for item in given:
        name, _, value = item.partition("=")
        if name not in known and not free:
            raise typer.BadParameter(f"'{item}': {format} takes {', '.join(f'{name}=...' for name in known)}")
        number = name in known and isinstance(known[name].default, int)
        try:
            options[name] = int(value) if number else value
        except ValueError as error:
            raise typer.BadParameter(f"'{item}': not a whole number") from error
    return options


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
        output.say(f"{len(problems)} problems" if problems else f"{folder}: everything is as it should be")
    if problems:
        raise typer.Exit(1)
