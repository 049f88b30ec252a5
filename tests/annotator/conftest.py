"""Workspaces, photographs and a command line that use the fake pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import picture

from annotator.workspace import Workspace

PhotoMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def _fake_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pipeline is tested elsewhere. Worker processes are real where a test asks for them."""
    for name in [name for name in os.environ if name.startswith("HOI_") and name != "HOI_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOI_PIPELINE", "fake_pipeline")
    monkeypatch.setenv("HOI_JOBS", "0")
    monkeypatch.setenv("HOI_REVIEWER", "ann")


@pytest.fixture
def photo(tmp_path: Path) -> PhotoMaker:
    """Writes a photograph: photo('cup.png', shade=3)."""

    def make(name: str = "cup.png", shade: int = 100, folder: str = "photos", **options: Any) -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(shade, **options))
        return path

    return make


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "workspace")
