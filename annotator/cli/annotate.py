"""preannotate, run, report, demo."""

from __future__ import annotations

import hashlib
import json as json_module
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from annotator.cli import output
from annotator.cli.options import (
    HandBoxOption,
    JobsOption,
    JsonOption,
    KeypointsOption,
    LicenceOption,
    LogJsonOption,
    RecipeOption,
    SourceOption,
    SubjectOption,
    WorkspaceOption,
    examples,
)
from annotator.cli.workspace import given_hands, pair_statuses
from exports.text import counted

if TYPE_CHECKING:
    from annotator.annotating import Annotated as Done
    from annotator.progress import Progress
    from annotator.workspace import Workspace

T = TypeVar("T")


class Engine(StrEnum):
    local = "local"
    queue = "queue"
    ray = "ray"


REPORT = "report.html"
SHEET = "contact_sheet.png"
TITLE = "hoi-annotate"


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "hoi-annotate preannotate",
            "hoi-annotate preannotate --limit 10 --jobs 2",
            "hoi-annotate preannotate --engine queue",
        )
    )(preannotate)
    app.command(
        epilog=examples(
            "hoi-annotate run photos/ -o out",
            "hoi-annotate run cup.jpg -o out --hand-box 120,80,410,390,left",
        )
    )(run)
    app.command(epilog=examples("hoi-annotate report -o report.html", "hoi-annotate report --status accepted"))(report)
    app.command(epilog=examples("hoi-annotate demo", "hoi-annotate demo --photos my-photos/"))(demo)


def preannotate(
    recipe: RecipeOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many photos.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Also photos that failed.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="All photos, also those that are done.")] = False,
    jobs: JobsOption = None,
    engine: Annotated[Engine, typer.Option("--engine", help="Who does it: this command, workers, a Ray cluster.")] = (
        Engine.local
    ),
    log_json: LogJsonOption = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Find hand-object pairs in all photos that wait; an interrupted run goes on where it was.

    With --engine queue the photos are annotated by 'hoi-annotate worker', on as many machines as run it, and this
    command shows how far they are: it may be interrupted and repeated. With --engine ray they are annotated by the
    Ray cluster at RAY_ADDRESS, or a new one on this machine, by --jobs actors or as many as it has room for.
    """
    from annotator import overview
    from annotator.workspace import Workspace

    if engine is Engine.queue and jobs is not None:
        raise typer.BadParameter("with --engine queue the workers' slots decide: hoi-annotate worker --slots N")
    opened = Workspace.find(workspace, recipe=recipe, jobs=jobs, log="json" if log_json else None)
    _tell_costs(opened, limit=limit, retry=retry, redo=redo)
    how, more = _ENGINES[engine], {"actors": jobs} if engine is Engine.ray else {}
    done = how(opened, limit=limit, retry=retry, redo=redo, **more)
    digest, revisions = overview.digest(opened)
    if json:
        waiting = overview.waiting(opened)
        output.data_json(_summary(done) | {"waiting": waiting, "revisions": revisions, "digest": digest})
    else:
        _tell(opened, done)
        output.data(f"digest of all {counted(revisions, 'revision')}: {digest}")
    if done.failed:
        raise typer.Exit(1)


def run(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO", help="Files, folders, globs or s3:// prefixes.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="The workspace; default: a new temporary folder.")
    ] = None,
    recipe: RecipeOption = None,
    jobs: JobsOption = None,
    hand_box: HandBoxOption = None,
    keypoints: KeypointsOption = None,
    licence: LicenceOption = None,
    source: SourceOption = None,
    subject: SubjectOption = None,
    json: JsonOption = False,
) -> None:
    """Photographs in, report out: ingest, preannotate and report in one go."""
    from annotator import config, overview, sources
    from annotator.service import ingest
    from annotator.workspace import Workspace

    hands = given_hands(hand_box, keypoints)
    if out is None or not (out / config.FILE).exists():
        sources.check_any(photos)  # before there is a workspace with nothing in it
    folder = out or Path(tempfile.mkdtemp(prefix="hoi-annotate-"))
    opened = Workspace.create(folder, recipe=recipe, jobs=jobs)
    with output.Bar("ingest", quiet=True) as bar:
        taken = ingest(opened, photos, hands=hands, licence=licence, source=source, subject=subject, progress=bar)
    _tell_costs(opened)
    done = _preannotate(opened)
    written = _write_report_if_changed(opened)
    digest, revisions = overview.digest(opened)
    failed = [*taken.failed, *done.failed]
    if json:
        paths = {"workspace": str(opened.root), "report": str(opened.root / REPORT) if written is not None else None}
        output.data_json(_summary(done, taken.failed) | paths | {"revisions": revisions, "digest": digest})
    else:
        _tell(opened, done)
        if written:
            output.data(f"report: {opened.root / REPORT}")
            output.data(f"contact sheet: {opened.root / SHEET}")
        output.data(f"digest of all {counted(revisions, 'revision')}: {digest}")
    if failed:
        raise typer.Exit(1)


def report(
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="HTML", help=f"Default: {REPORT}.")] = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", metavar="PNG", help="Also a contact sheet.")] = None,
    status: Annotated[list[str] | None, typer.Option("--status", help="Only pairs in this status; repeatable.")] = None,
    title: Annotated[str, typer.Option("--title", help="Heading of the page.")] = TITLE,
    workspace: WorkspaceOption = None,
) -> None:
    """One self-contained page with every pair: overlay, masks, contacts, turntable, 3D, figures."""
    from annotator.workspace import Workspace

    opened = Workspace.find(workspace)
    page = out or Path(REPORT)
    _write_report(opened, page, sheet, pair_statuses(status), title)
    output.data(f"report: {page.absolute()}")
    if sheet is not None:
        output.data(f"contact sheet: {sheet.absolute()}")


def demo(
    photos: Annotated[Path | None, typer.Option("--photos", metavar="DIR", help="Your photographs.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The workspace.")] = Path("demo-out"),
    jobs: JobsOption = None,
) -> None:
    """Fetch the weights and run on a picture that comes with the program; ends well when a pair was found."""
    from annotator import overview, sources
    from annotator.service import ingest
    from annotator.workspace import Workspace
    from pipeline.weights import pull

    shown = [str(photos or _demo_photos())]
    sources.check_any(shown)  # before there is a workspace with nothing in it
    pull("cpu", output.say)
    opened = Workspace.create(out, jobs=jobs)
    with output.Bar("ingest", quiet=True) as bar:
        ingest(opened, shown, progress=bar)
    _tell(opened, _preannotate(opened))
    _write_report_if_changed(opened)
    if not overview.status(opened)["pairs"]:
        raise typer.Exit(1)
    output.data(f"open in a browser: {opened.root / REPORT}")


def _demo_photos() -> Path:
    """The shipped picture: beside the code in the wheel, at the top of the repo."""
    import annotator

    here = Path(annotator.__file__).parent
    return next(folder for folder in (here / "_demo", here.parent / "demo") if folder.is_dir())


def _tell_costs(workspace: Workspace, **options: Any) -> None:
    from annotator import annotating
    from pipeline.recipe import Recipe

    for line in annotating.costs(workspace, Recipe.load(workspace.settings.recipe), **options):
        output.say(line)


def _preannotate(workspace: Workspace, **options: Any) -> Done:
    from annotator import service
    from pipeline.recipe import Recipe

    recipe = Recipe.load(workspace.settings.recipe)
    with _progress(workspace) as progress:
        return service.preannotate(workspace, recipe, progress=progress, **options)


@contextmanager
def _progress(workspace: Workspace) -> Iterator[Progress]:
    """A bar, or logs where these are asked for."""
    if workspace.settings.log == "json":
        from annotator import logs

        logs.configure("json")
        yield logs.Told("annotate")
    else:
        with output.Bar("annotate") as bar:
            yield bar


def _preannotate_by_workers(workspace: Workspace, **options: Any) -> Done:
    from annotator import logs, overview
    from annotator.jobs import JobQueue, bulk
    from pipeline.recipe import Recipe

    say = logs.get_logger("annotator").info if workspace.settings.log == "json" else output.say
    queue = JobQueue(workspace)
    new = bulk.enqueue(workspace, queue, Recipe.load(workspace.settings.recipe), **options)
    queue.close()
    try:
        with _progress(workspace) as progress:
            found = overview.work(workspace)
            slots = counted(len(found["workers"]), "worker slot")
            say(f"{counted(new, 'photo')} queued; {found['waiting']} waiting in all, for {slots}")
            return bulk.watch(workspace, progress, say)
    except KeyboardInterrupt:
        left = overview.work(workspace)["waiting"]
        say(f"{counted(left, 'photo')} left queued for the workers; the same command shows again how far they are")
        raise typer.Exit(1) from None


def _preannotate_on_ray(workspace: Workspace, *, actors: int | None, **options: Any) -> Done:
    from annotator import on_ray
    from pipeline.recipe import Recipe

    recipe = Recipe.load(workspace.settings.recipe)
    if workspace.settings.log != "json":
        where = os.environ.get("RAY_ADDRESS") or "the cluster of this machine, or starting one"
        output.say(f"Ray: joining {where}")
    with _progress(workspace) as progress:
        return on_ray.preannotate(workspace, recipe, actors=actors, progress=progress, **options)


_ENGINES = {
    Engine.local: _preannotate,
    Engine.queue: _preannotate_by_workers,
    Engine.ray: _preannotate_on_ray,
}


def _summary(done: Done, failed_before: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    failed = [{"photo": name, "reason": reason} for name, reason in (*failed_before, *done.failed)]
    return {"photos": done.photos, "published": done.published, "unchanged": done.unchanged, "failed": failed}


def _tell(workspace: Workspace, done: Done) -> None:
    from annotator import overview

    found = overview.status(workspace)
    counts = ((found["photos"], "photo"), (found["pairs"], "pair"), (len(found["failed"]), "photo"))
    everything = ", ".join(counted(*count) for count in counts) + " without a pair"
    if not done.photos:
        output.data(f"nothing to do: {everything}")
        return
    output.data(
        f"{counted(done.photos, 'photo')} annotated: {counted(len(done.published), 'new revision')}, "
        f"{counted(len(done.unchanged), 'unchanged pair')}, {len(done.failed)} failed"
    )
    output.data(f"in all: {everything}")
    if done.failed:
        output.say("'hoi-annotate preannotate --retry' tries failed photos again; a hand box in a sidecar helps some")


def _write_report_if_changed(workspace: Workspace) -> bool | None:
    """Writes report and sheet unless they show this very state already; None when there is nothing to show."""
    from annotator import overview

    state = overview.state(workspace)
    if not any(state):
        return None
    mark = workspace.cache_folder / "report-state"
    digest = hashlib.sha256(json_module.dumps(state).encode()).hexdigest()
    page, sheet = workspace.root / REPORT, workspace.root / SHEET
    if mark.is_file() and mark.read_text() == digest and page.is_file() and sheet.is_file():
        return False
    _write_report(workspace, page, sheet, [], TITLE)
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(digest)
    return True


def _write_report(workspace: Workspace, page: Path, sheet: Path | None, statuses: list[Any], title: str) -> None:
    from annotator import overview
    from annotator.report import write_contact_sheet, write_report

    total = len(overview.pairs(workspace, statuses))
    failed = [(failure["photo"], failure["reason"]) for failure in overview.status(workspace)["failed"]]
    with output.Bar("report", quiet=True) as bar:
        bar.begin(total)
        write_report(_counted(overview.views(workspace, statuses), bar), page, title)
    if sheet is not None:
        with output.Bar("contact sheet", quiet=True) as bar:
            bar.begin(total)
            write_contact_sheet(_counted(overview.views(workspace, statuses), bar), sheet, failed)


def _counted(views: Iterator[Any], bar: output.Bar) -> Iterator[Any]:
    for view in views:
        yield view
        bar.done(view.pair_id, "")
