"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="The workspace folder; default: the one around the current folder."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
LogJsonOption = Annotated[
    bool, typer.Option("--log-json", help="Logs as JSON, as they are when nobody watches (HOI_LOG=json).")
]
RecipeOption = Annotated[str | None, typer.Option("--recipe", help="A shipped recipe or the path of a .toml file.")]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=0,
        help="Photos annotated at the same time by this command; 0: in its own process. Default: as set, or else 2.",
    ),
]
LicenceOption = Annotated[str | None, typer.Option("--licence", help="Licence of these photos.")]
SourceOption = Annotated[str | None, typer.Option("--source", help="Where these photos come from.")]
SubjectOption = Annotated[str | None, typer.Option("--subject", help="Whose hands these are; keeps splits apart.")]
HandBoxOption = Annotated[
    list[str] | None,
    typer.Option("--hand-box", metavar="X0,Y0,X1,Y1[,SIDE]", help="Where a hand is, in pixels of the upright photo."),
]
KeypointsOption = Annotated[
    list[Path] | None,
    typer.Option("--keypoints", metavar="FILE", help="21 lines 'x y' (or JSON): a hand's keypoints, wrist to little."),
]


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
