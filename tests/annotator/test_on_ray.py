"""What an actor of `--engine ray` answers; the cluster is in tests/durable."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annotator import on_ray, service
from annotator.annotating import Annotated
from annotator.errors import BadRequest, WorkspaceError
from annotator.progress import Silent
from annotator.workspace import Workspace
from pipeline.recipe import Recipe


def test_a_cluster_that_cannot_be_joined_is_one_line(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refused(**_: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster at 192.0.2.2:6379\nmore")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(BadRequest, match=r"^cannot join the Ray cluster: Failed .*:6379; does it run, .*RAY_AUTH_MODE"):
        on_ray.preannotate(workspace, Recipe.load("cpu"), progress=Silent())


def test_an_actors_cache_is_its_users_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = on_ray._own_folder()
    assert folder == on_ray._own_folder() == tmp_path / f"hoi-annotate-ray-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o770)
    with pytest.raises(WorkspaceError, match=r"hoi-annotate-ray-\d+ is not yours alone: remove it"):
        on_ray._own_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    told = on_ray._Actor({}, Recipe.load("cpu"), "preannotate")({"photo": np.arange(1, 5)})
    (trouble,) = told["trouble"]
    assert trouble.startswith(f"{folder} is not yours alone")


def test_what_stops_an_actor_is_one_line(
    workspace: Workspace, photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["cup.png", "nohand.png", "weights.png", "z.png"]
    service.ingest(workspace, [str(photo(name, shade)) for shade, name in enumerate(names)], progress=Silent())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shared = {"database_url": workspace.database_url, "store_url": workspace.store_url}
    actor = on_ray._Actor(workspace.settings.model_dump() | shared, Recipe.load("cpu"), "preannotate")
    told = actor({"photo": np.arange(1, 5)})
    rows = [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)]
    result = Annotated()
    for row in rows[:2]:
        on_ray._tell(row, result, Silent())
    assert (result.photos, len(result.published), [name for name, _ in result.failed]) == (2, 1, ["nohand.png"])
    with pytest.raises(BadRequest, match=r"an actor on the Ray cluster cannot go on: hand_detector: no weights; run: "):
        on_ray._tell(rows[2], result, Silent())
    assert len(rows) == 3  # the fourth waits for whoever repeats the command
