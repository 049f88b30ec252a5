"""doctor: is everything here that the work needs?"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from annotator.cli import output
from annotator.cli.gpu import findings
from annotator.cli.options import JsonOption, WorkspaceOption, examples
from exports.text import counted

LIBRARIES = (
    *("torch", "numpy", "scipy", "numba", "cv2", "skimage", "PIL", "ai_edge_litert", "onnxruntime", "trimesh"),
    *("manifold3d", "igl", "smplx", "pytorch3d.transforms", "coacd", "pybullet", "sqlalchemy", "alembic", "obstore"),
    *("dbos", "fastapi", "uvicorn", "label_studio_sdk"),
)
ENOUGH_DISK_GB = 2.0


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("hoi-annotate doctor --json", "hoi-annotate doctor --gpu"))(doctor)


def doctor(
    gpu: Annotated[bool, typer.Option("--gpu", help="Only what a GPU here would run.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Check the installation, the weights and, if there is one, the workspace."""
    checks: tuple[Callable[[], Findings], ...] = (
        _python,
        _machine,
        *(_library(name) for name in LIBRARIES),
        _weights,
        _label_studio,
        _workspace(workspace),
    )
    if gpu:
        checks = (findings,)
    found = [{"state": state, "check": name, "said": said} for check in checks for state, name, said in check()]
    if json:
        output.data_json(found)
    else:
        for entry in found:
            output.data(f"{entry['state']:5s}{entry['check']}: {entry['said']}")
    if any(entry["state"] == "FAIL" for entry in found):
        raise typer.Exit(1)


Findings = Iterator[tuple[str, str, str]]  # state ('ok' | 'note' | 'FAIL'), what was looked at, what was seen


def _python() -> Findings:
    fits = sys.version_info >= (3, 11)
    yield "ok" if fits else "FAIL", "python", platform.python_version() + ("" if fits else "; 3.11 or newer is needed")


def _machine() -> Findings:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield "ok" if free > ENOUGH_DISK_GB else "note", "disk", f"{free:.1f} GB free here"
    yield "ok", "processors", str(os.cpu_count())


def _library(name: str) -> Callable[[], Findings]:
    def check() -> Findings:
        try:
            with _muted():
                module = importlib.import_module(name)
        except Exception as error:  # a broken native library fails in ways of its own
            yield "FAIL", name, f"does not import ({error}); install hoi-annotate again"
        else:
            yield "ok", name, str(getattr(module, "__version__", "imports"))

    return check


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Some native libraries greet when they are loaded, past Python's streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream, _ in kept:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)


def _weights() -> Findings:
    from pipeline import weights

    for weight in weights.WEIGHTS.values():
        name = f"weights {weight.name}"
        if weights.is_cached(weight.name):
            yield "ok", name, str(weights.weight_path(weight.name))
        elif weight.optional:
            yield "note", name, f"not here: {weight.optional}; 'hoi-annotate models pull' fetches them"
        else:
            yield "FAIL", name, "not here: 'hoi-annotate models pull' fetches them"


def _label_studio() -> Findings:
    """Ours; a team may use its own."""
    from annotator import config
    from annotator.studio import install

    venv = install.venv_of(config.load(Path()))
    if install.is_installed(venv):
        yield "ok", "Label Studio", f"{install.VERSION} in {venv}"
    else:
        yield (
            "note",
            "Label Studio",
            "not installed: 'hoi-annotate studio install' does that; a team's own needs nothing",
        )


def _workspace(given: Path | None) -> Callable[[], Findings]:
    def check() -> Findings:
        from annotator import overview
        from annotator.errors import WorkspaceError
        from annotator.jobs.versions import left_behind
        from annotator.workspace import Workspace
        from db.errors import StorageError
        from db.migrate import HEAD
        from pipeline.errors import HoiError
        from pipeline.recipe import Recipe

        try:
            opened = Workspace.find(given)
        except WorkspaceError as error:
            yield "FAIL" if given else "note", "workspace", str(error)
            return
        yield "ok", "workspace", str(opened.root)
        try:
            yield "ok", "database", f"{opened.database.name} at version {HEAD}"
            opened.blobs.probe()
            yield "ok", "store", opened.store_url
            yield "ok", "recipe", Recipe.load(opened.settings.recipe).name
            yield from _work(overview.work(opened))
            with opened.database.read() as session:
                yield from (("note", what, wrong) for what, wrong in left_behind(session))
        except (StorageError, HoiError) as error:
            yield "FAIL", "workspace", str(error)

    return check


def _work(found: dict[str, Any]) -> Findings:
    """Live workers, what waits for them, what nobody goes on with."""
    from annotator.jobs.heartbeat import version_here

    here = version_here()
    jobs = {state: found["jobs"].get(state, 0) for state in ("queued", "running")}
    waiting = f"{counted(found['waiting'], 'photo')} and {counted(jobs['queued'], 'job')} of reviewers waiting"
    depth = f"{waiting}, {counted(jobs['running'], 'job')} running"
    idle = not found["workers"] and (found["waiting"] or jobs["queued"])
    for worker in found["workers"]:
        doing = ", ".join(worker["doing"]) or "idle"
        said = f"process {worker['pid']} on {worker['host']}, heard {worker['seen_s']:.0f} s ago: {doing}"
        yield "ok", f"worker {worker['name']}", said
        if worker["version"] != here:
            said = f"runs {worker['version']}, this machine {here}: install the same on both, and start it again"
            yield "note", f"worker {worker['name']}", said
    yield (
        "note" if idle else "ok",
        "queue",
        f"{depth}; no worker lives: 'hoi-annotate worker' starts one" if idle else depth,
    )
    if found["stuck"]:
        yield "note", "stuck", f"begun by workers that are gone: {'; '.join(found['stuck'])}; any worker takes them up"
