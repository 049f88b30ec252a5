"""backup, restore, gc."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, WorkspaceOption, examples
from exports.text import counted


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("hoi-annotate backup /mnt/backup/cups"))(backup)
    app.command(
        epilog=examples(
            "hoi-annotate restore /mnt/backup/cups cups-again",
            "HOI_DATABASE_URL=postgresql+psycopg://hoi@db/hoi HOI_STORE_URL=s3://bucket/hoi \\",
            "    hoi-annotate restore /mnt/backup/cups cups-again",
            "hoi-annotate restore /mnt/backup/cups --repair",
        )
    )(restore)
    app.command(epilog=examples("hoi-annotate gc", "hoi-annotate gc --delete --older-than 72"))(gc)


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder, or an earlier backup: it is renewed.")],
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Write rows, bytes, settings and keys into a folder, while work goes on; interrupted, it goes on where it was.

    The folder holds the workspace's secrets: keep it as safe. Label Studio's own data is not in it.
    """
    from annotator.backup import backup
    from annotator.workspace import Workspace

    with output.Bar("backup", quiet=True) as bar:
        done = backup(Workspace.find(workspace), folder, progress=bar)
    if json:
        output.data_json(asdict(done))
    else:
        output.data(
            f"{folder}: {counted(sum(done.rows.values()), 'row')} and {counted(done.blobs - len(done.lost), 'blob')}, "
            f"{done.copied} of them new ({output.size(done.bytes)})"
        )
    if done.lost:
        lost = counted(len(done.lost), "blob")
        output.say(f"{lost} missing or damaged in the workspace itself; all else is in the backup")
        raise typer.Exit(1)


def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder that 'backup' wrote.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The workspace to fill: a new folder, or an empty workspace.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put blobs back that the workspace has lost, and change nothing else.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also from a backup in which blobs are missing.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Fill a workspace from a backup; all bytes are checked. Interrupted, it goes on where it was.

    A new workspace has its rows in SQLite and its bytes in store/ unless HOI_DATABASE_URL and HOI_STORE_URL say
    otherwise, whatever the old one had.
    """
    from annotator import backup
    from annotator.workspace import Workspace

    if repair:
        with output.Bar("repair", quiet=True) as bar:
            mended, lost = backup.repair(source, Workspace.find(folder or workspace), progress=bar)
        if json:
            output.data_json({"mended": mended, "lost": lost})
        else:
            output.data(f"blobs put back: {len(mended)}, lost: {len(lost)}")
        for reason in lost:
            output.say(reason)
        if lost:
            raise typer.Exit(1)
        return
    root = folder or workspace
    if root is None:
        raise typer.BadParameter("name the folder of the workspace to fill: hoi-annotate restore SRC DIR")
    with output.Bar("restore", quiet=True) as bar:
        done = backup.restore(source, root, anyway=anyway, progress=bar)
    if json:
        output.data_json(asdict(done))
    else:
        output.data(
            f"workspace {root.absolute()}: {counted(sum(done.rows.values()), 'row')}, "
            f"{counted(done.blobs - len(done.lost), 'blob')} "
            f"({done.copied} copied, {output.size(done.bytes)}), {counted(done.requeued, 'job')} queued anew"
        )
    if done.lost:
        raise typer.Exit(1)


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Really; without it, nothing is changed.")] = False,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="HOURS", min=2, help="Only what nobody has put for so long.")
    ] = 24,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Count the bytes in the store that no row names, and with --delete remove them; work may go on meanwhile.

    Not for a store that several workspaces share: each knows only what its own rows name.
    """
    from annotator.collecting import collect
    from annotator.workspace import Workspace

    with output.Bar("gc", quiet=True) as bar:
        found = collect(Workspace.find(workspace), older_than=timedelta(hours=older_than), delete=delete, progress=bar)
    if json:
        output.data_json(asdict(found))
        return
    output.data(f"{counted(found.stored, 'blob')}, {output.size(found.bytes)}")
    output.data(f"  {found.unnamed} that no row names, {output.size(found.unnamed_bytes)}")
    remains = counted(found.remains, "file")
    output.data(f"  {remains} that killed writers and deletions left, {output.size(found.remains_bytes)}")
    output.data(f"  {found.young} that no row names yet; not older than {older_than:g} h, or a job has just begun")
    if delete:
        output.data(f"deleted: {found.deleted}, {output.size(found.deleted_bytes)}")
    elif found.unnamed or found.remains:
        output.say("nothing was deleted; 'hoi-annotate gc --delete' does that")
