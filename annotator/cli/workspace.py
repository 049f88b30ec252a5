"""init, ingest, status, list, show, db upgrade."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from annotator.cli import output
from annotator.cli.options import (
    HandBoxOption,
    JsonOption,
    KeypointsOption,
    LicenceOption,
    SourceOption,
    SubjectOption,
    WorkspaceOption,
    examples,
)
from exports.text import counted

if TYPE_CHECKING:
    from annotator.workspace import Workspace


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("hoi-annotate init my-dataset"))(init)
    app.command(
        epilog=examples(
            "hoi-annotate ingest photos/ more/*.jpg --licence CC-BY-4.0 --subject anna",
            "hoi-annotate ingest s3://bucket/photos/",
            "hoi-annotate ingest cup.jpg --hand-box 120,80,410,390,left",
        )
    )(ingest)
    app.command(
        epilog=examples("hoi-annotate status --json", "hoi-annotate status --check", "hoi-annotate status --deep")
    )(status)
    app.command("list", epilog=examples("hoi-annotate list --status preannotated --doubtful-first"))(list_pairs)
    app.command(epilog=examples("hoi-annotate show 3fa2b40c91de-0 --save cup/"))(show)
    database = typer.Typer(help="The tables of a workspace.", no_args_is_help=True)
    database.command("upgrade", epilog=examples("hoi-annotate db upgrade"))(upgrade)
    app.add_typer(database, name="db")


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made when it does not exist.")] = Path(),
) -> None:
    """Make a folder a workspace: settings, database, store."""
    from annotator.workspace import Workspace

    workspace = Workspace.create(folder)
    workspace.blobs  # noqa: B018 (opening it makes the folder)
    output.say(f"workspace {workspace.root}: take photos in with 'hoi-annotate ingest'")


def given_hands(boxes: list[str] | None, keypoints: list[Path] | None) -> list[dict[str, Any]]:
    """What --hand-box and --keypoints say."""
    from annotator import hints

    return [*map(hints.parse_box, boxes or ()), *map(hints.read_keypoints, keypoints or ())]


def ingest(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, globs or s3:// prefixes.")],
    licence: LicenceOption = None,
    source: SourceOption = None,
    subject: SubjectOption = None,
    hand_box: HandBoxOption = None,
    keypoints: KeypointsOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Take photographs in; a sidecar PHOTO.hoi.json says where hands are."""
    from annotator.service import ingest
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace)
    hands = given_hands(hand_box, keypoints)
    with output.Bar("ingest", quiet=True) as bar:
        result = ingest(opened, paths, hands=hands, licence=licence, source=source, subject=subject, progress=bar)
    failed = [{"photo": name, "reason": reason} for name, reason in result.failed]
    known = [*result.known, *result.described]
    if json:
        output.data_json({"added": result.added, "known": known, "hinted": result.hinted, "failed": failed})
    else:
        output.say(
            f"{len(result.added)} new, {len(known)} known already, {len(result.hinted)} with new help, "
            f"{len(failed)} failed"
        )
        if result.described:
            output.say(f"licence, source or subject of {len(result.described)} known photos are now as given")
    if failed:
        raise typer.Exit(1)


def status(
    check: Annotated[
        bool, typer.Option("--check", help="Prove that nothing is lost: all states, sums and stored bytes.")
    ] = False,
    deep: Annotated[bool, typer.Option("--deep", help="As --check, and read every stored byte.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """How many photos and pairs there are, and what failed why."""
    from annotator import overview
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace)
    if check or deep:
        _check(opened, deep, json)
        return
    found = overview.status(opened)
    if json:
        output.data_json(found)
        return
    output.data(f"workspace {opened.root}")
    photos, pairs = counted(found["photos"], "photo"), counted(found["pairs"], "pair")
    output.data(f"{photos}, {overview.waiting(opened)} of them waiting, {pairs}")
    for name, count in found["by_status"].items():
        output.data(f"  {count:5d} {name}")
    if found["jobs"]:
        output.data("reviewers' jobs: " + ", ".join(f"{count} {state}" for state, count in found["jobs"].items()))
    if found["failed"]:
        output.data(f"{counted(len(found['failed']), 'photo')} without a pair:")
    for failure in found["failed"]:
        output.data(f"  {failure['photo']}: {failure['reason']}")
    passed_over = overview.notes(opened)
    if passed_over:
        output.data(f"{len(passed_over)} more hands without a pair:")
    for photo, reason in passed_over:
        output.data(f"  {photo}: {reason}")


def _check(opened: Workspace, deep: bool, json: bool) -> None:
    from annotator.checking import check

    with output.Bar("read", quiet=True) as bar:
        found = check(opened, deep=deep, progress=bar)
    broken = [{"what": what, "wrong": wrong} for what, wrong in found.broken]
    if json:
        output.data_json(asdict(found) | {"broken": broken})
    else:
        output.data(f"workspace {opened.root}")
        for name, states in (("photos", found.photos), ("pairs", found.pairs), ("jobs", found.jobs)):
            parts = " + ".join(f"{count} {state}" for state, count in states.items())
            output.data(f"  {name}: {sum(states.values())}{f' = {parts}' if parts else ''}")
        output.data(f"  revisions: {found.revisions}")
        blobs, size = found.blobs, output.size(found.blobs["bytes"])
        output.data(f"  blobs: {blobs['stored']} in the store ({size}), {blobs['named']} of them named by rows")
        for entry in broken:
            output.data(f"{entry['what']}: {entry['wrong']}")
        if found.blobs["missing"] or found.blobs["damaged"]:
            output.say("'hoi-annotate restore BACKUP --repair' puts blobs back that are missing or damaged")
        read = ", every blob was read" if deep else ""
        verdict = f"wrong: {len(broken)}" if broken else "everything is there, and in one state"
        output.data(verdict + read)
    if broken:
        raise typer.Exit(1)


def list_pairs(
    status: Annotated[list[str] | None, typer.Option("--status", help="Only pairs in this status; repeatable.")] = None,
    doubtful_first: Annotated[bool, typer.Option("--doubtful-first", help="Lowest confidence first.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """All pairs with their figures."""
    from annotator import overview
    from annotator.workspace import Workspace

    found = overview.pairs(Workspace.find(workspace), pair_statuses(status))
    if doubtful_first:
        found.sort(key=lambda entry: -1.0 if entry["confidence"] is None else entry["confidence"])
    if json:
        output.data_json(found)
        return
    columns = "pair photo side status rev confidence hand-IoU object-IoU pen-mm inter-cm3 displ-cm contact seconds"
    rows = [
        [entry[key] for key in ("pair", "photo", "side", "status", "revision", "confidence")]
        + list(entry["metrics"].values())
        + [float(sum(entry["seconds"].values()))]
        for entry in found
    ]
    output.table(columns.split(), rows)


def pair_statuses(words: list[str] | None) -> list[Any]:
    """Checked names of pair statuses."""
    from db.models import PairStatus

    known = get_args(PairStatus)
    for word in words or ():
        if word not in known:
            raise typer.BadParameter(f"'{word}' is no status; they are {', '.join(known)}")
    return cast(list[Any], words or [])


def show(
    pair: Annotated[str, typer.Argument(help="The pair's id, or the beginning of it.")],
    save: Annotated[Path | None, typer.Option("--save", metavar="DIR", help="Write masks, GLB and parameters.")] = None,
    revision: Annotated[int | None, typer.Option("--revision", min=1, help="Default: the newest.")] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """One pair: figures, diagnostics, history."""
    from annotator import overview
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace)
    found = overview.details(opened, pair, revision)
    if json:
        output.data_json(found)
    else:
        _describe(found)
    if save is not None:
        from annotator.saving import save as save_pair

        for path in save_pair(opened, pair, save, revision):
            output.say(f"wrote {path}")


def _describe(found: dict[str, Any]) -> None:
    confidence = "-" if found["confidence"] is None else f"{found['confidence']:.2f}"
    output.data(f"pair {found['pair']} of {found['photo']}")
    output.data(f"{found['side']} hand, revision {found['revision']}, {found['status']}, confidence {confidence}")
    output.data(
        f"object: {found['object']['kind']}; touched by {', '.join(found['contacts']['touching']) or 'nothing'}"
    )
    output.table(["metric", "value"], sorted(found["metrics"].items()))
    output.table(["stage", "seconds"], list(found["seconds"].items()))
    for warning in found["diagnostics"].get("warnings", ()):
        output.data(f"warning: {warning}")
    for step in found["history"]:
        output.data(f"revision {step['revision']} by {step['trigger']}")
        for review in step["reviews"]:
            comment = f": {review['comment']}" if review["comment"] else ""
            output.data(f"  {review['verdict']} by {review['reviewer']}{comment}")


def upgrade(workspace: WorkspaceOption = None) -> None:
    """Bring the tables, and work that waits in the queue, up to what this program needs."""
    from annotator.jobs.versions import requeue
    from annotator.workspace import Workspace
    from db.migrate import HEAD

    opened = Workspace.find(workspace)
    before = opened.upgrade()
    output.say(f"tables are at version {HEAD}" + ("" if before == HEAD else f" (before: {before or 'none'})"))
    if moved := requeue(opened):
        output.say(f"queued anew what waited for workers of another version: {moved} in all")
