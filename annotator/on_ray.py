"""Bulk work on a Ray cluster: Ray Data maps the chunk function over the photos that are not done.

An actor loads the models once and writes what it finds into our database, so what counts is there however often Ray
runs a batch, and a run that was interrupted goes on with what is left.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from annotator import work
from annotator.annotating import Annotated, annotate, begun, take_over, wanted
from annotator.errors import BadRequest, WorkspaceError
from annotator.progress import Progress, Silent
from annotator.workspace import Workspace
from db.errors import StorageError
from db.repositories import Photos
from exports.text import counted
from pipeline.errors import HoiError
from pipeline.recipe import Recipe

PHOTOS_AT_ONCE = 4
_COLUMNS = ("name", "reason", "published", "unchanged", "trouble")  # of what is told of a photo


def preannotate(
    workspace: Workspace,
    recipe: Recipe,
    *,
    actors: int | None = None,
    limit: int | None = None,
    redo: bool = False,
    retry: bool = False,
    progress: Progress,
) -> Annotated:
    """As `service.preannotate`, on the Ray cluster at RAY_ADDRESS, the one of this machine, or a new one here.

    `actors`: how many photos at the same time; default: one for every GPU, or else every CPU. Raises BadRequest, also
    for what stops an actor (no weights, no room, a database or store that does not answer); repeated, it goes on.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BadRequest(f"--engine ray needs Ray ({error}): pip install 'hoi-annotate[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ray.exceptions.RayError) as error:
            first, *_ = str(error).split("\n")
            raise BadRequest(
                f"cannot join the Ray cluster: {first}; does it run, and is RAY_AUTH_MODE here ('token' or 'disabled') "
                "what it was started with?"
            ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    result = Annotated()
    with workspace.claimed("preannotate --engine ray"):
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        _check_reachable(workspace, {node["NodeManagerHostname"] for node in nodes if node["Alive"]})
        photos = take_over(workspace, wanted(retry=retry, redo=redo), limit)
        if not photos:
            return result
        progress.begin(len(photos))
        total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = 1 if total.get("GPU") else 0
        most = max(1, int(total["GPU"] if gpus else total.get("CPU", 1)))
        shared = {"database_url": workspace.database_url, "store_url": workspace.store_url}
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = 0
        rows = ray.data.from_items(
            [{"photo": photo.id} for photo in photos], override_num_blocks=-(-len(photos) // PHOTOS_AT_ONCE)
        ).map_batches(
            _Actor,
            fn_constructor_args=(workspace.settings.model_dump() | shared, recipe, "redo" if redo else "preannotate"),
            batch_size=PHOTOS_AT_ONCE,
            concurrency=(1, min(most if actors is None else max(1, actors), len(photos))),
            num_cpus=0 if gpus else 1,
            num_gpus=gpus,
        )
        for row in rows.iter_rows():
            _tell(row, result, progress)
    return result


class _Actor:
    """Annotates photos by their ids, in this process; says of each what our rows say afterwards, or what ails us."""

    def __init__(self, settings: dict[str, Any], recipe: Recipe, trigger: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._settings, self._recipe, self._trigger = settings, recipe, trigger

    @cached_property
    def _workspace(self) -> Workspace:
        return Workspace(_own_folder(), **self._settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = []
        for photo_id in batch["photo"].tolist():
            try:
                rows.append(self._annotate(photo_id))
            except (HoiError, StorageError, OSError) as error:  # told as a row: Ray would bury it in tracebacks
                rows.append(dict.fromkeys(_COLUMNS, "") | {"trouble": str(error)})
                break
        return {name: [row[name] for row in rows] for name in _COLUMNS}

    def _annotate(self, photo_id: int) -> dict[str, str]:
        database = self._workspace.database
        with database.read() as session:
            photo = Photos(session).get(photo_id)
        done = Annotated()
        tasks = begun(self._workspace, self._recipe, [photo])
        annotate(self._workspace, tasks, lambda some: map(work.perform, some), self._trigger, done, Silent())
        with database.read() as session:
            now = Photos(session).get(photo_id)
            pairs = [pair.public_id for pair in now.pairs if pair.status != "failed"]
            return {
                "name": now.name,
                "reason": now.reason or "" if now.status == "failed" else "",
                "published": " ".join(p for p in pairs if p in done.published),
                "unchanged": " ".join(p for p in pairs if p not in done.published),
                "trouble": "",
            }


def _own_folder() -> Path:
    """For the stage cache of this user on this machine. Raises WorkspaceError when somebody else could write there."""
    folder = Path(tempfile.gettempdir()) / f"hoi-annotate-ray-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077 or not stat.S_ISDIR(found.st_mode):
        raise WorkspaceError(f"{folder} is not yours alone: remove it, or set TMPDIR where the node's Ray is started")
    return folder


def _tell(row: dict[str, Any], result: Annotated, progress: Progress) -> None:
    """Raises BadRequest when the actor could not go on."""
    if row["trouble"]:
        raise BadRequest(f"an actor on the Ray cluster cannot go on: {row['trouble']}")
    result.photos += 1
    if row["reason"]:
        result.failed.append((row["name"], row["reason"]))
        progress.failed(row["name"], row["reason"])
        return
    result.published += row["published"].split()
    result.unchanged += row["unchanged"].split()
    pairs = len((row["published"] + " " + row["unchanged"]).split())
    progress.done(row["name"], counted(pairs, "pair"))


def _check_reachable(workspace: Workspace, hosts: set[str]) -> None:
    """Other machines have neither our files nor our SQLite."""
    local = workspace.database.is_sqlite or workspace.store_url.startswith("file:")
    if len(hosts) > 1 and local:
        raise BadRequest(
            f"the Ray cluster has {len(hosts)} machines: set database_url to a PostgreSQL server and store_url to "
            "s3://, which all of them reach"
        )
